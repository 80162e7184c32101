"""Questions of the fused layers that have an answer in eager mode and inside `torch.compile`."""

from __future__ import annotations

import logging

import torch

from hillock.kernels import native

__all__ = ["is_transformed", "log_once", "missing_library", "say_once"]

_LOG = logging.getLogger("hillock")
_SAID: set[str] = set()


def is_transformed() -> bool:
    """Whether torch must see plain operations: in `torch.export`, and under function transforms, compiled or not."""
    if torch.compiler.is_compiling():
        return torch.compiler.is_exporting() or torch._C._are_functorch_transforms_active()
    return torch._C._functorch.peek_interpreter_stack() is not None


def missing_library() -> str | None:
    """Return why there is no native library, or None where there is one."""
    if torch.compiler.is_compiling():
        from hillock.kernels import operators  # registers the operators, which eager mode has no use for

        return operators.missing_library()
    return None if native.available() else native.reason()


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
