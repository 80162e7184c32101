"""Every native kernel against the independent oracle: 16-bit formats exhaustively, float32 on a stride."""

from __future__ import annotations

import json
import math
import platform
from pathlib import Path

import mpmath
import pytest
import sympy
import torch
from torch import Tensor

from hillock.activations.catalogue import find
from hillock.kernels import build, native
from hillock.kernels.verify import (
    DEFAULTS,
    Direction,
    bit_patterns,
    check,
    check_quickly,
    every_half,
    exhaustive,
    judged,
    native_call,
    screen_error,
)

pytestmark = pytest.mark.skipif(not native.available(), reason=f"no native kernels: {native.reason()}")
FUNCTIONS = native.functions() if native.available() else ()
# Odd, so that all exponents and both signs are met; 0.8 million inputs.
STRIDE = 5407


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_on_a_stride(name: str, direction: Direction) -> None:
    constants = DEFAULTS.get(name, {})
    calls = [native_call(name, constants, direction, precision) for precision in ("faithful", "exact")]
    faithful, exact = check(calls, name, constants, direction, bit_patterns(STRIDE))
    assert faithful.max_ulp < 1.0, faithful
    assert exact.max_ulp <= 0.5001, exact
    assert faithful.wrong_specials == exact.wrong_specials == 0, (faithful, exact)
    assert exact.correctly_rounded > 0.99999


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_input_of_the_16_bit_formats(name: str, dtype: torch.dtype) -> None:
    constants = DEFAULTS.get(name, {})
    for direction, gradient in (("forward", 1.0), ("backward", 1.0), ("backward", -0.69921875)):
        calls = [native_call(name, constants, direction, p, gradient) for p in ("faithful", "exact")]  # type: ignore[arg-type]
        faithful, exact = check(calls, name, constants, direction, [every_half(dtype)], gradient=gradient)  # type: ignore[arg-type]
        assert exact.misrounded == 0, exact
        assert exact.wrong_specials == 0, exact
        assert faithful.misrounded <= 32, faithful  # 99.95 % of 65,536
        assert faithful.max_ulp <= 0.51, faithful
        assert faithful.wrong_specials == 0, faithful


@pytest.mark.parametrize("name", ["silu", "gelu", "gelu_tanh", "mish", "gelu_sigmoid", "su"])
def test_every_float_near_the_root_of_the_derivative(name: str) -> None:
    root = {"silu": -1.2784646, "gelu": -0.7517915, "gelu_tanh": -0.7524614, "mish": -1.1924312, "su": -1.0}.get(
        name, -1.2784646 / 1.702
    )
    centre = int(torch.tensor(root).view(torch.int32))
    x = torch.arange(centre - 20_000, centre + 20_000, dtype=torch.int32).view(torch.float32)
    calls = [native_call(name, {}, "backward", precision) for precision in ("faithful", "exact")]
    faithful, exact = check(calls, name, {}, "backward", [x])
    assert faithful.max_ulp < 1.0
    assert exact.max_ulp <= 0.5001


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64_is_within_two_ulp_of_fifty_digits(name: str) -> None:
    activation = find(name)
    constants = DEFAULTS.get(name, {})
    x = torch.tensor(
        [-30.0, -7.3, -2.2, -1.1, -0.31, -1e-3, -1e-9, 1e-9, 2e-4, 0.2, 0.77, 1.9, 5.5, 18.0], dtype=torch.float64
    )
    calls = native.bind(name, constants)
    for compute, expression in (
        (calls.forward, activation.expression),
        (lambda t: calls.backward(torch.ones_like(t), t), activation.derivative),
    ):
        numbers = {symbol: exactly(constants[symbol.name]) for symbol in expression.free_symbols if symbol.name != "x"}
        for at, result in zip(x.tolist(), compute(x).tolist(), strict=True):
            exact = expression.subs(numbers).subs({s: sympy.Rational(at) for s in expression.free_symbols})
            with mpmath.workdps(50):
                exact = mpmath.mpf(str(sympy.N(exact, 50)))
                spacing = max(mpmath.floor(mpmath.log(abs(exact), 2)) - 52, -1074) if exact else -1074
                ulp = mpmath.mpf(2) ** spacing
                assert abs(result - exact) <= 2 * ulp, (at, result, exact)


def exactly(number: float) -> sympy.Expr:
    return sympy.oo if number == math.inf else sympy.Rational(number)


