"""Statistics of one activation site: what its units did over all probe samples, gathered in one pass.

A *site* is one call of an activation function in the forward pass: z goes in, h = φ(z) comes out. A *unit* is a feature
(fully connected) or a channel (convolution). Everything is derivative-based, so that one definition serves every φ:

* a unit *responds* to a sample if |φ'(z)| > 0.001 max|φ'| at any of its positions;
* it is *saturated* at a position if |φ'(z)| < 0.05 max|φ'|; on the low side for z < 0, on the high side for z >= 0.

Nothing of the activations is kept but these sums: memory does not grow with the number of samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["RESPONSE_SHARE", "SATURATION_SHARE", "Character", "Site", "characterise", "slope_of"]

# A unit whose slope is below this share of the largest slope passes practically no gradient (a choice; for ReLU-like
# functions any small number gives the same units, for sigmoid it means |z| > 8.3).
RESPONSE_SHARE = 1e-3
# |z| > 2.18 for tanh, > 4.36 for sigmoid; between Glorot & Bengio's percentiles and the vendors' 1e-7 cut-offs.
SATURATION_SHARE = 0.05
# Covariances are gathered for at most this many units of a site, and for this many rows of a batch.
COVARIANCE_UNITS = 192
COVARIANCE_ROWS = 4096

Response = Callable[[Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class Character:
    """What kind of function a site applies, found by evaluating it on a grid.

    **Arguments**

    - `max_slope`: largest |φ'| on [-3, 3] and on the range of the inputs seen first (a learned function may be steep
      where nothing ever comes). `rectifying`: φ is exactly 0 for every negative input.
    - `two_sided`: φ' falls below 5 % of its largest value at both ends (sigmoid, tanh), so that it can saturate.
    - `linear`: φ' is constant: not an activation at all.
    - `grid` [K]: the points; `values`, `values_squared`, `slopes_squared` [K]: φ, φ² and φ'² there, averaged over units
      (they differ where each channel has its own parameter).
    """

    max_slope: float
    rectifying: bool
    two_sided: bool
    linear: bool
    grid: Tensor
    values: Tensor
    values_squared: Tensor
    slopes_squared: Tensor


def slope_of(response: Response, z: Tensor) -> Tensor:
    """Return φ'(z) elementwise, shape of `z`: by the response's own `slope` method or by automatic differentiation."""
    own = getattr(response, "slope", None)
    if own is not None:
        found: Tensor = own(z)
        return found
    with torch.enable_grad():
        leaf = z.detach().clone().requires_grad_()
        out = response(leaf)
        if not out.requires_grad:  # a step function that detaches: no slope anywhere
            return torch.zeros_like(leaf)
        (slope,) = torch.autograd.grad(out.sum(), leaf, allow_unused=True)
    return torch.zeros_like(leaf) if slope is None else slope.detach()


def characterise(response: Response, z: Tensor, axis: int) -> Character:
    """Return the character of an elementwise function; per-channel parameters see every channel of `z`.

    >>> characterise(torch.tanh, torch.zeros(1, 1), 1).two_sided
    True
    """
    points = torch.cat([torch.linspace(-12, 12, 385), torch.tensor([-60.0, 60.0])]).to(z.device, z.dtype)
    shape = [1] * z.dim()
    shape[axis] = z.shape[axis]
    grid = points.reshape([-1] + [1] * (z.dim() - 1)).expand([-1, *shape[1:]]) if axis != 0 else points
    values = response(grid.clone()).detach().float()
    slopes = slope_of(response, grid).float()
    seen = z.detach().float().nan_to_num(0.0, 0.0, 0.0)
    low, high = min(float(seen.min()), -3.0), max(float(seen.max()), 3.0)
    inner = slopes[:-2][(points[:-2] >= low) & (points[:-2] <= high)].abs()
    largest = float(inner.max()) if inner.numel() else 0.0
    ends = slopes[-2:].abs()
    negative = grid < 0
    return Character(
        max_slope=largest,
        rectifying=bool((values[negative] == 0).all()) and bool((values[-1] > 0).all()),
        two_sided=largest > 0 and bool((ends < SATURATION_SHARE * largest).all()),
        linear=bool((slopes == slopes[:1]).all()) and largest > 0,
        grid=points[:-2].double().cpu(),
        values=_over_units(values[:-2]),
        values_squared=_over_units(values[:-2].square()),
        slopes_squared=_over_units(slopes[:-2].square()),
    )


def _over_units(values: Tensor) -> Tensor:
    return values.flatten(1).double().mean(1).cpu()


class Site:
    """One activation site and the sums over the samples it has seen.

    **Arguments**

    - `name`: path of the module, with `:function` for a functional call and `#2` for the second call of the same.
    - `activation`: name of the function, as a person would say it. `order`: place in the forward pass, from 0.
    - `level`: `module`, `function` or `operator`: through which door the call was seen. Operators carry no gradient.
    """

    def __init__(self, name: str, activation: str, order: int, level: str, character: Character, units: int) -> None:
        self.name = name
        self.activation = activation
        self.order = order
        self.level = level
        self.character = character
        self.units = units
        self.samples = 0
        self.rows = 0  # samples, or samples x time steps where an operator runs once a time step
        self.elements = 0  # per unit: rows x positions
        zeros = torch.zeros(units, dtype=torch.float64)
        self.active = zeros.clone()  # rows in which h > 0 somewhere
        self.responding = zeros.clone()  # rows in which the slope is not negligible somewhere
        self.low = zeros.clone()  # elements saturated on the low side, of functions with two flat ends
        self.high = zeros.clone()
        self.z_sum = zeros.clone()
        self.z_squares = zeros.clone()
        self.h_sum = zeros.clone()
        self.h_squares = zeros.clone()
        self.slope_squares = zeros.clone()
        self.not_finite = 0
        self.gradient_squares = 0.0  # sum over samples of the squared norm of d(loss of the sample)/dh
        self.gradient_samples = 0
        self.gradient_not_finite = 0
        self.expects_gradient = False
        # What ran between the previous site and this one: the second moment Σ w² per unit of each weighted layer, and
        # the names of everything else that changes the scale.
        self.between: tuple[tuple[str, float, float], ...] = ()
        self.rank = _RankSums(units)
        self.cosine = _CosineSums()

    @torch.no_grad()
    def see(self, z: Tensor, h: Tensor, slope: Tensor, samples: int) -> None:
        """Add one call: `z`, `h` and `slope` as [rows, units, positions]."""
        z, h, slope = z.contiguous(), h.contiguous(), slope.contiguous()
        # A sum is finite only if (and nearly always if) all of it is.
        if not bool(torch.isfinite(z.sum() + h.sum())):
            finite = torch.isfinite(z) & torch.isfinite(h)
            self.not_finite += int(finite.numel() - int(finite.sum()))
            z, h, slope = (torch.where(finite, part, 0.0) for part in (z, h, slope))
        rows, _, positions = z.shape
        self.samples += samples
        self.rows += rows
        self.elements += rows * positions
        largest = self.character.max_slope
        steep = slope.abs()
        self.active += _count(h.amax(2) > 0)
        self.responding += _count(steep.amax(2) > RESPONSE_SHARE * largest)
        if self.character.two_sided:
            flat = steep < SATURATION_SHARE * largest
            low = _count((flat & (z < 0)).sum(2))
            self.low += low
            self.high += _count(flat.sum(2)) - low
        self.z_sum += _total(z)
        self.z_squares += _total(z.square())
        # In double precision: whether a unit is constant is seen in the last bits of these two.
        self.h_sum += h.sum((0, 2), dtype=torch.float64).cpu()
        self.h_squares += (_norm(h, (0, 2)) ** 2).cpu()
        self.slope_squares += _total(slope.square())
        self.rank.add(h)
        if rows == samples:
            self.cosine.add(h)

    def see_gradient(self, gradient: Tensor, samples: int) -> None:
        """Add d(mean loss)/dh of one batch; it is scaled to d(loss of the sample)/dh."""
        square = _norm(gradient, None) ** 2
        if not bool(torch.isfinite(square)):
            finite = torch.isfinite(gradient)
            self.gradient_not_finite += int(finite.numel() - int(finite.sum()))
            square = _norm(torch.where(finite, gradient, 0.0), None) ** 2
        self.gradient_squares += float(square) * samples**2
        self.gradient_samples += samples

    # What the sums say -----------------------------------------------------------------------------------------------

    @property
    def z_rms(self) -> float:
        """Root mean square of the input of φ."""
        return float((self.z_squares.mean() / max(self.elements, 1)).sqrt())

    @property
    def h_rms(self) -> float:
        """Root mean square of the output of φ."""
        return float((self.h_squares.mean() / max(self.elements, 1)).sqrt())

    @property
    def gradient_norm(self) -> float | None:
        """Root mean square over samples of the norm of d(loss of one sample)/dh; None if no gradient came."""
        if self.gradient_samples == 0:
            return None
        return float((self.gradient_squares / self.gradient_samples) ** 0.5)

    @property
    def mean_shift(self) -> float:
        """M = mean over units of μ² / mean over units of E[h²], in [0, 1]; 0.318 for ReLU of N(0, 1)."""
        means = self.h_sum / max(self.elements, 1)
        squares = self.h_squares / max(self.elements, 1)
        return float(means.square().mean() / squares.mean().clamp_min(1e-300))

    @property
    def z_centring(self) -> float:
        """Root mean square over units of the mean of z, over the root mean square of z, in [0, 1]."""
        means = self.z_sum / max(self.elements, 1)
        squares = self.z_squares / max(self.elements, 1)
        return float((means.square().mean() / squares.mean().clamp_min(1e-300)).sqrt())

    @property
    def slope_shares(self) -> Tensor:
        """Root mean square of φ'(z) over max|φ'|, for each unit: how much of a gradient it passes."""
        mean = self.slope_squares / max(self.elements, 1)
        return mean.sqrt() / max(self.character.max_slope, 1e-300)

    @property
    def h_variance(self) -> Tensor:
        """Variance of the output over samples and positions, for each unit."""
        mean = self.h_sum / max(self.elements, 1)
        return (self.h_squares / max(self.elements, 1) - mean.square()).clamp_min(0)


class _RankSums:
    """Sums for the effective rank of a site's units over samples and positions."""

    def __init__(self, units: int) -> None:
        self.pick = torch.linspace(0, units - 1, min(units, COVARIANCE_UNITS)).round().long()
        size = len(self.pick)
        self.outer = torch.zeros(size, size, dtype=torch.float64)
        self.sum = torch.zeros(size, dtype=torch.float64)
        self.count = 0

    def add(self, h: Tensor) -> None:
        rows = h[:, self.pick.to(h.device)].transpose(1, 2).reshape(-1, len(self.pick))
        step = -(-rows.shape[0] // COVARIANCE_ROWS)
        rows = rows[::step].double().cpu()
        self.outer += rows.T @ rows
        self.sum += rows.sum(0)
        self.count += rows.shape[0]

    def effective(self, *, centred: bool) -> float:
        """Return exp(entropy of σ/Σσ), σ the singular values of the units' outputs (Roy & Vetterli 2007)."""
        if self.count == 0:
            return 0.0
        moment = self.outer / self.count
        if centred:
            mean = self.sum / self.count
            moment = moment - torch.outer(mean, mean)
        values = torch.linalg.eigvalsh(moment).clamp_min(0).sqrt()
        # Rounding of the subtraction leaves a floor; what lies below it is not a direction.
        values = values[values > values.max() * 1e-7]
        if len(values) == 0:
            return 0.0
        shares = values / values.sum()
        return float(torch.exp(-(shares * shares.log()).sum()))

    @property
    def possible(self) -> int:
        """The largest rank there could be: units looked at, or rows if fewer."""
        return min(len(self.pick), self.count)


class _CosineSums:
    """Mean cosine between the outputs for different samples, without forming the pairs."""

    def __init__(self) -> None:
        self.pairs = 0
        self.total = 0.0

    def add(self, h: Tensor) -> None:
        rows = h.flatten(1).float()
        length = rows.norm(dim=1, keepdim=True)
        rows = rows / length.clamp_min(1e-30)
        count = int((length > 1e-30).sum())
        if count < 2:
            return
        # |Σ r|² = Σ|r|² + Σ over pairs: one pass gives the mean over all ordered pairs.
        self.total += float(rows.sum(0).double().square().sum()) - count
        self.pairs += count * (count - 1)

    @property
    def mean(self) -> float | None:
        return self.total / self.pairs if self.pairs else None


def _count(hits: Tensor) -> Tensor:
    return hits.sum(0).double().cpu()


def _total(values: Tensor) -> Tensor:
    # First over what lies side by side: several times faster than both at once.
    return values.sum(2).sum(0, dtype=torch.float64).cpu()


def _norm(values: Tensor, dims: tuple[int, ...] | None) -> Tensor:
    # One pass, summed in double precision without a copy of that size.
    found: Tensor = torch.linalg.vector_norm(values, dim=dims, dtype=torch.float64)
    return found
