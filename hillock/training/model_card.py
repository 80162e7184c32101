"""The model card of an exported run: what it is, how good, from what data, how to use it, what it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hillock.data import Preprocessing
from hillock.training.run import Run

__all__ = ["model_card"]


def model_card(run: Run, preprocessing: Preprocessing, files: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the card as Markdown, from the run's own files alone."""
    recipe, facts = run.recipe, run.facts
    sections = [
        f"# {recipe.title}\n\n{recipe.network} with {recipe.activation}, trained on {facts['name']} by hillock.",
        "## Results\n\n" + _results(run),
        "## Data\n\n" + _data(facts),
        "## Files\n\n" + _files(files),
        "## Use\n\n" + _use(preprocessing),
        "## Limits\n\n" + _limits(facts),
        "## Recipe\n\n```toml\n" + recipe.to_toml().strip() + "\n```",
    ]
    return "\n\n".join(sections) + "\n"


def _results(run: Run) -> str:
    if not run.record:
        return "The run was not evaluated."
    final = run.final
    named = {"test": "test", "validation": "validation", "train": "training"}
    rows = [
        f"| {label} | {final[f'{part}_error']:.2%} | {_loss(final.get(f'{part}_loss'))} |"
        for part, label in named.items()
        if final.get(f"{part}_error") is not None
    ]
    head = (
        f"After {final['epoch']:g} epochs ({final['step']} steps):\n\n| part | error | loss (nats) |\n|---|---|---|\n"
    )
    return head + "\n".join(rows)


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _data(facts: Mapping[str, Any]) -> str:
    sizes = ", ".join(f"{count:,} {part}" for part, count in facts["sizes"].items())
    counts = facts["class_counts"]["train"]
    classes = ", ".join(f"{name} ({count:,})" for name, count in zip(facts["class_names"], counts, strict=True))
    lines = [
        f"* pictures: {sizes}",
        f"* classes (training pictures): {classes}",
        f"* fingerprint: `{facts['fingerprint']}`",
    ]
    lines += [f"* {note}" for note in facts.get("notes", [])]
    return "\n".join(lines)


def _files(files: Mapping[str, Mapping[str, Any]]) -> str:
    meaning = {
        "model.safetensors": "weights of the network (recipe and preprocessing in its metadata)",
        "model.pt2": "program of `torch.export`: pictures as bytes in, scores out",
        "model.onnx": "the same as ONNX",
    }
    lines = [
        f"* `{name}`: {meaning[name]}, {entry['bytes'] / 2**20:.2f} MiB"
        + (
            f"; largest deviation from the network {entry['largest_deviation']:.1e}"
            if name != "model.safetensors"
            else ""
        )
        for name, entry in files.items()
    ]
    return "\n".join([*lines, "* `preprocessing.json`: what to do before the programs"])


def _use(preprocessing: Preprocessing) -> str:
    size, channels = preprocessing.image_size, preprocessing.channels
    mode = "RGB" if channels == 3 else "L"
    return f"""The programs take bytes, `[batch, {channels}, {size}, {size}]`; the normalisation is inside.

```python
import numpy, onnxruntime
from PIL import Image, ImageOps

picture = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("{mode}")
side, short = {size}, {preprocessing.decoded_size}
picture = ImageOps.fit(picture, (short, short), Image.Resampling.BICUBIC)
border = (short - side) // 2
pixels = numpy.asarray(picture.crop((border, border, border + side, border + side))).reshape(1, side, side, {channels})
scores = onnxruntime.InferenceSession("model.onnx").run(None, {{"pictures": pixels.transpose(0, 3, 1, 2).copy()}})[0]
names = {list(preprocessing.class_names)}
print(names[scores.argmax()])
```"""


def _limits(facts: Mapping[str, Any]) -> str:
    return (
        "The network knows its classes and nothing else: any picture gets one of them. Its errors were measured on "
        f"pictures like those of {facts['name']}; on others they are unknown. Rare classes were seen rarely: see the "
        "counts above, and `hillock evaluate` for each class with its interval."
    )
