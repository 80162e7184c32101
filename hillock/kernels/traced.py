"""Questions of the fused layers that have an answer in eager mode and inside `torch.compile`."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from hillock.kernels import native, triton_kernels

__all__ = ["is_transformed", "log_once", "missing", "runs_by_triton", "say_once"]

_LOG = logging.getLogger("hillock")
_SAID: set[str] = set()


def is_transformed() -> bool:
    """Whether torch must see plain operations: in `torch.export`, and under function transforms, compiled or not."""
    if torch.compiler.is_compiling():
        return torch.compiler.is_exporting() or torch._C._are_functorch_transforms_active()
    return torch._C._functorch.peek_interpreter_stack() is not None


def runs_by_triton(x: Tensor) -> bool:
    """Whether the fused kernels for this tensor are Triton's; the native library's are for the CPU."""
    return x.is_cuda


def missing(x: Tensor) -> str | None:
    """Return why there are no fused kernels for tensors where x is, or None where there are."""
    if not (x.is_cuda or x.is_cpu):
        return "the fused kernels are for the CPU and for CUDA devices"
    if torch.compiler.is_compiling():
        from hillock.kernels import operators  # registers the operators, which eager mode has no use for

        return operators.missing_triton() if runs_by_triton(x) else operators.missing_library()
    return missing_triton() if runs_by_triton(x) else missing_library()


def missing_library() -> str | None:
    """Return why there is no native library, or None where there is one."""
    return None if native.available() else native.reason()


def missing_triton() -> str | None:
    """Return why there are no Triton kernels, or None where there are."""
    return None if triton_kernels.available() else "Triton is not installed"


def say_once(reason: str) -> None:
    """Log why a normalisation runs unfused, once a process; from compiled code, while it is traced."""
    if torch.compiler.is_compiling():
        from hillock.kernels import operators

        operators.log_once(reason)
    else:
        log_once(reason)


def log_once(reason: str) -> None:
    """Log the reason where it has not been logged yet."""
    if reason not in _SAID:
        _SAID.add(reason)
        _LOG.info("hillock: a normalisation runs unfused: %s", reason)
