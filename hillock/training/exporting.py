"""A run as files for elsewhere: weights, a torch program, ONNX, and a card that says how to use them.

The exported programs contain the normalisation: they take pictures as bytes, uint8 `[B, C, S, S]`, and return scores.
What remains to be done outside (decode, resize the short side, cut the centre) is written to `preprocessing.json`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import safetensors.torch
import torch
from torch import Tensor, nn

from hillock import provenance
from hillock.data import Preprocessing
from hillock.errors import ModelError, UsageError
from hillock.randomness import generator
from hillock.training.model_card import model_card
from hillock.training.run import Run

__all__ = ["FORMATS", "Deployed", "export_run"]

# Exported and original scores may differ by this share of the largest score, or by it absolutely below 1: float32
# sums in another order over up to some 10,000 terms. A wrong normalisation or activation shows at 1e-2 and above.
TOLERANCE = 1e-3


class Deployed(nn.Module):
    """A network behind its normalisation: uint8 `[B, C, S, S]` in, scores float32 `[B, classes]` out."""

    scale: Tensor
    offset: Tensor

    def __init__(self, model: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.model = model
        std = torch.tensor(preprocessing.std).view(-1, 1, 1)
        mean = torch.tensor(preprocessing.mean).view(-1, 1, 1)
        if preprocessing.mean_picture is not None:
            mean = preprocessing.mean_picture
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("offset", -mean / std)

    def forward(self, pictures: Tensor) -> Tensor:
        scores: Tensor = self.model(pictures.float() * self.scale + self.offset)
        return scores


def export_run(run: Run, out: Path, formats: tuple[str, ...], *, weights: Any = "last") -> dict[str, Any]:
    """Write a run to the folder `out`; return a mapping file name -> facts about it (bytes, largest deviation).

    * `formats`: of `safetensors`, `torch` (`torch.export`) and `onnx`. Preprocessing and model card always come along.

    Each program is loaded again and its scores compared with the network's on four pictures of noise. Errors:
    `ModelError` when they differ; `UsageError` when the packages for ONNX are missing.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise UsageError(f"formats among {', '.join(FORMATS)}", got=", ".join(unknown))
    preprocessing = Preprocessing.from_facts(run.facts)
    deployed = Deployed(run.load_model(weights), preprocessing).eval()
    out.mkdir(parents=True, exist_ok=True)
    written: dict[str, Any] = {}
    for name in formats:
        written |= FORMATS[name](deployed, preprocessing, run, out)
    (out / "preprocessing.json").write_text(json.dumps(_instructions(preprocessing), indent=2) + "\n")
    (out / "README.md").write_text(model_card(run, preprocessing, written))
    for name in ("preprocessing.json", "README.md"):
        written[name] = {"bytes": (out / name).stat().st_size}
    return written


def _safetensors(deployed: Deployed, preprocessing: Preprocessing, run: Run, out: Path) -> dict[str, Any]:
    path = out / "model.safetensors"
    state = {name: value.contiguous() for name, value in deployed.model.state_dict().items()}
    metadata = {
        "recipe": run.recipe.to_toml(),
        "preprocessing": json.dumps(preprocessing.to_facts()),
        "provenance": json.dumps(provenance.collect()),
    }
    safetensors.torch.save_file(state, path, metadata=metadata)
    restored = safetensors.torch.load_file(path)
    if any(not torch.equal(restored[name], value) for name, value in state.items()):
        raise ModelError("weights that read back as they were written", got=f"others from {path}")
    return {path.name: {"bytes": path.stat().st_size, "largest_deviation": 0.0}}


def _torch_program(deployed: Deployed, preprocessing: Preprocessing, run: Run, out: Path) -> dict[str, Any]:
    path = out / "model.pt2"
    pictures = _noise(preprocessing)
    program = torch.export.export(deployed, (pictures,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, path)
    restored = torch.export.load(path).module()
    return {path.name: _compared(path, deployed, lambda batch: restored(batch), preprocessing)}


def _onnx(deployed: Deployed, preprocessing: Preprocessing, run: Run, out: Path) -> dict[str, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter needs it)
    except ImportError as error:
        raise UsageError("the packages for ONNX", got=str(error), instead='pip install "hillock[onnx]"') from error
    path = out / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own deprecated parts
        torch.onnx.export(
            deployed,
            (_noise(preprocessing),),
            str(path),
            input_names=["pictures"],
            output_names=["scores"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    model = onnx.load(path)
    for key, value in _instructions(preprocessing).items():
        model.metadata_props.add(key=f"hillock.{key}", value=value if isinstance(value, str) else json.dumps(value))
    onnx.checker.check_model(model)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def scores(batch: Tensor) -> Tensor:
        return torch.from_numpy(numpy.asarray(session.run(["scores"], {"pictures": batch.numpy()})[0]))

    return {path.name: _compared(path, deployed, scores, preprocessing)}


FORMATS: dict[str, Callable[[Deployed, Preprocessing, Run, Path], dict[str, Any]]] = {
    "safetensors": _safetensors,
    "torch": _torch_program,
    "onnx": _onnx,
}


def _noise(preprocessing: Preprocessing, count: int = 4) -> Tensor:
    size = (count, preprocessing.channels, preprocessing.image_size, preprocessing.image_size)
    return torch.randint(0, 256, size, generator=generator(0, "export check"), dtype=torch.uint8)


@torch.no_grad()
def _compared(
    path: Path, deployed: Deployed, again: Callable[[Tensor], Tensor], preprocessing: Preprocessing
) -> dict[str, Any]:
    """Compare on batches of four and of one (the batch size must not be frozen)."""
    deviation = 0.0
    for count in (4, 1):
        pictures = _noise(preprocessing, count)
        expected, got = deployed(pictures), again(pictures)
        deviation = max(deviation, float((expected - got).abs().max() / expected.abs().max().clamp_min(1)))
    if not deviation <= TOLERANCE:
        raise ModelError("an exported program with the network's scores", got=f"a deviation of {deviation:g} in {path}")
    return {"bytes": path.stat().st_size, "largest_deviation": deviation}


def _instructions(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return what a user of the programs must do before them, in words and numbers."""
    size, short = preprocessing.image_size, preprocessing.decoded_size
    kind = "RGB" if preprocessing.channels == 3 else "grey (one channel)"
    return {
        "input": f"uint8, [batch, {preprocessing.channels}, {size}, {size}], 0 black to 255 white, {kind}",
        "steps": [
            "turn the picture upright by its EXIF orientation",
            f"convert it to {kind}; transparent parts become white",
            f"resize it so that its short side has {short} pixels (antialiased bicubic)",
            f"cut the central square of {size} pixels",
        ],
        "output": "scores (logits), [batch, classes]; softmax gives probabilities",
        "normalisation": "inside the program: (picture / 255 - mean) / std",
        "image_size": size,
        "short_side": short,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "mean_picture": preprocessing.mean_picture is not None,
        "class_names": list(preprocessing.class_names),
    }
