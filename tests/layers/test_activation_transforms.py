"""Every activation under torch's transforms, by value; compiling for one function of each pattern."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from hillock.activations import CATALOGUE, Activation, Parameter
from hillock.layers.activation_layer import ActivationLayer, activation
from hillock.randomness import generator

POINTWISE = [entry for entry in CATALOGUE if isinstance(entry, Activation)]
OWN = Activation(name="own_transformed", formula="x*tanh(exp(b*x))", parameters=(Parameter("b", 0.5),))
PATTERNS = ["gelu", "hard_tanh", "prelu", OWN]  # smooth, piecewise, learned, made from a formula

# torch's own compiler and forward mode use something that torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


def numbers(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    x = torch.randn(*shape, generator=generator(0, "transforms"), dtype=torch.float64) * 2
    return (x + 0.01 * torch.sign(x)).to(dtype)


def numbers_of(layer: ActivationLayer) -> dict[str, float]:
    return {name: value.item() if isinstance(value, Tensor) else value for name, value in layer.constants.items()}


@pytest.mark.parametrize("entry", POINTWISE, ids=str)
def test_function_transforms(entry: Activation) -> None:
    layer = activation(entry).double().eval()
    x = numbers(3, 4)
    constants = numbers_of(layer)
    value, slope = layer(x).detach(), entry.slope(x, **constants)
    torch.testing.assert_close(torch.func.vmap(layer)(x).detach(), value, rtol=1e-9, atol=1e-12)
    _, tangent = torch.func.jvp(layer, (x,), (torch.ones_like(x),))
    torch.testing.assert_close(tangent.detach(), slope, rtol=1e-9, atol=1e-12)
    row = x[0]
    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(jacobian(layer)(row).detach(), torch.diag(slope[0]), rtol=1e-9, atol=1e-12)
    per_sample = torch.func.vmap(torch.func.grad(lambda x: layer(x).sum()))(x)
    torch.testing.assert_close(per_sample.detach(), slope, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("entry", POINTWISE, ids=str)
def test_shapes_layouts_and_dtypes(entry: Activation) -> None:
    layer = activation(entry).eval()
    x = numbers(2, 3, 4, 5, dtype=torch.float32)
    expected = layer(x)
    assert expected.shape == x.shape
    assert torch.equal(layer(x.to(memory_format=torch.channels_last)), expected)
    assert layer(x.to(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(layer(x.transpose(1, 3)), expected.transpose(1, 3))
    assert torch.equal(layer(x[:, :, ::2, 1:]), expected[:, :, ::2, 1:])
    assert torch.equal(layer(x.flatten()[7]), expected.flatten()[7])
    assert layer(torch.empty(0, 3)).shape == (0, 3)
    meta = copy.deepcopy(layer).to("meta")(torch.empty(2, 3, device="meta"))
    assert meta.shape == (2, 3)
    assert meta.device.type == "meta"
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        found = layer(x.to(dtype))
        assert found.dtype == dtype
        constants = numbers_of(layer)
        exact = entry.value(x.to(dtype).double(), **constants)  # learned parameters are float32 numbers
        torch.testing.assert_close(found.double(), exact, rtol=2 * torch.finfo(dtype).eps, atol=1e-7)


def test_autocast_keeps_the_dtype_that_comes_in() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        for name in ("gelu", "prelu", OWN):
            layer = activation(name)
            x = numbers(8, dtype=torch.bfloat16).requires_grad_(True)
            y = layer(x)
            assert y.dtype == torch.bfloat16
            y.sum().backward()
            assert x.grad is not None
            assert x.grad.dtype == torch.bfloat16
            assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in layer.parameters())


class Counted(Tensor):
    """A subclass that counts the operations it sees."""

    seen = 0

    @classmethod
    def __torch_function__(cls, func: object, types: object, args: tuple = (), kwargs: dict | None = None) -> object:  # type: ignore[override, type-arg]
        cls.seen += 1
        return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[arg-type]


def test_tensor_subclasses_are_left_alone() -> None:
    x = numbers(5).as_subclass(Counted)
    y = activation("mish").double()(x)
    assert type(y) is Counted
    assert Counted.seen > 0
    torch.testing.assert_close(y.as_subclass(Tensor), activation("mish")(x.as_subclass(Tensor)))


@pytest.mark.parametrize("name", PATTERNS, ids=str)
def test_compiled_without_a_break_and_with_dynamic_shapes(name: str | Activation) -> None:
    torch._dynamo.reset()
    layer = activation(name, **({"num_channels": 3} if name == "prelu" else {}))
    compiled = torch.compile(layer, fullgraph=True, dynamic=True)
    for rows in (2, 5):
        x = numbers(rows, 3, 4, dtype=torch.float32)
        results = []
        for function in (layer, compiled):
            layer.zero_grad()
            leaf = x.clone().requires_grad_(True)
            y = function(leaf)
            y.square().sum().backward()
            results.append([y.detach(), leaf.grad, *(p.grad.clone() for p in layer.parameters())])  # type: ignore[union-attr]
        for eager, fused in zip(*results, strict=True):
            torch.testing.assert_close(fused, eager, rtol=1e-5, atol=1e-6)


def test_the_drawn_slopes_compile_too() -> None:
    torch._dynamo.reset()
    eager = activation("rrelu", seed=5)
    compiled = torch.compile(copy.deepcopy(eager), fullgraph=True, backend="aot_eager")
    x = numbers(40, dtype=torch.float32)
    for _ in range(2):
        torch.testing.assert_close(compiled(x), eager(x))


def test_export_and_onnx(tmp_path: object) -> None:
    layers = nn.Sequential(activation("gelu"), activation("hard_tanh"), activation("prelu"), activation(OWN)).eval()
    x = numbers(2, 3, dtype=torch.float32)
    program = torch.export.export(layers, (x,))
    torch.testing.assert_close(program.module()(x), layers(x), rtol=1e-5, atol=1e-6)
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'hillock[onnx]'")
    pytest.importorskip("onnxscript", reason="needs onnxscript: pip install 'hillock[onnx]'")
    import warnings

    path = tmp_path / "layers.onnx"  # type: ignore[operator]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        torch.onnx.export(layers, (x,), str(path), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), layers(x).detach(), rtol=1e-4, atol=1e-6)
