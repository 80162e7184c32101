"""What backward keeps of an activation: nothing, one bit per element, or the input.

A function whose slope takes a single value (identity, step) needs nothing. One whose slope takes two values (ReLU,
leaky ReLU, ReLU6, hard tanh, soft shrink, threshold ...) needs one bit: 1/32 of a float32 map. Everything else needs
its input. The plan is found from the declaration, not written down: the declared slope is looked at over every binade
and at the declared kinks.

Bits are used by way of a *stand-in*: backward takes one point of the low region and one of the high region for the
input and runs the ordinary backward kernel on them. So the gradient has the same bits as with the input kept. A NaN has
no region: where the input holds one, the input itself is kept. The native library packs the bits in one pass and makes
the stand-in a block at a time, in the first cache; elsewhere both are tensor operations.

Keeping the *output* is never planned: for tanh, sigmoid, softplus the gradient computed from the output loses all its
digits where the function saturates, and where a linear layer keeps the output anyway, lean mode does better.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from hillock.kernels import native

if TYPE_CHECKING:
    from hillock.activations import Activation

__all__ = ["INPUT", "Bits", "Geometry", "Kind", "Plan", "make_plan", "saved_plan"]

Kind = Literal["nothing", "bits", "output", "input"]

SMALLEST = 1024
"""Below this many elements the input itself is kept: 4 KiB at most, and quicker."""


def saved_plan(activation: Activation, constants: Mapping[str, float | Tensor] | None = None) -> Kind:
    """Return what backward keeps: "nothing", "bits" (one per element) or "input".

    Args:
        constants: the parameters; default: the declared ones. A learned parameter (a tensor) needs the input.

    >>> from hillock.activations import find
    >>> saved_plan(find("relu")), saved_plan(find("gelu"))
    ('bits', 'input')
    """
    if constants is None:
        if activation.learned:
            return "input"
        constants = activation.constants()
    if any(isinstance(value, Tensor) for value in constants.values()):
        return "input"
    return make_plan(activation, {name: float(value) for name, value in constants.items()}).kind


@dataclass(frozen=True)
class Region:
    """An interval, with its ends open or closed."""

    low: float
    low_closed: bool
    high: float
    high_closed: bool


@cache
def _ends(region: Region, dtype: torch.dtype) -> tuple[float, float]:
    """Return the first and the last number of `dtype` inside."""
    low = _first(region.low, region.low_closed, math.inf, dtype) if region.low > -math.inf else -math.inf
    high = _first(region.high, region.high_closed, -math.inf, dtype) if region.high < math.inf else math.inf
    return low, high


@dataclass(frozen=True)
class Plan:
    """What backward keeps. For "bits": the region of the bit 1, and a point of the region of bit 0 and of bit 1."""

    kind: Kind
    region: Region | None = None
    points: tuple[float, float] = (0.0, 0.0)

    def keep(self, x: Tensor) -> Bits | None:
        """Return what to keep instead of x, or None where x itself has to be kept."""
        if self.kind == "input" or x.numel() < SMALLEST:
            return None
        geometry = Geometry.of(x)
        if self.region is None:
            packed, has_nan = x.new_empty(0, dtype=torch.uint8), bool(x.isnan().any())
        else:
            packed, has_nan = _packed(geometry.flat(x), *_ends(self.region, x.dtype))
        return None if has_nan else Bits(packed, geometry, self)

    def stand_in(self, bits: Tensor, geometry: Geometry) -> Tensor:
        """Return a map with the slopes of the original: one point for each of the two regions."""
        low, high = self.points
        result = geometry.empty(bits.device)
        flat = geometry.flat(result)
        if self.region is None:
            return result.fill_(high)
        _unpack(bits, flat, low, high)
        return result


@dataclass(frozen=True)
class Geometry:
    """The shape, strides and dtype of a dense tensor."""

    size: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype

    @staticmethod
    def of(x: Tensor) -> Geometry:
        """Return the geometry that a result computed from x has."""
        like = x if x.is_contiguous() else torch.empty_like(x, device="meta")
        return Geometry(like.size(), like.stride(), x.dtype)

    def empty(self, device: torch.device) -> Tensor:
        """Return an uninitialised tensor of this geometry."""
        return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device=device)

    def flat(self, x: Tensor) -> Tensor:
        """Return the elements of x as one dimension in the order of this geometry's memory."""
        x = x.detach()
        if x.stride() != self.stride:
            x = self.empty(x.device).copy_(x)
        return x.as_strided((x.numel(),), (1,), x.storage_offset())


@dataclass(frozen=True)
class Bits:
    """One bit per element, packed into bytes, and how to make of them a stand-in for the input."""

    packed: Tensor
    geometry: Geometry
    plan: Plan


INPUT = Plan("input")


