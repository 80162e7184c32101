"""Accuracy, time and kept bytes of hillock, torch, torch.compile, timm and JAX, side by side.

python benchmarks/kernels_peers.py [--jax PYTHON]     # writes benchmarks/results/kernels_peers.json

Accuracy: every 5407th float32 (0.8 million, all exponents), forward and derivative, judged by the oracle. Time: 2^20
elements of N(0, 1), one thread, outputs allocated by each, candidates taking turns (JAX, in a process of its own, after
the others). Bytes: what the activation alone keeps for backward.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from hillock import activation as layer
from hillock import provenance
from hillock.kernels.verify import DEFAULTS, bit_patterns, check
from hillock.randomness import generator


def timm_activations() -> ModuleType:
    """Return timm's module of activations alone: the package needs torchvision, which does not come for every torch."""
    package = importlib.util.find_spec("timm")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("timm is not installed: pip install timm")
    path = Path(package.submodule_search_locations[0]) / "layers" / "activations.py"
    spec = importlib.util.spec_from_file_location("timm_activations", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


timm_layers = timm_activations()
HERE = Path(__file__).parent
F = torch.nn.functional
Function = Callable[[Tensor], Tensor]
TORCH: dict[str, Function] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "mish": F.mish,
    "softplus": F.softplus,
    "elu": F.elu,
    "selu": F.selu,
    "hard_swish": F.hardswish,
    "relu": F.relu,
}
TIMM: dict[str, Function] = {
    "sigmoid": timm_layers.sigmoid,
    "tanh": timm_layers.tanh,
    "silu": lambda x: x.mul(x.sigmoid()),  # its `swish` where torch has no silu
    "gelu": timm_layers.gelu,
    "mish": timm_layers.mish,
    "hard_swish": timm_layers.hard_swish,
}


def slope(function: Function) -> Function:
    """Return x -> φ'(x) by autograd, with a gradient of ones."""

    def derivative(x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(function(x).sum(), x)[0]

    return derivative


def accuracy(name: str, candidates: dict[str, Function]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the verdict on each candidate, forward and backward."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for direction in ("forward", "backward"):
        functions = [f if direction == "forward" else slope(f) for f in candidates.values()]
        verdicts = check(functions, name, DEFAULTS.get(name, {}), direction, bit_patterns(5407))  # type: ignore[arg-type]
        for peer, verdict in zip(candidates, verdicts, strict=True):
            found.setdefault(peer, {})[direction] = {
                "max_ulp": verdict.max_ulp, "max_ulp_at": verdict.max_ulp_at,
                "nearest": verdict.correctly_rounded, "wrong_specials": verdict.wrong_specials,
            }  # fmt: skip
    return found


def times(candidates: dict[str, Function]) -> dict[str, dict[str, list[float]]]:
    """Return quantiles of nanoseconds an element of forward alone (no gradient) and of forward and backward."""
    x = torch.randn(1 << 20, generator=generator(0, "peers"))
    leaf = x.clone().requires_grad_()
    g = torch.randn(1 << 20, generator=generator(1, "peers"))
    seconds: dict[str, dict[str, list[float]]] = {peer: {"forward": [], "both": []} for peer in candidates}
    for _ in range(12):
        for peer, function in candidates.items():
            with torch.no_grad():
                started = time.perf_counter()
                function(x)
                seconds[peer]["forward"].append(time.perf_counter() - started)
            started = time.perf_counter()
            torch.autograd.grad(function(leaf), leaf, g)
            seconds[peer]["both"].append(time.perf_counter() - started)
    scale = 1e9 / x.numel()
    return {
        peer: {kind: [round(float(q) * scale, 4) for q in numpy.quantile(values[2:], [0.2, 0.5, 0.8])]
               for kind, values in kinds.items()}
        for peer, kinds in seconds.items()
    }  # fmt: skip


def kept_bytes(function: Function) -> float:
    """Return bytes kept for backward, an element of float32 input that nobody else keeps."""
    x = torch.randn(1 << 16, requires_grad=True).mul(1.0)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        y = function(x)
    assert y.requires_grad
    return sum(kept.values()) / x.numel()


def with_jax(python: str, found: dict[str, dict[str, object]]) -> str:
    """Add JAX's accuracy and times to what was found; return its version."""
    x = torch.cat(list(bit_patterns(5407)))
    with tempfile.TemporaryDirectory() as folder:
        inputs, results = Path(folder) / "x.npy", Path(folder) / "y.npz"
        numpy.save(inputs, x.numpy())
        program = str(HERE / "kernels_jax.py")
        subprocess.run([python, program, str(inputs), str(results)], check=True)
        with numpy.load(results) as answers:
            told = json.loads(str(answers["times"]))
            for name, entry in found.items():
                judged = {}
                for direction in ("forward", "backward"):
                    y = torch.from_numpy(answers[f"{name} {direction}"])
                    (verdict,) = check([lambda _, y=y: y], name, DEFAULTS.get(name, {}), direction, [x])  # type: ignore[arg-type, misc]
                    judged[direction] = {
                        "max_ulp": verdict.max_ulp, "max_ulp_at": verdict.max_ulp_at,
                        "nearest": verdict.correctly_rounded, "wrong_specials": verdict.wrong_specials,
                    }  # fmt: skip
                entry["accuracy"]["JAX"] = judged  # type: ignore[index]
                entry["ns"]["JAX"] = {"forward": told["ns"][name]["forward"], "both": told["ns"][name]["backward"]}  # type: ignore[index]
    return str(told["version"])


def main() -> None:
    """Measure everything and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jax", help="an interpreter that has jax and numpy")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, object]] = {}
    for name, reference in TORCH.items():
        own = layer(name)
        compiled = torch.compile(reference, dynamic=True)
        candidates: dict[str, Function] = {"hillock": own, "torch": reference, "torch.compile": compiled}
        if name in TIMM:
            candidates["timm"] = TIMM[name]
        found[name] = {
            "accuracy": accuracy(name, candidates),
            "ns": times(candidates),
            "bytes": {peer: kept_bytes(function) for peer, function in candidates.items()},
        }
        print(name, {peer: entry["forward"]["max_ulp"] for peer, entry in found[name]["accuracy"].items()})  # type: ignore[attr-defined]
    versions = {"timm": importlib.metadata.version("timm")}
    if arguments.jax:
        versions["JAX"] = with_jax(arguments.jax, found)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in found.items())
    header = {"provenance": provenance.collect(), "versions": versions, "inputs": "every 5407th float32", "turns": 10}
    text = json.dumps(header)[:-1] + ', "functions": {\n' + lines + "\n}}\n"
    (HERE / "results" / "kernels_peers.json").write_text(text)


if __name__ == "__main__":
    main()
