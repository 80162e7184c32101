"""The fused normalisation + residual + activation against plain torch, by value."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from hillock import kernels
from hillock.activations.catalogue import find
from hillock.kernels import native, norm_passes
from hillock.kernels.norm_activation import Normalisation, composite, norm_activation, why_not
from hillock.randomness import generator

pytestmark = pytest.mark.skipif(not native.available(), reason=f"needs the native library: {native.reason()}")

# Odd, tiny and prime channel counts reach the tail of the loops; 64 and 96 the whole ones.
SHAPES = [(4, 16, 8, 8), (3, 24, 5, 7), (2, 101, 3, 3), (5, 3, 9, 2), (2, 64, 6, 6), (1, 96, 2, 3), (130, 17, 3, 5)]


def _map(
    shape: tuple[int, ...], dtype: torch.dtype, purpose: str, scale: float = 1.0, shift: float = 0.0
) -> torch.Tensor:
    x = torch.randn(shape, generator=generator(0, purpose, *shape)) * scale + shift
    return x.to(dtype).to(memory_format=torch.channels_last)


def _norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(channels, generator=generator(1, "weight")))
        norm.bias.copy_(torch.randn(channels, generator=generator(1, "bias")))
    return norm


def _as_normalisation(norm: nn.BatchNorm2d, training: bool = True) -> Normalisation:
    return Normalisation(norm.weight, norm.bias, norm.running_mean, norm.running_var, 0.1, norm.eps, training)


def _everything(x, residual, dy, norm, name, run):  # value, gradients, running statistics
    x = x.clone().requires_grad_()
    residual = None if residual is None else residual.clone().requires_grad_()
    y = run(x, norm, residual, name)
    y.backward(dy)
    return {
        "y": y.detach(),
        "dx": x.grad,
        "dresidual": None if residual is None else residual.grad,
        "dgamma": norm.weight.grad,
        "dbeta": norm.bias.grad,
        "running_mean": norm.running_mean,
        "running_var": norm.running_var,
    }


def _fused(x, norm, residual, name, training=True):
    activation = None if name == "none" else find(name)
    constants = {} if activation is None else activation.constants()
    settings = _as_normalisation(norm, training)
    assert why_not(x, settings, activation, constants, residual) is None
    return norm_activation(x, settings, activation, constants, residual)[0]


def _reference(x, norm, residual, name, training=True):  # float64 throughout
    norm.train(training)
    y = norm.double()(x.double())
    if residual is not None:
        y = y + residual.double()
    return y if name == "none" else find(name).value(y, **find(name).constants())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("with_residual", [False, True], ids=["plain", "residual"])
@pytest.mark.parametrize(("name", "dtype"), [
    ("relu", torch.float32), ("relu", torch.bfloat16), ("none", torch.float32),
    ("gelu", torch.float32), ("gelu", torch.bfloat16), ("mish", torch.bfloat16),
], ids=str)  # fmt: skip
def test_it_equals_normalise_add_activate(shape, with_residual, name, dtype):
    x = _map(shape, dtype, "x", scale=2.0, shift=5.0)
    residual = _map(shape, dtype, "residual") if with_residual else None
    dy = _map(shape, dtype, "dy")
    norm = _norm(shape[1])
    got = _everything(x, residual, dy, copy.deepcopy(norm), name, _fused)
    expected = _everything(x, residual, dy, copy.deepcopy(norm), name, _reference)
    # bfloat16 keeps 8 bits: results are rounded once and pre-activations once, 2^-8 each relative to the largest terms.
    tolerance = 1e-5 if dtype == torch.float32 else 2.0**-7
    for key, value in expected.items():
        if value is None:
            continue
        error = (got[key].double() - value.double()).norm() / value.double().norm()
        bound = tolerance if key in ("y", "dx", "dresidual") else max(1e-5, tolerance / 4)
        assert error < bound, f"{key}: relative error {error:.2e}"


@pytest.mark.parametrize(
    ("name", "dtype"), [("relu", torch.bfloat16), ("gelu", torch.float32), ("none", torch.float32)]
)
@pytest.mark.parametrize("with_residual", [False, True], ids=["plain", "residual"])
def test_gradients_that_arrive_apart_are_added(name, dtype, with_residual):
    shape = (3, 24, 5, 7)
    x, one, other = (_map(shape, dtype, purpose) for purpose in ("x", "one", "other"))
    residual = _map(shape, dtype, "residual") if with_residual else None
    activation = None if name == "none" else find(name)
    constants = {} if activation is None else activation.constants()

    def both(x, norm, residual, _):
        y, twin = norm_activation(x, _as_normalisation(norm), activation, constants, residual)
        assert y.data_ptr() == twin.data_ptr()
        return y.double() * one.double() + twin.double() * other.double()

    norm = _norm(24)
    dy = torch.ones(shape, dtype=torch.float64)
    got = _everything(x, residual, dy, copy.deepcopy(norm), name, both)
    expected = _everything(x, residual, one.double() + other.double(), copy.deepcopy(norm), name, _reference)
    tolerance = 1e-5 if dtype == torch.float32 else 2.0**-7
    for key in ("dx", "dresidual", "dgamma", "dbeta"):
        if expected[key] is not None:
            assert (got[key].double() - expected[key].double()).norm() < tolerance * expected[key].double().norm(), key


def test_a_large_mean_does_not_cancel_the_variance():
    x = _map((16, 16, 64, 64), torch.float32, "x", scale=1.0, shift=1000.0)  # some dozen partial sums a channel
    norm = nn.BatchNorm2d(16)
    y = _fused(x, norm, None, "none")
    assert torch.allclose(y.mean((0, 2, 3)), torch.zeros(16), atol=1e-3)
    assert torch.allclose(y.var((0, 2, 3), unbiased=False), torch.ones(16), atol=1e-3)


def test_vectors_that_are_not_contiguous_are_read_right():
    x, norm = _map((4, 16, 8, 8), torch.float32, "x"), _norm(16)
    found = []
    for spread in (lambda t: t.clone(), lambda t: torch.stack([t, t], 1)[:, 0]):
        vectors = [spread(t.detach()) for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)]
        y = norm_activation(x, Normalisation(*vectors, 0.1, norm.eps, True))[0]
        found.append([y, *vectors[2:]])
    for contiguous, strided in zip(*found, strict=True):
        assert torch.allclose(contiguous, strided, atol=1e-6)


def test_running_statistics_that_moved_are_not_differentiated_with():
    x, norm = _map((4, 16, 8, 8), torch.float32, "x").requires_grad_(), _norm(16)
    y = _fused(x, norm, None, "relu", training=False)
    _fused(x.detach(), norm, None, "relu")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_evaluation_uses_the_running_statistics():
    x = _map((4, 16, 8, 8), torch.float32, "x")
    norm = _norm(16)
    norm.running_mean.fill_(0.5)
    norm.running_var.fill_(4.0)
    before = norm.running_mean.clone()
    y = _fused(x, norm, None, "relu", training=False)
    assert torch.allclose(y, torch.relu(copy.deepcopy(norm).eval()(x)), atol=1e-6)
    assert torch.equal(norm.running_mean, before)


def test_the_gradient_can_be_differentiated():
    x = _map((2, 4, 3, 3), torch.float32, "x").requires_grad_()
    residual = _map((2, 4, 3, 3), torch.float32, "residual").requires_grad_()
    norm = _norm(4)

    def second(run):
        y = run(x, norm, residual, "mish")
        (dx,) = torch.autograd.grad(y.pow(2).sum(), x, create_graph=True)
        return torch.autograd.grad(dx.pow(3).sum(), [x, residual, norm.weight])

    fused = second(_fused)
    plain = second(lambda x, norm, residual, name: composite(
        x, _as_normalisation(norm), find(name), find(name).constants(), residual))  # fmt: skip
    for a, b in zip(fused, plain, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4)


def test_the_number_of_threads_changes_nothing():
    x, dy = _map((16, 24, 16, 16), torch.bfloat16, "x"), _map((16, 24, 16, 16), torch.bfloat16, "dy")
    results = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(_everything(x, None, dy, _norm(24), "silu", _fused))
    finally:
        torch.set_num_threads(threads)
    for key, value in results[0].items():
        assert value is None or torch.equal(value, results[1][key]), key


def test_nan_and_infinity_are_not_swallowed():
    x = _map((2, 16, 4, 4), torch.bfloat16, "x")
    x[0, 3, 1, 1] = float("nan")
    y = _fused(x, nn.BatchNorm2d(16), None, "relu")
    assert y[:, 3].isnan().all()
    assert y[:, :3].isfinite().all()


def test_another_precision_is_not_answered_from_the_last_one_s_tables():
    every = torch.arange(65536).to(torch.int16).view(torch.bfloat16)
    finite = every.isfinite()
    found = {}
    for level in ("faithful", "exact", "faithful"):
        with kernels.precision(level):
            found[level] = norm_passes._tables(find("gelu"), torch.device("cpu"))[1][finite]
            assert torch.equal(found[level], kernels.slope(find("gelu"), every.float(), {})[finite])
    assert not torch.equal(found["faithful"], found["exact"])


def test_backward_has_the_precision_of_its_forward():
    x, dy = _map((4, 32, 16, 16), torch.float32, "x"), _map((4, 32, 16, 16), torch.float32, "dy")
    found = {}
    for ahead, back in [("faithful", "faithful"), ("faithful", "exact"), ("exact", "exact"), ("exact", "faithful")]:
        leaf = x.clone().requires_grad_()
        with kernels.precision(ahead):
            y = _fused(leaf, nn.BatchNorm2d(32), None, "gelu")
        with kernels.precision(back):
            y.backward(dy)
        found[ahead, back] = leaf.grad
    assert torch.equal(found["faithful", "faithful"], found["faithful", "exact"])
    assert torch.equal(found["exact", "exact"], found["exact", "faithful"])
    assert not torch.equal(found["exact", "exact"], found["faithful", "faithful"])


def test_the_saved_bytes_are_the_input_alone():
    x = _map((8, 16, 8, 8), torch.bfloat16, "x").requires_grad_()
    saved: dict[int, int] = {}

    def pack(t):
        saved[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        _fused(x, nn.BatchNorm2d(16), None, "gelu")
    map_bytes = x.numel() * 2
    assert sum(saved.values()) - map_bytes < 16 * 4 * 16  # a few numbers per channel


def test_running_statistics_that_are_not_contiguous_are_read_right():
    x, dy = _map((4, 16, 8, 8), torch.float32, "x"), _map((4, 16, 8, 8), torch.float32, "dy")
    found = []
    for spread in (lambda t: t.clone(), lambda t: torch.stack([t, t], 1)[:, 0]):
        weight, bias = (torch.ones(16, requires_grad=True) for _ in range(2))
        running = [spread(torch.arange(16.0) / 16), spread(torch.arange(1.0, 17.0))]
        y = norm_activation(x, Normalisation(weight, bias, *running, 0.1, 1e-5, False))[0]
        found.append(torch.autograd.grad(y, [weight, bias], dy))
    for contiguous, strided in zip(*found, strict=True):
        assert torch.equal(contiguous, strided)


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda x: x.contiguous(), "channels-last"),
    (lambda x: x.double(), "float32 or bfloat16"),
    (lambda x: x[:, :, :1, :1][:1], "no statistics"),
])  # fmt: skip
def test_it_says_what_it_cannot_take(spoil, words):
    x = spoil(_map((2, 16, 4, 4), torch.float32, "x"))
    assert words in (why_not(x, _as_normalisation(nn.BatchNorm2d(16))) or "")