def make_plan(activation: Activation, constants: Mapping[str, float]) -> Plan:
    """Find the plan from the declared slope and kinks."""
    kinks = activation.kink_places(constants)
    places = _places(kinks)
    slopes = activation.slope(places, **constants)
    found: Tensor = torch.unique(slopes)
    if found.numel() > 2 or not bool(torch.isfinite(found).all()):
        return INPUT
    if found.numel() == 1:
        return Plan("nothing", None, (1.0, 1.0))
    is_high = slopes == found[-1]
    changes = (is_high[1:] != is_high[:-1]).nonzero().flatten() + 1
    edges = [0, *changes.tolist(), len(places)]
    runs = [(places[start].item(), places[stop - 1].item()) for start, stop in itertools.pairwise(edges)]
    highs = [run for run, start in zip(runs, edges, strict=False) if is_high[start]]
    lows = [run for run, start in zip(runs, edges, strict=False) if not is_high[start]]
    if len(highs) == 1:
        region = _region(highs[0], places, kinks)
        points = (_inside(lows[0], places), _inside(highs[0], places))
    else:  # the slope is low in one interval and high on both sides of it: swap the meaning of the bit
        region = _region(lows[0], places, kinks) if len(lows) == 1 else None
        points = (_inside(highs[0], places), _inside(lows[0], places))
    if region is None or points[0] is None or points[1] is None:
        return INPUT
    return Plan("bits", region, (points[0], points[1]))


def _places(kinks: tuple[float, ...]) -> Tensor:
    """Return the points at which slopes are looked at: every binade, a fine grid, and each kink with its neighbours."""
    powers = 2.0 ** torch.arange(-60, 61, 0.5, dtype=torch.float64)
    at = torch.tensor(kinks, dtype=torch.float64)
    far = torch.tensor(math.inf, dtype=torch.float64)
    grid = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    every = [powers, -powers, grid, at, torch.nextafter(at, far), torch.nextafter(at, -far)]
    places: Tensor = torch.unique(torch.cat(every))
    return places


def _region(run: tuple[float, float], places: Tensor, kinks: tuple[float, ...]) -> Region | None:
    """Return the interval of a run of places, whose ends have to be kinks or infinite; None when they are not."""
    ends = []
    for end, outwards, last in ((run[0], -math.inf, places[0]), (run[1], math.inf, places[-1])):
        if end == last:
            ends.append((outwards, True))
        elif end in kinks:
            ends.append((end, True))
        elif (beyond := math.nextafter(end, outwards)) in kinks:
            ends.append((beyond, False))
        else:
            return None
    (low, low_closed), (high, high_closed) = ends
    return Region(low, low_closed, high, high_closed)


def _inside(run: tuple[float, float], places: Tensor) -> float | None:
    """Return a point well inside a run that every format holds inside it; None when there is none."""
    low, high = run
    if low == places[0]:
        point = high - max(1.0, abs(high))
    elif high == places[-1]:
        point = low + max(1.0, abs(low))
    else:
        point = 0.5 * (low + high)
    rounded = [torch.tensor(point, dtype=dtype).item() for dtype in (torch.bfloat16, torch.float16)]
    return point if all(low < number < high for number in rounded) else None


def _first(edge: float, closed: bool, towards: float, dtype: torch.dtype) -> float:
    """Return the first number of `dtype` inside an edge, going towards the inside."""
    exact = torch.tensor(edge, dtype=torch.float64)
    number = exact.to(dtype)
    wide = number.double()
    inside = wide >= exact if towards > 0 else wide <= exact
    if not inside or (wide == exact and not closed):
        number = torch.nextafter(number, torch.tensor(towards, dtype=dtype))
    return number.item()


def _packed(flat: Tensor, low: float, high: float) -> tuple[Tensor, bool]:
    """Return a bit for each element, set where low <= x <= high, and whether there is a NaN."""
    if native.takes(flat):
        return native.region_bits(flat, low, high)
    return _pack((flat >= low) & (flat <= high)), bool(flat.isnan().any())


def _pack(mask: Tensor) -> Tensor:
    weights = 2 ** torch.arange(8, dtype=torch.uint8, device=mask.device)
    padded = torch.nn.functional.pad(mask.to(torch.uint8), (0, -mask.numel() % 8))
    return (padded.view(-1, 8) * weights).sum(1, dtype=torch.uint8)


def _unpack(packed: Tensor, flat: Tensor, low: float, high: float) -> None:
    """Fill `flat` with `high` where the bit is 1 and `low` elsewhere."""
    digits = (torch.arange(256)[:, None] >> torch.arange(8)) & 1
    rows = torch.where(digits == 1, high, low).to(device=flat.device, dtype=flat.dtype)  # eight elements for every byte
    whole = flat.numel() // 8
    flat[: whole * 8].view(whole, 8).copy_(rows[packed[:whole].int()])
    if flat.numel() % 8:
        flat[whole * 8 :] = rows[int(packed[-1]), : flat.numel() % 8]
