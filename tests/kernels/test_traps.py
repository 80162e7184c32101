"""Every trap on the way from a formula to a kernel: the naive form falls into it, and ours does not.

Each test first shows that the naive implementation is wrong (so the check bites), then that hillock is right.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad, jacfwd, jacrev, vmap

from hillock import kernels
from hillock.activations import find

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning:torch"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning:torch"),
]

SILU = find("silu")
POINTS = torch.tensor([-3.0, -1.0, 0.5, 2.0])


def ours(x: Tensor) -> Tensor:
    return kernels.apply(SILU, x, {})


def truth(x: Tensor) -> Tensor:
    """SiLU's derivative in float64, from its definition."""
    x = x.double()
    s = 1 / (1 + torch.exp(-x))
    return s * (1 + x * (1 - s))


def is_right(found: Tensor) -> bool:
    return torch.allclose(found.double(), truth(POINTS), rtol=1e-6, atol=1e-7)


# An opaque operator, as a compiled library offers it, and the two obvious ways to give it a derivative.
LIBRARY = torch.library.Library("hillock_traps", "DEF")
LIBRARY.define("silu(Tensor x) -> Tensor")
LIBRARY.impl("silu", lambda x: x.detach() * torch.sigmoid(x.detach()), "CPU")
LIBRARY.define("registered(Tensor x) -> Tensor")
LIBRARY.impl("registered", lambda x: x.detach() * torch.sigmoid(x.detach()), "CPU")
torch.library.register_fake("hillock_traps::silu", torch.empty_like, lib=LIBRARY)
torch.library.register_fake("hillock_traps::registered", torch.empty_like, lib=LIBRARY)
torch.library.register_autograd(
    "hillock_traps::registered",
    lambda ctx, g: g * truth(ctx.saved_tensors[0]).to(g.dtype),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(inputs[0]),
    lib=LIBRARY,
)


