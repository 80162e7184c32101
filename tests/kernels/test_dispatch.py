"""The door: which path answers, what the ecosystem hands in, and what leaves the process."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import hillock
import hillock.errors
from hillock import kernels
from hillock.activations import Activation, find
from hillock.kernels import native, setting
from hillock.kernels.bound import bind
from hillock.layers.fused import fuse
from hillock.randomness import generator

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning:torch"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning:torch"),
]

SILU = find("silu")


class Act(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return kernels.apply(SILU, x, {})


def test_the_native_library_answers_where_it_can() -> None:
    if not native.available():
        pytest.skip(f"no native library: {native.reason()}")
    assert set(bind(SILU, {})[0].cpu) == {torch.float32, torch.bfloat16, torch.float16, torch.float64}
    assert bind(find("cosid"), {})[0].cpu == {}


@pytest.mark.parametrize("name", ["silu", "elu", "prelu", "cosid"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_native_and_reference_agree(name: str, dtype: torch.dtype) -> None:
    """Within one unit: both are right to less than that, so they may fall on two neighbours."""
    activation = find(name)
    constants = activation.constants()
    x = (torch.randn(4000, generator=torch.Generator().manual_seed(0)) * 5).to(dtype)
    pairs = [
        (kernels.apply(activation, x, constants), kernels.reference.forward(activation, x, constants)),
        (kernels.slope(activation, x, constants), kernels.reference.slope(activation, x, constants)),
    ]
    for found, expected in pairs:
        # float64 has no wider format to compute in: the reference loses some digits beside the slope's root.
        is_wide = dtype == torch.float64
        rtol, atol = (4 * torch.finfo(dtype).eps, 1e-15) if is_wide else (1.01 * torch.finfo(dtype).eps, 0)
        torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


def test_precision_is_a_setting_a_context_and_belongs_to_the_forward_pass() -> None:
    x = torch.linspace(-4, 4, 1001, requires_grad=True)
    with kernels.precision("exact"):
        y = kernels.apply(SILU, x, {})
        expected = kernels.slope(SILU, x.detach(), {})
        assert torch.equal(y, kernels.reference.forward(SILU, x, {}))
    assert setting.current.precision == "faithful"
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], expected)
    kernels.precision("exact")
    assert setting.current.precision == "exact"
    kernels.precision("faithful")
    with pytest.raises(hillock.errors.UsageError, match='"faithful" or "exact", got \'fast\''):
        kernels.precision("fast")  # type: ignore[arg-type]


def test_dispatch_modes_and_fake_tensors_see_torch_operations_only() -> None:
    class Names(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.seen: set[str] = set()

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            self.seen.add(func.namespace)
            return func(*args, **(kwargs or {}))

    with Names() as names:
        kernels.apply(SILU, torch.randn(4), {})
    assert names.seen == {"aten"}
    with torch._subclasses.FakeTensorMode():
        assert kernels.apply(SILU, torch.randn(4, 5, dtype=torch.bfloat16), {}).dtype == torch.bfloat16
    x = torch.empty(3, 4, device="meta", requires_grad=True)
    y = kernels.apply(SILU, x, {})
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == y.shape


def test_fx_writes_down_one_call() -> None:
    graph = torch.fx.symbolic_trace(Act())
    assert [node.op for node in graph.graph.nodes] == ["placeholder", "call_function", "output"]
    assert "apply_silu" in graph.code
    x = torch.randn(5)
    assert torch.equal(graph(x), kernels.apply(SILU, x, {}))


def test_batched_gradients_and_functional_jacobian() -> None:
    x = torch.randn(4, dtype=torch.float64, requires_grad=True)
    y = kernels.apply(SILU, x, {})
    (found,) = torch.autograd.grad(y, x, torch.eye(4, dtype=torch.float64), is_grads_batched=True)
    torch.testing.assert_close(found, torch.diag(kernels.slope(SILU, x.detach(), {})))


@pytest.mark.parametrize("name", ["silu", "elu"])
def test_inductor_keeps_the_digits_near_zero(name: str) -> None:
    """Inductor 2.13 turns expm1 into exp - 1, which loses every digit of a small x."""
    activation = find(name)
    constants = activation.constants()
    x = -torch.logspace(-30, 1, 256)
    torch._dynamo.reset()
    found = torch.compile(lambda x: kernels.apply(activation, x, constants), fullgraph=True)(x)
    torch.testing.assert_close(found, kernels.apply(activation, x, constants), rtol=8e-7, atol=0)


@pytest.mark.parametrize("name", ["silu", "relu", "gelu", "elu"])
def test_native_operators_are_well_formed(name: str) -> None:
    if not native.available():
        pytest.skip(f"no native library: {native.reason()}")
    forward, backward = native.operators(name)
    numbers = [float(find(name).constants()[key]) for key in native.parameters(name)]
    x, g = torch.randn(3, 5), torch.randn(3, 5)
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(forward, (x, *numbers), test_utils=checks)
    torch.library.opcheck(backward, (g, x, *numbers), test_utils=checks)


def test_export_runs_in_a_process_without_hillock(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 8), Act(), nn.Linear(8, 2))
    x = torch.randn(3, 4)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert "hillock" not in str(program.graph)
    torch.export.save(program, tmp_path / "model.pt2")
    torch.save((x, model(x)), tmp_path / "example.pt")
    script = f"""
        import sys, torch
        sys.modules["hillock"] = None  # any import of it fails
        model = torch.export.load(r"{tmp_path / "model.pt2"}").module()
        x, expected = torch.load(r"{tmp_path / "example.pt"}")
        torch.testing.assert_close(model(x), expected)
        assert model(torch.randn(7, 4)).shape == (7, 2)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, cwd=tmp_path, timeout=300)


@pytest.mark.parametrize("name", ["relu", "silu", "leaky_relu", "identity"])
def test_a_declaration_of_ones_own_is_not_taken_for_the_catalogue_s_of_the_same_name(name: str) -> None:
    own = Activation(name=name, formula="x*cos(x)")
    x = torch.randn(3000, generator=generator(0, "own"), requires_grad=True)
    y = kernels.apply(own, x, own.constants())
    torch.testing.assert_close(y, x * x.cos())
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope, x.cos() - x * x.sin(), rtol=1e-4, atol=1e-5)

    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), hillock.activation(own))
    pictures = torch.randn(4, 3, 8, 8, generator=generator(1, "own")).to(memory_format=torch.channels_last)
    normalised = network[1](network[0](pictures))
    torch.testing.assert_close(fuse(network)(pictures), normalised * normalised.cos(), rtol=1e-4, atol=1e-5)
