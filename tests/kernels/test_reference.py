"""The reference path alone, as on a machine without a compiler: accuracy, rounding, any layout, any size."""

from __future__ import annotations

import mpmath
import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hillock.activations import Activation, find
from hillock.kernels import reference

NAMES = ["sigmoid", "tanh", "silu", "gelu", "mish", "softplus", "elu", "selu", "softsign", "hard_swish", "relu"]


def test_one_rounding_to_sixteen_bits_against_exact_arithmetic() -> None:
    """Every tie between neighbours, and the float64 numbers just beside it, decided by integers."""
    for dtype in (torch.float16, torch.bfloat16):
        bits = torch.arange(0, 65536, dtype=torch.int32).to(torch.int16).view(dtype).double()
        numbers = torch.unique(bits[torch.isfinite(bits)])
        low, high = numbers[:-1], numbers[1:]
        ties = (low + high) / 2  # exact in float64
        even_low = (low.to(dtype).view(torch.int16) & 1) == 0
        nearest = torch.where(even_low, low, high)
        below = torch.nextafter(ties, torch.full_like(ties, -torch.inf))
        above = torch.nextafter(ties, torch.full_like(ties, torch.inf))
        for exact, expected in ((ties, nearest), (below, low), (above, high), (numbers, numbers)):
            assert torch.equal(reference.round_once(exact, dtype).double(), expected)
        special = torch.tensor([torch.inf, -torch.inf, 1e300, -1e300, -0.0, 1e-300], dtype=torch.float64)
        rounded = reference.round_once(special, dtype)
        assert rounded.tolist() == [torch.inf, -torch.inf, torch.inf, -torch.inf, 0.0, 0.0]
        assert rounded.signbit().tolist() == [False, True, False, True, True, False]
        assert reference.round_once(torch.tensor(torch.nan, dtype=torch.float64), dtype).isnan()


def exact(activation: Activation, x: float, order: int) -> mpmath.mpf:
    """The formula, or its symbolic derivative, with 50 digits."""
    import sympy

    expression = activation.derivative if order else activation.expression
    values = {name: sympy.oo if numpy.isinf(v) else v for name, v in activation.constants().items()}
    symbols = {symbol.name: symbol for symbol in expression.free_symbols}
    numbers = {symbols[name]: value for name, value in values.items() if name in symbols}
    numbers[symbols["x"]] = sympy.Float(x, 60) if "x" in symbols else 0
    return mpmath.mpf(str(sympy.N(expression.subs(numbers), 50)))


@pytest.mark.parametrize("name", ["silu", "gelu", "tanh", "softplus", "mish"])
@pytest.mark.parametrize("order", [0, 1])
def test_below_one_unit_in_the_last_place_in_float32(name: str, order: int) -> None:
    """Tails, denormal results, and the neighbourhood of the derivative's root, where float32 formulas fail."""
    activation = find(name)
    points = [
        -100.0,
        -88.9,
        -20.0,
        -9.2,
        -5.5,
        -1.2784645,
        -1.1924312,
        -0.75179154,
        -1e-3,
        -1e-30,
        1e-40,
        0.3,
        9.1,
        30.0,
    ]
    x = torch.tensor(points, dtype=torch.float32)
    found = (reference.slope if order else reference.forward)(activation, x, activation.constants())
    for point, result in zip(x.tolist(), found.tolist(), strict=True):
        truth = exact(activation, point, order)
        unit = (
            mpmath.mpf(2) ** max(-149, mpmath.floor(mpmath.log(abs(truth), 2)) - 23) if truth else mpmath.mpf(2) ** -149
        )
        assert abs(mpmath.mpf(result) - truth) < unit, (point, result, truth)


def whole(name: str, x: Tensor, g: Tensor) -> list[Tensor]:
    activation = find(name)
    constants = activation.constants()
    return [
        reference.forward(activation, x, constants),
        reference.slope(activation, x, constants),
        reference.backward(activation, g, x, constants),
    ]


@given(st.integers(0, 3), st.integers(0, 70), st.sampled_from([1, 2]), st.sampled_from(NAMES))
def test_results_do_not_depend_on_length_offset_or_stride(offset: int, length: int, stride: int, name: str) -> None:
    base = torch.linspace(-12, 12, 150)
    weights = torch.linspace(-2, 2, 150)
    piece = slice(offset, offset + length * stride, stride)
    for part, everything in zip(whole(name, base[piece], weights[piece]), whole(name, base, weights), strict=True):
        assert torch.equal(part, everything[piece])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_layouts_and_chunks(dtype: torch.dtype) -> None:
    x = (torch.randn(3, 5, 60, 61, generator=torch.Generator().manual_seed(0)) * 4).to(dtype)  # more than one chunk
    assert x.numel() > reference.CHUNK
    expected = whole("silu", x, x)
    forms = [x.to(memory_format=torch.channels_last), x.transpose(1, 3), x.flip(0), x[:, ::2], x[..., :1].expand_as(x)]
    indices = [lambda t: t, lambda t: t.transpose(1, 3), lambda t: t.flip(0), lambda t: t[:, ::2], None]
    for form, index in zip(forms, indices, strict=True):
        found = whole("silu", form, form)
        assert all(part.shape == form.shape and part.dtype == dtype for part in found)
        if index is not None:
            assert all(torch.equal(part, index(all_)) for part, all_ in zip(found, expected, strict=True))
    assert found[0].is_contiguous(memory_format=torch.contiguous_format) or found[0].stride() == forms[-1].stride()
    assert whole("silu", forms[0], forms[0])[0].stride() == forms[0].stride()


def test_small_and_dataless_tensors() -> None:
    for x in (torch.tensor(0.5), torch.empty(0), torch.empty(3, 0, 2), torch.empty(4, 5, device="meta")):
        for part in whole("gelu", x, x):
            assert part.shape == x.shape
            assert part.device == x.device


def test_broadcast_parameters() -> None:
    activation, x = find("prelu"), torch.randn(2, 3, 4)
    weight = torch.tensor([0.1, 0.2, 0.3])[:, None]
    found = reference.forward(activation, x, {"negative_slope": weight})
    assert torch.equal(found, torch.where(x > 0, x, (x.double() * weight.double()).float()))
