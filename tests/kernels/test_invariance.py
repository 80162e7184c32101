"""A result depends on the value alone: not on length, offset, layout, neighbours, threads, or where it is written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from hillock.kernels import native
from hillock.kernels.verify import DEFAULTS
from hillock.randomness import generator

pytestmark = pytest.mark.skipif(not native.available(), reason=f"no native kernels: {native.reason()}")
FUNCTIONS = native.functions() if native.available() else ()
DTYPES = (torch.float32, torch.bfloat16)


@pytest.fixture(autouse=True)
def one_thread_after() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


def inputs(count: int, dtype: torch.dtype) -> Tensor:
    """Ordinary values, tails, denormals, zeros, infinities and NaN, mixed so that every vector has rare lanes."""
    x = torch.randn(count, generator=generator(0, "invariance")) * 4
    x[::7] *= 10
    x[::11] *= 1e-40
    x[::13] = 0.0
    x[::97] = -0.0
    x[5::101] = torch.inf
    x[6::103] = -torch.inf
    x[7::107] = torch.nan
    return x.to(dtype)


def bits(x: Tensor) -> Tensor:
    kind = {4: torch.int32, 2: torch.int16, 8: torch.int64}[x.element_size()]
    return torch.where(x.isnan(), torch.full_like(x, torch.nan), x).contiguous().view(kind)


@pytest.mark.parametrize("precision", ["faithful", "exact"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_same_bits_however_the_input_lies(name: str, precision: native.Precision) -> None:
    constants = DEFAULTS.get(name, {})
    calls = native.bind(name, constants, precision)
    for dtype in DTYPES:
        x = inputs(4400, dtype)
        g = torch.randn(4400, generator=generator(1, "invariance")).to(dtype)
        value, slope = bits(calls.forward(x)), bits(calls.backward(g, x))
        for start, length in [(0, 1), (1, 15), (3, 16), (5, 17), (17, 70), (9, 2048), (2, 2049), (1, 4399)]:
            part = slice(start, start + length)
            assert torch.equal(bits(calls.forward(x[part])), value[part]), f"forward {start} {length} {dtype}"
            assert torch.equal(bits(calls.backward(g[part], x[part])), slope[part]), (
                f"backward {start} {length} {dtype}"
            )
        for views in (
            lambda t: t[::3],
            lambda t: t[:4096].view(4, 16, 8, 8).to(memory_format=torch.channels_last),
            lambda t: t[:4400].view(44, 100).t(),
            lambda t: t[:1].expand(7),
            lambda t: t[3].clone(),
            lambda t: t[:0],
        ):
            part, part_g = views(x), views(g)
            assert torch.equal(bits(calls.forward(part)), bits(views(calls.forward(x))))
            assert torch.equal(bits(calls.backward(part_g, part)), bits(views(calls.backward(g, x))))
            # The gradient may lie otherwise than the input.
            assert torch.equal(bits(calls.backward(part_g.contiguous(), part)), bits(views(calls.backward(g, x))))


@pytest.mark.parametrize("precision", ["faithful", "exact"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_same_bits_in_place_and_with_two_threads(name: str, precision: native.Precision) -> None:
    constants = DEFAULTS.get(name, {})
    calls = native.bind(name, constants, precision)
    x = inputs(150_001, torch.float32)
    g = torch.randn(150_001, generator=generator(1, "invariance"))
    value, slope = bits(calls.forward(x)), bits(calls.backward(g, x))
    assert torch.equal(bits(native.forward_(name, x.clone(), constants, precision)), value)
    assert torch.equal(bits(native.backward_(name, g.clone(), x, constants, precision)), slope)
    ahead, back = native.bind_out(name, constants, precision)
    assert torch.equal(bits(ahead(x, torch.empty_like(x))), value)
    assert torch.equal(bits(back(g, x, torch.empty_like(x))), slope)
    over_input = x.clone()
    assert torch.equal(bits(native.backward_(name, g, over_input, constants, precision, out=over_input)), slope)
    torch.set_num_threads(2)
    assert torch.equal(bits(calls.forward(x)), value)
    assert torch.equal(bits(calls.backward(g, x)), slope)


@pytest.mark.parametrize("rare", ["everywhere", "nowhere", "in some blocks", "in whole blocks"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["silu", "gelu", "softplus", "relu", "hard_swish"])
def test_same_bits_when_the_result_bypasses_the_caches(name: str, dtype: torch.dtype, rare: str) -> None:
    count = (1 << 24 if dtype == torch.bfloat16 else 1 << 23) + 5  # above 24 MiB
    x = inputs(count, dtype) if rare == "everywhere" else torch.randn(count, generator=generator(2, "large")).to(dtype)
    if rare == "nowhere":
        x = x.clamp(-4, 4)
    if rare == "in some blocks":  # by turns with and without, and at the ends of blocks
        x[:: 2048 * 3] = 100.0
        x[2047 :: 2048 * 7] = -100.0
    if rare == "in whole blocks":  # all of a block in the tail, some of the next, or none
        x[2048 * 9 : 2048 * 14] = 50.0
        x[2048 * 30 : 2048 * 34 + 1000] = -20.0
    g = torch.randn(count, generator=generator(3, "large")).to(dtype)
    constants = DEFAULTS.get(name, {})
    calls = native.bind(name, constants)
    value = torch.cat([calls.forward(part) for part in x.split(1000)])  # as if every part stood alone
    slope = torch.cat([calls.backward(h, part) for h, part in zip(g.split(1000), x.split(1000), strict=True)])
    assert torch.equal(bits(calls.forward(x)), bits(value))
    assert torch.equal(bits(calls.backward(g, x)), bits(slope))
    shifted = torch.empty(count + 3, dtype=dtype)[3:]  # not aligned to a cache line
    assert torch.equal(bits(native.forward_(name, x, constants, out=shifted)), bits(value))
    assert torch.equal(bits(native.backward_(name, g, x, constants, out=shifted)), bits(slope))


def test_layout_of_the_result_is_that_of_the_input() -> None:
    x = torch.randn(2, 8, 5, 5, generator=generator(0, "layout"))
    for view in (x, x.to(memory_format=torch.channels_last), x.transpose(1, 3), x[:, ::2], x[:, :, 0, 0].t()):
        assert native.forward("tanh", view, {}).stride() == torch.empty_like(view).stride()
