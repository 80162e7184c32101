"""Write the tables of docs/kernels.md from the stored result files.

python benchmarks/kernels_table.py            # replaces what stands between the markers in docs/kernels.md
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "kernels.md"
Item = dict[str, Any]

# The aims for `faithful` in float32 on N(0, 1), AVX512. Their figures are what a prototype of these kernels reached.
LEAST_FORWARD, LEAST_BACKWARD = 1.1, 1.1  # times torch at 2^16, 2^20, 2^24
LEAST_OF: dict[tuple[str, str, int | None], float] = {
    ("gelu", "forward", 20): 1.0,
    ("sigmoid", "backward", 16): 0.75,
    ("tanh", "backward", 16): 0.75,
    ("mish", "forward", None): 5.0,
    ("mish", "backward", None): 5.0,
    **{(name, "forward", None): 2.0 for name in ("gelu_tanh", "softplus", "elu", "selu")},
}
MOST_OVER_MEMORY = {20: 1.4, 24: 1.1}


def accuracy() -> Iterator[str]:
    """Yield the table of verified accuracy, a row per function and direction."""
    items = _read("verify")["items"]
    yield "| function | direction | faithful: largest error, ULP | at x = | nearest value | exact: largest error, ULP |"
    yield "|---|---|---|---|---|---|"
    for key, item in items.items():
        if item["precision"] == "faithful":
            exact = items[key.replace("faithful", "exact")]
            assert item["inputs"] == exact["inputs"] == 2**32, key
            assert item["wrong_specials"] == exact["wrong_specials"] == 0, key
            nearest = 1 - item["misrounded"] / item["inputs"]
            yield (
                f"| {item['function']} | {item['direction']} | {item['max_ulp']:.3f} | {item['max_ulp_at']:.6g} | "
                f"{100 * nearest:.3f} % | {exact['max_ulp']:.6f} |"
            )


def speed() -> Iterator[str]:
    """Yield the table of times beside torch and memory on one thread, a row per function and direction."""
    items = list(_read("kernels")["items"].values())
    yield (
        "| function | direction | torch / hillock at 2^16, 2^20, 2^24 | hillock / memory at 2^20, 2^24 "
        "| exact / faithful at 2^20 |"
    )
    yield "|---|---|---|---|---|"
    rows: dict[tuple[str, str], dict[int, Item]] = {}
    for item in _chosen(items, dtype="float32", deviation=1.0, threads=1, layout="contiguous"):
        rows.setdefault((item["function"], item["direction"]), {})[item["size"]] = item
    for (name, direction), sizes in rows.items():
        if {16, 20, 24} <= set(sizes):
            times = ", ".join(f"{sizes[size]['times_torch']:.2f}" for size in (16, 20, 24))
            memory = ", ".join(f"{sizes[size]['over_memory']:.2f}" for size in (20, 24))
            yield f"| {name} | {direction} | {times} | {memory} | {sizes[20]['exact_over_faithful']:.2f} |"


def aims() -> Iterator[str]:
    """Yield a line per aim: how many items meet it, and which do not."""
    kept = _read("kernels")
    items = list(kept["items"].values())
    for threads in (1, 2):
        normal = list(_chosen(items, dtype="float32", deviation=1.0, threads=threads, layout="contiguous"))
        large = [item for item in normal if item["size"] in (16, 20, 24)]
        if not large:
            continue
        word = "one thread" if threads == 1 else "two threads"
        yield _aim(
            f"times torch, N(0, 1), {word}", [(item, item["times_torch"], _least(item), False) for item in large]
        )
        yield _aim(
            f"over memory, N(0, 1), {word}",
            [
                (item, item["over_memory"], MOST_OVER_MEMORY[item["size"]], True)
                for item in large
                if item["size"] in MOST_OVER_MEMORY
            ],
        )
        mean = math.exp(statistics.fmean(math.log(item["times_torch"]) for item in large))
        yield f"* geometric mean of times torch, N(0, 1), {word}: {mean:.2f} (aim 2)"
    for text, wanted, least in (
        ("N(0, 3)", {"dtype": "float32", "deviation": 3.0}, 0.9),
        ("all in the tails", {"dtype": "float32", "deviation": 0.0}, 0.5),
        ("bfloat16", {"dtype": "bfloat16", "deviation": 1.0}, 1.0),
    ):
        chosen = _chosen(items, threads=1, layout="contiguous", **wanted)
        yield _aim(f"times torch, {text}", [(item, item["times_torch"], least, False) for item in chosen])
    chosen = _chosen(items, dtype="float32", deviation=1.0, threads=1, layout="contiguous")
    yield _aim("exact over faithful", [(item, item["exact_over_faithful"], 4.0, True) for item in chosen])
    calls = kept["overhead"]["microseconds"]
    yield (
        f"* a call of 16 elements, SiLU forward: {calls['functional'] / calls['torch']:.2f} of torch's "
        f"({calls['functional']:.2f} against {calls['torch']:.2f} microseconds; aim 1.5)"
    )


def peers() -> Iterator[str]:
    """Yield the table beside other libraries, a row per function and library."""
    kept = _read("kernels_peers")
    versions = kept["versions"] | {"torch": kept["provenance"]["torch"]}
    yield "Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".\n"
    yield (
        "| function | library | largest error (ULP), forward | derivative | inputs with a wrong NaN, inf or sign of 0 "
        "| ns forward | ns both | bytes kept |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for name, entry in kept["functions"].items():
        for peer, verdicts in entry["accuracy"].items():
            ahead, back = verdicts["forward"], verdicts["backward"]
            kept_bytes = entry["bytes"].get(peer)
            yield (
                f"| {name} | {peer} | {ahead['max_ulp']:.3g} | {back['max_ulp']:.3g} | "
                f"{ahead['wrong_specials'] + back['wrong_specials']} | {entry['ns'][peer]['forward'][1]:.2f} | "
                f"{entry['ns'][peer]['both'][1]:.2f} | {'' if kept_bytes is None else f'{kept_bytes:.3g}'} |"
            )


def _read(name: str) -> Item:
    found: Item = json.loads((HERE / "results" / f"{name}.json").read_text())
    return found


def _chosen(items: Iterable[Item], **wanted: object) -> Iterator[Item]:
    return (item for item in items if all(item[field] == value for field, value in wanted.items()))


def _least(item: Item) -> float:
    name, direction, size = item["function"], item["direction"], item["size"]
    general = LEAST_FORWARD if direction == "forward" else LEAST_BACKWARD
    return LEAST_OF.get((name, direction, size), LEAST_OF.get((name, direction, None), general))


def _aim(text: str, judged: list[tuple[Item, float, float, bool]]) -> str:
    """Return one line: `text`, the share of items that meet the limit, and each that does not with figure and limit."""
    missed = [
        f"{item['function']} {item['direction']} 2^{item['size']} {figure:.2f} (aim {limit:g})"
        for item, figure, limit, is_most in judged
        if (figure > limit if is_most else figure < limit)
    ]
    line = f"* {text}: {len(judged) - len(missed)} of {len(judged)} meet the aim"
    return line + (f"; not: {', '.join(missed)}" if missed else "")


def main() -> None:
    """Replace each generated part of the page."""
    text = PAGE.read_text()
    for part in (accuracy, speed, aims, peers):
        begin = f"<!-- generated: {part.__name__} -->"
        before, rest = text.split(begin, 1)
        after = rest.split("<!-- end -->", 1)[1]
        text = f"{before}{begin}\n" + "\n".join(part()) + f"\n<!-- end -->{after}"
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
