"""A fused network is the same network: names, results within rounding, and nothing hidden from who watches."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hillock.kernels import native
from hillock.kernels.traced import missing
from hillock.layers.fused import fuse, is_fused, unfuse, unfused
from hillock.layers.shortcut import PaddedShortcut
from hillock.networks import network
from hillock.randomness import generator

needs_native = pytest.mark.skipif(not native.available(), reason=f"needs the native library: {native.reason()}")

NETWORKS = [("resnet8", "relu"), ("resnet8", "gelu"), ("plain8", "mish"), ("preresnet20", "silu"), ("resnet18", "relu")]


def _pictures(count: int, size: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    x = torch.randn(count, 3, size, size, generator=generator(0, "pictures", size))
    return x.to(dtype).to(memory_format=torch.channels_last)


def _draw_map(channels: int) -> torch.Tensor:
    x = torch.randn(2, channels, 4, 4, generator=generator(0, "map", channels))
    return x.to(memory_format=torch.channels_last)


def _gradients(model: nn.Module, x: torch.Tensor, bfloat16: bool) -> torch.Tensor:
    model.zero_grad()
    targets = torch.arange(len(x)) % 10
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bfloat16):
        loss = F.cross_entropy(model(x).double(), targets.to(x.device))
    loss.backward()
    return torch.cat([p.grad.double().flatten().cpu() for p in model.parameters()])


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("device", [
    pytest.param("cpu", marks=needs_native), pytest.param("cuda", marks=[pytest.mark.gpu, needs_gpu]),
])  # fmt: skip
@pytest.mark.parametrize(("name", "activation"), NETWORKS)
@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
def test_gradients_are_as_close_to_float64_as_the_plain_networks(name, activation, bfloat16, device, monkeypatch):
    size = 32 if name == "resnet18" else 16
    model = network(name, activation=activation, num_classes=10).to(memory_format=torch.channels_last)
    fused = fuse(copy.deepcopy(model))
    x = _pictures(8, size)
    assert missing(x.to(device)) is None
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # its errors would hide all others
    exact = _gradients(copy.deepcopy(model).double(), x.double(), bfloat16=False)
    error = {
        kind: float((_gradients(net.to(device), x.to(device), bfloat16) - exact).norm() / exact.norm())
        for kind, net in (("plain", model), ("fused", fused))
    }
    assert error["fused"] < 1.25 * error["plain"] + 1e-6, error


@needs_native
def test_parameters_elsewhere_are_torchs_own_error():
    norm = fuse(nn.Sequential(nn.BatchNorm2d(16), nn.ReLU()).to("meta"))
    with pytest.raises(RuntimeError, match="meta"):
        norm(_draw_map(16))


@needs_native
def test_autocast_leaves_float64_alone():
    conv = fuse(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.ReLU()).double())
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(_draw_map(16).double()).dtype == torch.float64


@needs_native
def test_names_states_and_statistics_stay():
    model = network("resnet8", activation="relu", num_classes=10)
    fused = fuse(copy.deepcopy(model)).to(memory_format=torch.channels_last)
    assert list(fused.state_dict()) == list(model.state_dict())
    x = _pictures(6, 16)
    for net in (model, fused):
        for _ in range(3):
            net(x)
    for key, value in model.state_dict().items():
        assert torch.allclose(value.double(), fused.state_dict()[key].double(), rtol=1e-4, atol=1e-5), key
    assert torch.allclose(model.eval()(x), fused.eval()(x), rtol=1e-3, atol=1e-4)


@needs_native
def test_a_map_changed_in_place_between_two_units_keeps_its_gradients():
    model = network("resnet8", activation="relu", num_classes=10).to(memory_format=torch.channels_last)
    fused = fuse(copy.deepcopy(model))
    x = _pictures(4, 16)
    found = []
    for net in (model, fused):
        net.stages[0].register_forward_hook(lambda module, inputs, output: output.mul_(0.5))
        found.append(_gradients(net, x, bfloat16=False))
    assert (found[0] - found[1]).norm() < 1e-4 * found[0].norm()


def test_the_switch_goes_both_ways_and_survives_copies():
    model = network("resnet8", activation="relu", num_classes=10)
    plain = [type(module) for module in model.modules()]
    assert not is_fused(model)
    assert is_fused(fuse(model))
    assert is_fused(copy.deepcopy(model))
    assert is_fused(pickle.loads(pickle.dumps(model)))
    with unfused(model):
        assert [type(module) for module in model.modules()] == plain
    assert is_fused(model)
    assert [type(module) for module in unfuse(model).modules()] == plain


@needs_native
def test_a_module_that_is_watched_is_called():
    model = fuse(nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())).to(
        memory_format=torch.channels_last
    )
    seen = []
    model(_pictures(2, 8))
    model[2].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    model(_pictures(2, 8))
    assert seen == [(2, 16, 6, 6)]


@needs_native
def test_inside_transforms_it_is_the_plain_network():
    model = network("resnet8", activation="relu", num_classes=10).to(memory_format=torch.channels_last).eval()
    x = _pictures(2, 16)
    fused = fuse(copy.deepcopy(model))
    parameters = dict(fused.named_parameters())

    def loss(parameters):
        return torch.func.functional_call(fused, parameters, (x,)).square().mean()

    got = torch.func.grad(loss)(parameters)
    reference = dict(zip(parameters, torch.autograd.grad(loss(parameters), list(parameters.values())), strict=True))
    for name, value in reference.items():
        assert torch.allclose(got[name], value, rtol=1e-3, atol=1e-4), name


@needs_native
def test_response_norms_and_poolings_run_in_their_kernels():
    model = network("alexnet", activation="relu", num_classes=10, image_size=67, width=0.25)
    model = model.eval().to(memory_format=torch.channels_last)
    x, names = _pictures(2, 67), []
    y = fuse(copy.deepcopy(model))(x)
    y.sum().backward()
    seen = [y.grad_fn]
    while seen:
        node = seen.pop()
        names.append(node.name())
        seen += [following for following, _ in node.next_functions if following is not None]
    assert [names.count(name) for name in ("_ResponseNormBackward", "_MaxPoolBackward")] == [2, 3]
    assert torch.allclose(y, model(x), rtol=1e-4, atol=1e-5)


def test_the_padded_shortcut_is_the_plain_one():
    x = _pictures(2, 9)[:, :, :9, :9].contiguous(memory_format=torch.channels_last).requires_grad_()
    plain = PaddedShortcut(3, 8, 2)
    fused = fuse(nn.Sequential(copy.deepcopy(plain)))
    dy = torch.randn(2, 8, 5, 5, generator=generator(0, "dy"))
    results = []
    for module in (plain, fused):
        y = module(x)
        (dx,) = torch.autograd.grad((y * dy).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((module(x).pow(3)).sum(), x, create_graph=True)
        results.append([y, dx, *torch.autograd.grad(second.sum(), x)])
    for ours, expected in zip(results[1], results[0], strict=True):
        assert torch.equal(ours, expected)
    assert results[1][0].is_contiguous(memory_format=torch.channels_last)
