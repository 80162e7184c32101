"""The fused layers' Triton kernels: the tests of the native ones run by the interpreter, and compiled for real GPUs."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hillock.kernels import native

HERE = Path(__file__).parent
TESTED_NATIVELY = ["test_max_pool.py", "test_norm_activation.py", "test_response_norm.py"]

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or not native.available(),
    reason="needs Triton (pip install triton; its interpreter and compiler work without a GPU) and the native library",
)

# In processes of their own: Triton decides between interpreter and compiler when it is first imported.
BY_TRITON = """
    import sys
    import numpy, pytest
    from hillock.kernels import max_pool, norm_passes, response_norm, triton_launch

    for module in (max_pool, norm_passes, response_norm):
        assert module.runs_by_triton  # the name that is replaced
        module.runs_by_triton = lambda x: True
"""
INTERPRETED = """
    from hillock.kernels import triton_norm, triton_pool, triton_response_norm

    numpy.seterr(all="ignore")
    launched, launch = set(), triton_launch.launch
    for module in (triton_norm, triton_pool, triton_response_norm):
        module.launch = lambda *rest, _from=module, **words: (launched.add(_from), launch(*rest, **words))
    code = pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]])
    assert len(launched) == 3
    sys.exit(code)
"""
COMPILED = """
    import re
    import torch, triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from hillock.activations import Activation, catalogue
    from hillock.activations.catalogue import find
    from hillock.kernels import triton_kernels, triton_norm, triton_pool, triton_response_norm

    NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.uint8: "u8"}
    LINEAR = {"statistics_sums", "forward_kernel", "backward_sums", "backward_kernel"}
    count = 0

    def compile_instead(kernel, grid, *arguments, **constants):
        global count
        constants |= {name: None for name, value in zip(kernel.arg_names, arguments) if value is None}
        signature = dict.fromkeys(kernel.arg_names, "constexpr")
        for name, value in zip(kernel.arg_names, arguments):
            if isinstance(value, torch.Tensor):
                signature[name] = "*" + NAMES[value.dtype]
            elif value is not None:
                signature[name] = "fp32" if isinstance(value, float) else "i32"
        whole = [isinstance(v, torch.Tensor) or (isinstance(v, int) and v % 16 == 0) for v in arguments]
        known = {(i,): [["tt.divisibility", 16]] for i, yes in enumerate(whole) if yes}  # as a launch finds out
        for architecture in architectures:
            source = ASTSource(kernel, signature=signature, constexprs=constants, attrs=known)
            compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32)).asm
            count += len(compiled["cubin"]) > 0
            aligned = all(yes or value is None for yes, value in zip(whole, arguments))
            if kernel.__name__ in LINEAR and aligned and constants.get("KIND") != 2:
                assert set(re.findall(r"ld[.]global[.\\w]*", compiled["ptx"])) == {"ld.global.v4.b32"}, kernel.__name__
                wide.add(kernel.__name__)

    for module in (triton_launch, triton_norm, triton_pool, triton_response_norm):
        module.launch = compile_instead

    wide, architectures = set(), (80, 90)
    for dtype, channels in ((torch.float32, 24), (torch.bfloat16, 24), (torch.float32, 64), (torch.bfloat16, 64)):
        x = torch.zeros(4, channels, 6, 6, dtype=dtype).to(memory_format=torch.channels_last)
        vector = torch.ones(channels)
        norm_passes.statistics(x)
        by = norm_passes.settle(x, vector, vector, 1e-5, vector.clone(), vector.clone(), 0.1)
        for name in ("identity", "relu", "gelu"):
            for residual, more in ((None, None), (x, None), (None, x)):
                norm_passes.forward(x, residual, by, find(name), {})
                norm_passes.backward(x, more, x, residual, by, find(name), {}, more is None)
        for window in ((2, 2, 0), (3, 2, 1)):
            y, where = max_pool.largest(x, window)
            max_pool.scattered(y, where, window, x.shape)
        response_norm.forward(x, window := response_norm.Window(5, 1e-4, 0.75, 2.0, 2))
        response_norm.backward(x, x, window)
    assert wide == LINEAR
    layers, count, architectures = count, 0, (90,)
    pointwise = [activation for activation in catalogue().values() if isinstance(activation, Activation)]
    for activation in pointwise:
        triton_kernels.backward(activation, x, x, activation.constants())
    print("compiled", layers, "of layers and", count, "of", len(pointwise), "activations")
"""


def _run(program: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BY_TRITON) + textwrap.dedent(program), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@needs_triton
def test_the_native_tests_pass_under_the_interpreter() -> None:
    said = _run(INTERPRETED, *(str(HERE / name) for name in TESTED_NATIVELY), TRITON_INTERPRET="1")
    assert " passed" in said
    assert "skipped" not in said


@needs_triton
def test_everything_compiles_for_a_gpu(tmp_path: Path) -> None:
    said = _run(COMPILED, TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path), TRITON_DEFAULT_FP_FUSION="1").split()
    assert int(said[1]) >= 2 * 4 * 20  # architectures, dtypes and channels, kernels in their variants
    assert said[5] == said[7] != "0"
