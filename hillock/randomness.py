"""One seed, any number of independent random generators.

Every random draw in hillock comes from a generator made here for one named purpose. No global generator is read or
moved, so that adding a draw in one place never changes the draws in another, and two runs that share a seed share the
draws they have in common (the pairing that comparisons rest on).
"""

from __future__ import annotations

import hashlib

import numpy
import torch

__all__ = ["derive_seed", "generator", "numpy_generator"]


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed for one purpose, independent of the seed for any other purpose.

    The seed and the purpose are hashed (SHA-256), so nearby seeds and similar purposes give unrelated results.

    >>> derive_seed(0, "shuffle", 3) == derive_seed(0, "shuffle", 3)
    True
    >>> derive_seed(0, "shuffle", 3) == derive_seed(0, "shuffle", 4)
    False
    """
    text = "\x1f".join([str(int(seed)), *(f"{type(part).__name__}:{part}" for part in purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *purpose: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator for one purpose, for example `generator(seed, "augment", epoch, step)`."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, *purpose))


def numpy_generator(seed: int, *purpose: str | int) -> numpy.random.Generator:
    """Return a NumPy generator for one purpose."""
    return numpy.random.default_rng(derive_seed(seed, *purpose))
