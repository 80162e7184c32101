"""Write the table of docs/speed.md from the stored results of `hillock bench train`."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- speed table -->\n", "<!-- end of speed table -->"


def rows() -> list[str]:
    """Return the table's lines, one for each network, number of threads and way."""
    lines = [
        "| network | threads | way | images/s | time over hillock's (lowest to highest of the rounds) |",
        "|---|---|---|---|---|",
    ]
    sources = []
    for path in sorted((ROOT / "benchmarks/results").glob("train_step_*.json")):
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


def main() -> None:
    """Put the table between its two marks."""
    page = ROOT / "docs/speed.md"
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(before + BEGIN + "\n" + "\n".join(rows()) + "\n\n" + END + after)


if __name__ == "__main__":
    main()
