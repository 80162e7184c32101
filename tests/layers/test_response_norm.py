"""Local response normalisation against its formula written out, tower by tower."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hillock.errors import UsageError
from hillock.layers.response_norm import MapNorm, ResponseNorm


def written_out(x: Tensor, size: int, alpha: float, beta: float, k: float, towers: int) -> Tensor:
    y = torch.empty_like(x)
    per_tower = x.shape[1] // towers
    for i in range(x.shape[1]):
        first = i // per_tower * per_tower
        low, high = max(first, i - size // 2), min(first + per_tower - 1, i + size // 2)
        y[:, i] = x[:, i] / (k + alpha * (x[:, low : high + 1] ** 2).sum(1)) ** beta
    return y


@pytest.mark.parametrize("towers", [1, 2, 4])
@pytest.mark.parametrize(("size", "alpha", "beta", "k"), [(5, 1e-4, 0.75, 2.0), (3, 0.5, 0.5, 1.0)])
def test_equals_the_paper_s_formula(towers: int, size: int, alpha: float, beta: float, k: float) -> None:
    x = 30 * torch.randn(2, 16, 5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    layer = ResponseNorm(size, alpha, beta, k, towers=towers)
    torch.testing.assert_close(layer(x), written_out(x, size, alpha, beta, k, towers), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("channels", "size", "towers"), [(1, 1, 1), (1, 5, 1), (3, 5, 1), (7, 3, 1), (8, 7, 1), (9, 5, 3), (12, 5, 2)]
)
@pytest.mark.parametrize("beta", [0.75, 0.6])  # the first has a way of its own
def test_value_and_slope_at_all_borders(channels: int, size: int, towers: int, beta: float) -> None:
    """Odd and even numbers of maps, windows wider than a tower; every map's slope by every other."""
    draw = torch.Generator().manual_seed(channels)
    x = torch.randn(2, channels, 3, 2, generator=draw, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(2, channels, 3, 2, generator=draw, dtype=torch.float64)
    layer = ResponseNorm(size, 0.3, beta, 1.5, towers=towers)
    y, expected = layer(x), written_out(x, size, 0.3, beta, 1.5, towers)
    torch.testing.assert_close(y, expected, rtol=1e-13, atol=1e-14)
    (slope,) = torch.autograd.grad(y, x, direction)
    (expected_slope,) = torch.autograd.grad(expected, x, direction)
    torch.testing.assert_close(slope, expected_slope, rtol=1e-12, atol=1e-13)


def test_towers_do_not_see_each_other() -> None:
    x = torch.randn(1, 8, 3, 3, generator=torch.Generator().manual_seed(2), requires_grad=True)
    ResponseNorm(alpha=1.0, towers=2)(x)[:, :4].sum().backward()
    assert x.grad is not None
    assert x.grad[:, 4:].abs().max() == 0
    x.grad = None
    ResponseNorm(alpha=1.0, towers=1)(x)[:, :4].sum().backward()  # the planted fault: one norm over both towers
    assert x.grad[:, 4:].abs().max() > 0


def test_torch_divides_alpha_by_the_window() -> None:
    x = torch.randn(1, 9, 2, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ours, torch_s = ResponseNorm(alpha=1e-2), torch.nn.LocalResponseNorm(5, alpha=5e-2, beta=0.75, k=2.0)
    torch.testing.assert_close(ours(x), torch_s(x), rtol=1e-14, atol=0)


def test_an_even_window_is_refused() -> None:
    with pytest.raises(UsageError):
        ResponseNorm(4)


def test_map_norm_equals_its_formula() -> None:
    x = 20 * torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    expected = torch.empty_like(x)
    for i in range(6):
        for j in range(5):
            window = x[:, :, max(0, i - 2) : i + 3, max(0, j - 2) : j + 3]
            expected[:, :, i, j] = x[:, :, i, j] / (1 + 1e-3 / 25 * (window**2).sum((2, 3))) ** 0.75
    torch.testing.assert_close(MapNorm()(x), expected, rtol=1e-12, atol=1e-12)
    with pytest.raises(UsageError):
        MapNorm(2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_in_float32_and_rounds_once(dtype: torch.dtype) -> None:
    x = (10 * torch.randn(2, 8, 5, 5, generator=torch.Generator().manual_seed(4))).to(dtype)
    layer = ResponseNorm(alpha=0.1)
    expected = layer(x.double())
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == dtype
    # Half a unit of the format, and in float32 a few roundings of the sum and the roots.
    error = ((y.double() - expected) / expected).abs().max()
    assert error <= (2**-8 if dtype == torch.bfloat16 else 8 * 2**-24)
