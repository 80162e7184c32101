"""The generated Triton kernels: correct under Triton's interpreter, and on a CUDA device where there is one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap

import pytest
import torch

from hillock import kernels
from hillock.activations import Activation, catalogue
from hillock.errors import UsageError
from hillock.kernels.triton_source import module_source

POINTWISE = {name: found for name, found in catalogue().items() if isinstance(found, Activation)}


@pytest.mark.parametrize("name", POINTWISE)
def test_every_declaration_becomes_a_module(name: str) -> None:
    activation = POINTWISE[name]
    source = module_source(activation, activation.constants())
    compile(source, name, "exec")
    assert source.count("result =") == 2


def test_an_operation_without_a_triton_form_is_refused() -> None:
    gamma = Activation(
        name="gamma_ish",
        formula="x",
        value=lambda x: x + 0 * torch.lgamma(x.abs() + 1),
        slope=torch.ones_like,
        trusted=True,
    )
    with pytest.raises(UsageError, match="Triton form"):
        module_source(gamma, {})


# Runs in a process of its own: Triton decides between interpreter and compiler when it is first imported.
INTERPRETED = """
    import warnings
    import numpy, torch
    from hillock.activations import Activation, catalogue
    from hillock.kernels import reference, triton_kernels as triton

    numpy.seterr(all="ignore")
    warnings.simplefilter("ignore")
    inf, nan = float("inf"), float("nan")
    special = [0.0, -0.0, inf, -inf, nan, 1e-40, -1e-40, -100.0, -88.9, -20.0, 1e30, -1e30, 3e38, -1.2784645, -0.75179]
    x = torch.cat([torch.linspace(-12, 12, 401), torch.tensor(special)])
    g = torch.linspace(-2, 2, x.numel())

    def check(what, found, expected):
        same = (found == expected) | (found.isnan() & expected.isnan())
        assert same.all(), (what, x[~same], found[~same], expected[~same])

    for name, activation in catalogue().items():
        if isinstance(activation, Activation):
            numbers = activation.constants()
            check(name, triton.forward(activation, x, numbers), reference.forward(activation, x, numbers))
            check(name, triton.backward(activation, g, x, numbers), reference.backward(activation, g, x, numbers))

    silu = catalogue()["silu"]
    for dtype in (torch.bfloat16, torch.float16):
        every = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16).view(dtype)
        x = every[(every.abs() >= torch.finfo(dtype).tiny) | (every == 0)]  # the interpreter misreads tiny bfloat16
        check(dtype, triton.forward(silu, x, {}), reference.forward(silu, x, {}))
    x = torch.randn(3, 4, 5).transpose(0, 2)
    assert triton.forward(silu, x, {}).stride() == x.stride()
    check("layout", triton.forward(silu, x, {}), reference.forward(silu, x, {}))
    x = torch.randn(40, 40)[::2, ::3]
    check("strided", triton.backward(silu, x.flip(0), x, {}), reference.backward(silu, x.flip(0), x, {}))
    assert triton.forward(silu, torch.empty(0), {}).numel() == 0
    print("checked")
"""


def test_correct_under_the_interpreter() -> None:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("needs Triton (pip install triton); the kernels are then run by its interpreter")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(INTERPRETED)],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.stdout.endswith("checked\n"), done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", POINTWISE)
def test_correct_on_a_cuda_device(name: str) -> None:
    activation = POINTWISE[name]
    constants = activation.constants()
    x = torch.randn(10_001, generator=torch.Generator().manual_seed(0)) * 5
    leaf = x.cuda().requires_grad_()
    y = kernels.apply(activation, leaf, constants)
    y.sum().backward()
    assert leaf.grad is not None
    for found, expected in (
        (y, kernels.reference.forward(activation, x, constants)),
        (leaf.grad, kernels.reference.slope(activation, x, constants)),
    ):
        torch.testing.assert_close(found.cpu(), expected, rtol=1.2e-7, atol=0)
