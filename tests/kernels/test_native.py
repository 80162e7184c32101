"""The native kernels agree with the declarations, take any layout, and answer for what they support."""

from __future__ import annotations

import pytest
import torch

from hillock.activations.catalogue import CATALOGUE
from hillock.activations.declaration import Activation
from hillock.kernels import native
from hillock.kernels.status import status

pytestmark = pytest.mark.skipif(not native.available(), reason=f"no native kernels: {native.reason()}")

SUPPORTED = [
    entry
    for entry in CATALOGUE
    if isinstance(entry, Activation) and native.supports(entry.name, entry.constants(), torch.float32, "cpu")
]


def points(activation: Activation) -> torch.Tensor:
    """A grid with the kinks and their neighbours in float32."""
    grid = torch.linspace(-12, 12, 2401)
    kinks = torch.tensor(
        [kink.place(activation.constants()) for kink in activation.kinks] or [0.0], dtype=torch.float32
    )
    beside = [torch.nextafter(kinks, torch.full_like(kinks, end)) for end in (-20.0, 20.0)]
    return torch.cat([grid, kinks, *beside])


@pytest.mark.parametrize("activation", SUPPORTED, ids=lambda entry: entry.name)
def test_value_and_slope_are_those_of_the_declaration(activation: Activation) -> None:
    constants = activation.constants()
    x = points(activation)
    wide = x.double()
    calls = native.bind(activation.name, constants)
    scale = 1 + activation.value(wide, **constants).abs()
    assert ((calls.forward(x).double() - activation.value(wide, **constants)).abs() / scale).max() < 1e-7
    slope = activation.slope(wide, **constants)
    assert (calls.backward(torch.ones_like(x), x).double() - slope).abs().max() < 2e-7
    assert (calls.backward(torch.ones_like(wide), wide) - slope).abs().max() < 1e-14


@pytest.mark.parametrize("activation", SUPPORTED, ids=lambda entry: entry.name)
def test_limits_and_nan(activation: Activation) -> None:
    constants = activation.constants()
    x = torch.tensor([-torch.inf, torch.inf, torch.nan])
    for precision in ("faithful", "exact"):
        calls = native.bind(activation.name, constants, precision)
        for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
            at = x.to(dtype)
            wanted = activation.value(at.double(), **constants)
            torch.testing.assert_close(
                calls.forward(at).double(), wanted, equal_nan=True, rtol=1e-2, atol=0.0, check_dtype=False
            )
            slope = calls.backward(torch.ones_like(at), at).double()
            torch.testing.assert_close(
                slope, activation.slope(at.double(), **constants), equal_nan=True, rtol=1e-2, atol=1e-6
            )


def test_constants_other_than_the_standard_ones() -> None:
    x = torch.linspace(-9, 9, 1001)
    for name, constants in [
        ("swish", {"beta": 0.7}),
        ("swish", {"beta": -1.3}),
        ("elu", {"alpha": 0.3}),
        ("celu", {"alpha": 2.0}),
        ("softplus", {"beta": 3.0, "threshold": 20.0}),
        ("leaky_relu", {"negative_slope": 0.2}),
    ]:
        activation = next(entry for entry in CATALOGUE if entry.name == name)
        assert isinstance(activation, Activation)
        wanted = activation.value(x.double(), **constants)
        assert ((native.forward(name, x, constants).double() - wanted).abs() / (1 + wanted.abs())).max() < 1e-7


def test_refuses_what_it_does_not_have() -> None:
    float32 = torch.float32
    assert not native.supports("no such function", {}, float32, "cpu")
    assert not native.supports("silu", {"beta": 1.0}, float32, "cpu")
    assert not native.supports("silu", {}, torch.int32, "cpu")
    assert not native.supports("silu", {}, float32, "meta")
    assert not native.supports("softplus", {"beta": 0.0, "threshold": 20.0}, float32, "cpu")
    assert not native.supports("elu", {"alpha": float("nan")}, float32, "cpu")
    assert native.supports("softplus", {"beta": 1.0, "threshold": float("inf")}, float32, "cpu")


def test_errors_name_what_was_expected() -> None:
    x = torch.ones(3)
    with pytest.raises(ValueError, match="shape"):
        native.backward("silu", torch.ones(2), x, {})
    with pytest.raises(TypeError, match="gradient"):
        native.backward("silu", torch.ones(3, dtype=torch.float64), x, {})
    with pytest.raises(TypeError, match="float32"):
        torch.ops.hillock.silu(torch.ones(3, dtype=torch.int32))


def test_meta_kernels_give_shapes_and_strides() -> None:
    x = torch.empty(2, 3, 4, 5, device="meta").to(memory_format=torch.channels_last)
    y = native.forward("mish", x, {})
    assert (y.shape, y.stride(), y.device.type) == (x.shape, x.stride(), "meta")


def test_every_row_of_the_status_has_a_path_and_a_reason() -> None:
    now = status()
    assert now.native
    assert {row.path for row in now.rows} >= {"reference"}
    assert all(row.reason for row in now.rows)
    assert "silu" in str(now)