class Opaque(torch.autograd.Function):
    """The textbook Function around an opaque operator."""

    generate_vmap_rule = False

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.ops.hillock_traps.silu(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g * truth(ctx.saved_tensors[0]).to(g.dtype)


class WithJvp(Opaque):
    """The same with a forward-mode rule, which eager mode needs."""

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent * truth(ctx.saved_tensors[0]).to(tangent.dtype)


def test_compiled_func_grad_is_silently_wrong_around_an_opaque_operator() -> None:
    naive = torch.compile(grad(lambda x: Opaque.apply(x).sum()), backend="aot_eager", fullgraph=True)
    assert not is_right(naive(POINTS))  # PyTorch 2.13; no error, no warning
    torch._dynamo.reset()
    assert is_right(torch.compile(grad(lambda x: ours(x).sum()), backend="aot_eager", fullgraph=True)(POINTS))


def test_dynamo_refuses_a_function_with_jvp() -> None:
    x = POINTS.clone().requires_grad_()
    with pytest.raises(torch._dynamo.exc.Unsupported, match="jvp"):
        torch.compile(WithJvp.apply, backend="eager", fullgraph=True)(x)
    torch._dynamo.reset()
    (found,) = torch.autograd.grad(torch.compile(ours, backend="eager", fullgraph=True)(x).sum(), x)
    assert is_right(found)


def test_registered_autograd_fails_under_function_transforms() -> None:
    naive = torch.ops.hillock_traps.registered
    for transform in (lambda f: grad(lambda x: f(x).sum()), lambda f: jacrev(lambda x: f(x).sum()), vmap):
        try:
            found = transform(naive)(POINTS)
            wrong = transform is vmap or not is_right(found)
        except RuntimeError:
            wrong = True
        assert wrong
    assert is_right(grad(lambda x: ours(x).sum())(POINTS))
    assert is_right(jacrev(lambda x: ours(x).sum())(POINTS))


def test_forward_mode_of_a_registered_operator_is_silently_wrong() -> None:
    try:
        naive = jacfwd(torch.ops.hillock_traps.registered)(POINTS).diagonal()
        assert not is_right(naive)
    except RuntimeError:  # a refusal is honest; what must not be is a right answer that makes this test pointless
        pass
    assert is_right(jacfwd(ours)(POINTS).diagonal())


def test_gradients_swallow_nan() -> None:
    x = torch.tensor([math.nan, 1.0], requires_grad=True)
    for function, name in ((F.elu, "elu"), (F.relu, "relu"), (F.hardtanh, "hard_tanh"), (F.leaky_relu, "leaky_relu")):
        (swallowed,) = torch.autograd.grad(function(x).nan_to_num().sum(), x)
        (lost,) = torch.autograd.grad(function(x), x, torch.ones(2))
        activation = find(name)
        y = kernels.apply(activation, x, activation.constants())
        (found,) = torch.autograd.grad(y, x, torch.ones(2))
        assert not lost[0].isnan(), name
        assert y[0].isnan(), name
        assert found[0].isnan(), name
        assert found[1] == lost[1] == swallowed[1] or name == "hard_tanh"


def test_a_nan_among_many_elements_survives_the_plan_of_one_bit() -> None:
    x = torch.linspace(-3, 3, 5000)
    x[17] = math.nan
    x.requires_grad_()
    (found,) = torch.autograd.grad(kernels.apply(find("relu"), x, {}), x, torch.ones(5000))
    assert found[17].isnan()
    assert int(found.isnan().sum()) == 1


@pytest.mark.parametrize(("name", "naive"), [("silu", F.silu), ("mish", F.mish), ("gelu", F.gelu)])
def test_the_limit_at_minus_infinity_is_not_nan(name: str, naive: Any) -> None:
    x = torch.full((4,), -math.inf)
    assert naive(x).isnan().any()
    found = kernels.apply(find(name), x, {})
    assert torch.equal(found, torch.zeros(4))
    assert found.signbit().all()
    assert torch.equal(kernels.slope(find(name), x, {}), torch.zeros(4))


def test_a_backward_that_overwrites_what_it_saved() -> None:
    class Overwriting(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x.detach().clone())
            return x * torch.sigmoid(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return x.data.copy_(truth(x)).mul_(g)  # saves memory, once

    def twice(function: Any) -> list[Tensor]:
        x = POINTS.clone().requires_grad_()
        y = function(x)
        g = torch.ones(4)
        return [torch.autograd.grad(y, x, g, retain_graph=True)[0].clone() for _ in range(2)]

    first, second = twice(Overwriting.apply)
    assert not torch.equal(first, second)
    for name in ("silu", "relu", "identity"):
        first, second = twice(lambda x, name=name: kernels.apply(find(name), x, {}))
        assert torch.equal(first, second)


@pytest.mark.parametrize("size", [8, 4096])
@pytest.mark.parametrize("name", ["silu", "relu", "tanh"])
@pytest.mark.parametrize("lean", [False, True])
def test_a_change_in_place_raises_or_does_no_harm(name: str, size: int, lean: bool) -> None:
    class Careless(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.x = x.detach()  # not by save_for_backward, so nobody checks its version
            return x * torch.sigmoid(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            return g * truth(ctx.x).to(g.dtype)

    def change_between(function: Any) -> Tensor:
        leaf = torch.linspace(-3, 3, size).requires_grad_()
        x = leaf * 1
        y = function(x)
        x.data.add_(0) if function is None else x.detach().add_(5)
        return torch.autograd.grad(y, leaf, torch.ones(size))[0]

    activation = find(name)
    expected = kernels.slope(activation, torch.linspace(-3, 3, size), {})
    if name == "silu":
        assert not torch.allclose(change_between(Careless.apply), expected, atol=1e-3)
    with kernels.lean() if lean else torch.enable_grad():
        try:
            found = change_between(lambda x: kernels.apply(activation, x, {}))
        except RuntimeError as error:
            assert "modified by an inplace operation" in str(error)  # noqa: PT017 - either of two outcomes is right
        else:
            assert torch.equal(found, expected)


def test_autocast_keeps_the_dtype_and_makes_no_copy() -> None:
    class Cast(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * torch.sigmoid(x)

    def saved(function: Any, x: Tensor) -> tuple[Tensor, int]:
        sizes: list[int] = []

        def keep(tensor: Tensor) -> Tensor:
            sizes.append(tensor.untyped_storage().nbytes())
            return tensor

        with torch.autocast("cpu", torch.bfloat16), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            y = function(x)
        return y, sum(sizes)

    for dtype in (torch.bfloat16, torch.float32):
        x = torch.randn(64, dtype=dtype, requires_grad=True)
        y, nbytes = saved(ours, x)
        assert (y.dtype, nbytes) == (dtype, x.nbytes)
    wide, nbytes = saved(Cast.apply, torch.randn(64, dtype=torch.bfloat16, requires_grad=True))
    assert (wide.dtype, nbytes) == (torch.float32, 2 * 64 * 2)


@pytest.mark.parametrize(("name", "naive"), [("silu", F.silu), ("gelu", F.gelu), ("mish", F.mish)])
def test_bits_do_not_depend_on_the_layout(name: str, naive: Any) -> None:
    x = torch.randn(64, 63, generator=torch.Generator().manual_seed(0)) * 3
    strided = torch.stack([x, x], dim=-1)[..., 0]

    def layouts(f: Any) -> list[Tensor]:
        return [f(strided), f(x.t().contiguous()).t(), f(x[5:, 3:]).contiguous(), f(x.double().float().t()).t()]

    def agree(f: Any) -> bool:
        whole = f(x)
        parts = [whole, whole, whole[5:, 3:], whole]
        return all(torch.equal(a, b) for a, b in zip(layouts(f), parts, strict=True))

    assert not agree(naive)
    activation = find(name)
    assert agree(lambda x: kernels.apply(activation, x, {}))
    assert agree(lambda x: kernels.slope(activation, x, {}))


def test_float64_to_sixteen_bits_rounds_twice_in_torch() -> None:
    exact = torch.tensor([1 + 2**-11 + 2**-30, 1 + 2**-8 + 2**-33, -(1 + 2**-8 + 2**-33)], dtype=torch.float64)
    nearest = [(torch.float16, [1 + 2**-10, 1 + 2**-8, -1 - 2**-8]), (torch.bfloat16, [1.0, 1 + 2**-7, -1 - 2**-7])]
    for dtype, expected in nearest:
        right = torch.tensor(expected, dtype=torch.float64)
        assert not torch.equal(exact.to(dtype).double(), right)
        assert torch.equal(kernels.reference.round_once(exact, dtype).double(), right)


def test_learned_parameters_get_gradients_and_tensor_subclasses_stay() -> None:
    class Tagged(Tensor):
        pass

    x = torch.randn(4).as_subclass(Tagged)
    assert type(ours(x)) is Tagged
    # A subclass sees torch operations, a plain tensor the native kernel: both are within 1 ulp of the truth.
    assert torch.allclose(ours(x).as_subclass(Tensor), ours(x.as_subclass(Tensor)), rtol=2**-22, atol=0)
    weight = torch.tensor(0.25, requires_grad=True)
    y = kernels.apply(find("prelu"), torch.tensor([-2.0, 3.0]), {"negative_slope": weight})
    assert torch.equal(torch.autograd.grad(y.sum(), weight)[0], torch.tensor(-2.0))
