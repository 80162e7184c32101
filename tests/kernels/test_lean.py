"""Lean mode changes what is kept and nothing else: values and gradients to the bit, errors, higher derivatives."""

from __future__ import annotations

import copy
import gc
import io
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hillock import kernels
from hillock.activations import Activation, find
from hillock.kernels import notebook

SMOOTH = ["silu", "gelu", "mish", "tanh", "elu"]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


class Act(nn.Module):
    """An activation of ours, without the layers package."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.activation: Activation = find(name)
        self.constants = self.activation.constants()

    def forward(self, x: Tensor) -> Tensor:
        return kernels.apply(self.activation, x, self.constants)


def convolutions(act: nn.Module, *, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> nn.Sequential:
    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 8, 3), norm(8), act, nn.Conv2d(8, 8, 3), norm(8), copy.deepcopy(act), nn.Conv2d(8, 4, 3)]
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(4 * 6 * 6, 5))


def gradients(model: nn.Module, x: Tensor, *, lean: bool) -> list[Tensor]:
    model = copy.deepcopy(model)
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    if lean:
        with kernels.lean():
            y = model(x)
    else:
        y = model(x)
    y.float().square().sum().backward()
    found = [y, x.grad, *(p.grad for p in model.parameters() if p.requires_grad), *model.buffers()]
    assert all(isinstance(tensor, Tensor) for tensor in found)
    return found


def assert_same_bits(model: nn.Module, x: Tensor) -> None:
    for plain, lean in zip(gradients(model, x, lean=False), gradients(model, x, lean=True), strict=True):
        assert torch.equal(plain, lean)
    gc.collect()
    assert len(notebook._notebook) == 0, "recipes outlive the graph"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", [*SMOOTH, "relu", "leaky_relu", "hard_tanh"])
def test_gradients_are_identical_to_the_bit(name: str, layout: torch.memory_format) -> None:
    x = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(1)).to(memory_format=layout)
    assert_same_bits(convolutions(Act(name)).to(memory_format=layout), x)


@pytest.mark.parametrize("act", [nn.SiLU(), nn.GELU(), nn.Mish(), nn.ELU(), nn.Softplus(), nn.Hardswish(), nn.ReLU()])
def test_torch_own_activations(act: nn.Module) -> None:
    assert_same_bits(convolutions(act), torch.randn(4, 3, 12, 12))
    assert_same_bits(convolutions(nn.ReLU(inplace=True)), torch.randn(4, 3, 12, 12))


@pytest.mark.parametrize(
    "norm", [lambda c: nn.GroupNorm(2, c), nn.InstanceNorm2d, lambda c: nn.BatchNorm2d(c, affine=False)]
)
def test_other_normalisations(norm: Callable[[int], nn.Module]) -> None:
    assert_same_bits(convolutions(Act("silu"), norm=norm), torch.randn(4, 3, 12, 12))


def test_evaluation_mode_and_frozen_normalisation() -> None:
    model = convolutions(Act("gelu"))
    assert_same_bits(model.eval(), torch.randn(4, 3, 12, 12))
    model.train()
    model[1].requires_grad_(False)
    assert_same_bits(model, torch.randn(4, 3, 12, 12))


def test_transformer_block_and_autocast() -> None:
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(16, 2, 64, dropout=0.0, activation=F.gelu, norm_first=True, batch_first=True)
    assert_same_bits(block, torch.randn(2, 5, 16))
    with torch.autocast("cpu", torch.bfloat16):
        assert_same_bits(block, torch.randn(2, 5, 16))
        assert_same_bits(convolutions(Act("silu")), torch.randn(4, 3, 12, 12))


def test_a_result_that_several_layers_save_and_views_of_it() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.act = nn.Linear(8, 8), nn.Linear(4, 4), Act("silu")

        def forward(self, x: Tensor) -> Tensor:
            y = self.act(x * 2)
            return self.first(y).sum() + self.second(y.view(-1, 4)[1::2]).sum() + (y * y[:1]).sum()

    assert_same_bits(Fork(), torch.randn(6, 8))


def test_two_backward_passes_and_second_derivatives() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), Act("silu"), nn.Linear(8, 8), Act("tanh"), nn.Linear(8, 1))
    x = torch.randn(5, 4, requires_grad=True)

    def twice() -> list[Tensor]:
        y = model(x).sum()
        first = torch.autograd.grad(y, [x, *model.parameters()], retain_graph=True)
        again = torch.autograd.grad(y, [x, *model.parameters()], create_graph=True)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        (slope,) = torch.autograd.grad(y, x, create_graph=True)
        second = torch.autograd.grad(slope.square().sum(), list(model.parameters()), allow_unused=True)
        return [*first, *(gradient for gradient in second if gradient is not None)]

    plain = twice()
    with kernels.lean():
        lean = twice()
    assert all(torch.equal(a, b) for a, b in zip(plain, lean, strict=True))


@pytest.mark.parametrize("which", ["input of the recipe", "weight"])
def test_a_change_in_place_raises(which: str) -> None:
    hidden, last = nn.Linear(4, 8), nn.Linear(8, 2)
    with kernels.lean():
        h = hidden(torch.randn(3, 4))
        loss = last(Act("silu")(h)).sum()
    with torch.no_grad():
        (h if which == "input of the recipe" else last.weight).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_result_that_changes_in_place_before_it_is_saved_is_kept() -> None:
    last = nn.Linear(8, 2)

    def run() -> Tensor:
        x = torch.linspace(-2, 2, 24).view(3, 8).requires_grad_()
        y = Act("silu")(x * 1.5)
        y.mul_(2)
        (found,) = torch.autograd.grad(last(y).square().sum(), x)
        return found

    plain = run()
    with kernels.lean():
        assert torch.equal(run(), plain)


def test_compiled_modules_are_left_alone() -> None:
    model, x = convolutions(Act("silu")), torch.randn(4, 3, 12, 12)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with kernels.lean():
        inside = compiled(x)
    torch.testing.assert_close(inside, compiled(x))

    @torch.compile(backend="aot_eager", fullgraph=True)
    def whole(x: Tensor) -> Tensor:
        with kernels.lean():
            return model(x)

    torch.testing.assert_close(whole(x), inside)


def test_decorator_nesting_and_no_grad() -> None:
    model = nn.Sequential(nn.Linear(4, 8), Act("silu"), nn.Linear(8, 1))

    @kernels.lean()
    def loss(x: Tensor) -> Tensor:
        with kernels.lean():
            return model(x).sum()

    x = torch.randn(3, 4, requires_grad=True)
    (found,) = torch.autograd.grad(loss(x), x)
    (expected,) = torch.autograd.grad(model(x).sum(), x)
    assert torch.equal(found, expected)
    with torch.no_grad(), kernels.lean():
        model(x)
    assert len(notebook._notebook) == 0


def test_activation_checkpointing_inside() -> None:
    model = convolutions(Act("silu"))
    x = torch.randn(4, 3, 12, 12)

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            half = torch.utils.checkpoint.checkpoint(self.model[:4], x, use_reentrant=False)
            return self.model[4:](half)

    assert_same_bits(Checkpointed(), x)


def test_a_tensor_with_a_recipe_can_be_saved() -> None:
    with kernels.lean():
        y = Act("silu")(torch.randn(8, requires_grad=True) * 1)
        file = io.BytesIO()
        torch.save(y.detach(), file)
        torch.save(y, file)


def test_a_kernel_that_does_not_repeat_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: a normalisation whose repetition differs in the last bit must be kept, not recomputed."""
    from hillock.kernels import watch

    monkeypatch.setattr(watch, "_PROVEN", {})
    truth = watch._normalise
    monkeypatch.setattr(watch, "_normalise", lambda *a: truth(*a) * (1 + 2**-23))
    assert_same_bits(convolutions(Act("silu")), torch.randn(4, 3, 12, 12))
