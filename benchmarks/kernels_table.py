"""Write the tables of docs/kernels.md from the stored result files.

python benchmarks/kernels_table.py            # replaces what stands between the markers in docs/kernels.md
"""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "kernels.md"
BEGIN, END = "<!-- generated: accuracy -->", "<!-- end -->"


def accuracy_table() -> str:
    """Return the table of verified accuracy, a row per function, direction and precision."""
    items = json.loads((HERE / "results" / "verify.json").read_text())["items"].values()
    lines = [
        "| function | direction | precision | inputs | largest error (ULP) | at x = | nearest value | 1 ULP or more |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for item in items:
        lines.append(
            f"| {item['function']} | {item['direction']} | {item['precision']} | {item['inputs']:,} | "
            f"{item['max_ulp']:.6f} | {item['max_ulp_at']:.9g} | {100 * item['correctly_rounded']:.5f} % | "
            f"{item['one_ulp_or_more']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    text = PAGE.read_text()
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{accuracy_table()}\n{END}{after}")
