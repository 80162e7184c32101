"""A file that grows by results: JSON with one row a line, each naming the birth certificate of its making by commit.

    {"certificates": {commit: provenance}, "items": {key: row}, ...}

A row is a mapping with a "commit"; beside `items` a part of the file may be a single row. Several rows made by the same
code share a certificate, and one that no row names any more goes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hillock import provenance

__all__ = ["certify", "read", "write"]


def read(path: Path) -> dict[str, Any]:
    """Return what the file holds; nothing where there is none yet."""
    return {"certificates": {}, "items": {}} | (json.loads(path.read_text()) if path.exists() else {})


def certify(kept: dict[str, Any]) -> str:
    """Put the certificate of this moment beside the results and return the commit by which rows name it."""
    certificate = provenance.collect()
    commit: str = certificate["commit"] or "no commit"
    kept["certificates"][commit] = certificate
    return commit


def write(path: Path, kept: dict[str, Any]) -> None:
    """Write the file by an atomic rename: an interruption leaves the old one or the new one."""
    used = {row["commit"] for row in _rows(kept)}
    kept["certificates"] = {commit: kept["certificates"][commit] for commit in sorted(used)}
    parts = []
    for part, content in kept.items():
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()]
        parts.append(f"{json.dumps(part)}: {{\n" + ",\n".join(lines) + "\n}")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    os.replace(partial, path)


def _rows(kept: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for part, content in kept.items():
        if part != "certificates":
            yield from [content] if "commit" in content else content.values()
