"""The native library's plain functions by name: those that take addresses and sizes, not tensors."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

from hillock.kernels import build

__all__ = ["ADDRESS", "FLAG", "REAL", "SIZE", "entry"]

ADDRESS, FLAG, REAL, SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_double, ctypes.c_int64


@functools.cache
def entry(name: str, *kinds: type) -> Any:
    """Return the function `hillock_NAME`, which takes arguments of these kinds and returns nothing."""
    found = getattr(ctypes.CDLL(str(build.library())), f"hillock_{name}")
    found.argtypes = kinds
    found.restype = None
    return found
