"""Write the tables of docs/speed.md from the stored results: training steps, weight gradients, first steps."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"


def steps() -> list[str]:
    """Return the table's lines, one for each network, number of threads and way."""
    lines = [
        "| network | threads | way | images/s | time over hillock's (lowest to highest of the rounds) |",
        "|---|---|---|---|---|",
    ]
    sources = []
    for path in sorted(RESULTS.glob("train_step_*.json")):
        for result in json.loads(path.read_text())["results"]:
            setting, origin = result["setting"], result["provenance"]
            name = f"{setting['network']}, {setting['batch_size']} pictures of {setting['image_size']} pixels"
            for way, found in result["ways"].items():
                ratio = found["time_over_hillock"]
                spread = f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"
                lines.append(f"| {name} | {setting['threads']} | {way} | {found['images_per_second']:.0f} | {spread} |")
        sources.append(
            f"`{path.name}`: {origin['processor']}, torch {origin['torch']}, commit {origin['commit']}, "
            f"{origin['date'][:10]}, {result['rounds']} rounds of {result['steps_per_round']} steps."
        )
    return [*lines, "", *sources]


def weight_gradients() -> list[str]:
    """Return how many times as fast as torch's the native weight gradient is, one line a shape."""
    stored = json.loads((RESULTS / "weight_gradient.json").read_text())
    ratios: dict[str, dict[int, str]] = {}
    for shape in stored["shapes"]:
        name = "{pictures} pictures, {inputs} to {outputs} channels, {side}x{side} pixels".format(**shape)
        name += f", stride {shape['stride']}" * (shape["stride"] > 1)
        found = shape["torch_over_hillock"]
        ratios.setdefault(name, {})[shape["threads"]] = "{median:.2f} ({low:.2f} to {high:.2f})".format(**found)
    threads = sorted({shape["threads"] for shape in stored["shapes"]})
    lines = [
        "| weight gradient of | " + " | ".join(f"{count} thread{'s' * (count > 1)}" for count in threads) + " |",
        "|---" * (1 + len(threads)) + "|",
        *(f"| {name} | " + " | ".join(by[count] for count in threads) + " |" for name, by in ratios.items()),
    ]
    origin = stored["provenance"]
    return [*lines, "", f"`weight_gradient.json`: {origin['processor']}, torch {origin['torch']}, commit "
            f"{origin['commit']}, {origin['date'][:10]}, {stored['rounds']} rounds."]  # fmt: skip


def first_steps() -> list[str]:
    """Return how long a command takes that makes one training step, one line a way."""
    stored = json.loads((RESULTS / "first_step.json").read_text())
    lines = ["| `hillock train` for one step | cold caches | warm caches |", "|---|---|---|"]
    for command in stored["commands"]:
        flags = " ".join(command["flags"]) or "as it chooses"
        warm = sorted(command["warm_seconds"])
        spread = f"{warm[len(warm) // 2]:.1f} s ({warm[0]:.1f} to {warm[-1]:.1f})"
        lines.append(f"| {flags} | {command['cold_seconds']:.1f} s | {spread} |")
    origin = stored["provenance"]
    return [*lines, "", f"`first_step.json`: {origin['processor']}, torch {origin['torch']}, commit "
            f"{origin['commit']}, {origin['date'][:10]}."]  # fmt: skip


def main() -> None:
    """Put each table between its two marks."""
    path = ROOT / "docs/speed.md"
    page = path.read_text()
    for name, table in {"speed": steps, "weight gradient": weight_gradients, "first step": first_steps}.items():
        begin, end = f"<!-- {name} table -->\n", f"<!-- end of {name} table -->"
        before, rest = page.split(begin)
        page = before + begin + "\n" + "\n".join(table()) + "\n\n" + end + rest.split(end)[1]
    path.write_text(page)


if __name__ == "__main__":
    main()