def test_the_judge_sees_planted_faults() -> None:
    silu = native.bind("silu", {}, "exact").forward

    def off_by_one_unit(x: Tensor) -> Tensor:
        y = silu(x)
        return torch.where(x == 1.0, torch.nextafter(y, torch.full_like(y, 9.0)), y)

    def torch_itself(x: Tensor) -> Tensor:
        return torch.nn.functional.silu(x)

    x = torch.cat([torch.linspace(-100, 3, 1000), torch.tensor([1.0, -torch.inf])])
    clean, off, naive = check([silu, off_by_one_unit, torch_itself], "silu", {}, "forward", [x])
    assert clean.misrounded == clean.wrong_specials == 0
    assert off.misrounded == 1
    assert off.max_ulp_at == 1.0
    assert naive.wrong_specials >= 1  # NaN at -inf
    assert naive.max_ulp > 1e6  # the tail is lost
    assert judged("silu")
    assert not judged("no such function")


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_screen_is_within_a_quarter_of_its_margin(name: str, direction: Direction) -> None:
    constants = DEFAULTS.get(name, {})
    if name == "tanh_shrink" or screen_error(name, constants, direction, torch.ones(8))[0] < 0:
        pytest.skip("no screen")  # everything goes to the judge
    for x in bit_patterns(100_003):
        assert screen_error(name, constants, direction, x)[0] < 1e-6


@pytest.mark.parametrize("name", ["gelu", "mish", "tanh", "hard_sigmoid", "softsign", "tanh_shrink"])
def test_the_quick_oracle_says_what_the_slow_one_says(name: str) -> None:
    quick, left = check_quickly(name, {}, stride=20_011)
    inputs = bit_patterns(20_011, -(1 << 31), 1 << 31)
    precisions: tuple[native.Precision, ...] = ("faithful", "exact")
    directions: tuple[Direction, ...] = ("forward", "backward")
    for direction in directions:
        calls = [native_call(name, {}, direction, precision) for precision in precisions]
        for precision, slow in zip(precisions, check(calls, name, {}, direction, inputs), strict=True):
            verdict = quick[direction, precision]
            assert (verdict.inputs, verdict.wrong_specials) == (slow.inputs, slow.wrong_specials)
            assert abs(verdict.misrounded - slow.misrounded) <= 1  # the slow one is in double away from roots
            assert abs(verdict.max_ulp - slow.max_ulp) < 1e-5
    assert left < 0.02 or name == "tanh_shrink"


def test_the_quick_oracle_sees_planted_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    real = native.bind("silu", {}, "exact")

    def off_by_one_unit(x: Tensor) -> Tensor:
        y = real.forward(x)
        y = torch.where(x == 1.0, torch.nextafter(y, torch.full_like(y, 9.0)), y)
        return torch.where(x == -torch.inf, torch.full_like(y, torch.nan), y)

    planted = native.Calls(off_by_one_unit, real.backward)
    monkeypatch.setattr(native, "bind", lambda name, constants, precision: planted)
    verdicts, _ = check_quickly("silu", {}, stride=1 << 16)  # meets 1 and both infinities
    assert verdicts["forward", "exact"].max_ulp > 0.6
    assert verdicts["forward", "exact"].misrounded == 1
    assert verdicts["forward", "exact"].wrong_specials == 1
    assert verdicts["backward", "exact"].max_ulp < 0.5001


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the stored verification is of the kernels as built for x86")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_stored_verification_is_of_this_code(name: str) -> None:
    stored = json.loads((Path(__file__).parents[2] / "benchmarks" / "results" / "verify.json").read_text())["items"]
    items = [item for item in stored.values() if item["function"] == name]
    assert sorted((item["direction"], item["precision"]) for item in items) == [
        (direction, precision) for direction in ("backward", "forward") for precision in ("exact", "faithful")
    ]
    for item in items:
        assert item["kernels"] == build.kernels_version(name), "run `make verify` and commit its result"
        assert item["inputs"] == 2**32
        assert item["one_ulp_or_more"] == item["wrong_specials"] == 0
        assert item["max_ulp"] <= (0.5001 if item["precision"] == "exact" else 0.9999)


def test_verification_is_resumable(tmp_path: Path) -> None:
    said: list[str] = []
    exhaustive(tmp_path / "v.json", ["relu"], stride=1_000_003, progress=said.append)
    assert len(said) == 4
    exhaustive(tmp_path / "v.json", ["relu"], stride=1_000_003, progress=said.append)
    assert len(said) == 4
    item = json.loads((tmp_path / "v.json").read_text())["items"]["relu forward exact"]
    assert item["max_ulp"] == 0.0
    certificates = json.loads((tmp_path / "v.json").read_text())["certificates"]
    assert certificates[item["commit"]]["torch"] == torch.__version__
