"""Write TOML: the half that the standard library's `tomllib` leaves out, for the values that recipes are made of."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["toml_text"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(table: Mapping[str, Any]) -> str:
    r"""Return a mapping as a TOML document, which `tomllib.loads` reads back to an equal mapping.

    Values: str, bool, int, float (also inf and nan), sequences, mappings, and sequences of mappings (written as arrays
    of tables). TOML has no null: leave such keys out before.

    >>> print(toml_text({"epochs": 6, "optimizer": {"kind": "sgd", "learning_rate": 0.1}}), end="")
    epochs = 6
    <BLANKLINE>
    [optimizer]
    kind = "sgd"
    learning_rate = 0.1

    Source: TOML 1.0.0, https://toml.io/en/v1.0.0
    """
    lines: list[str] = []
    _write_table(table, (), lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _write_table(table: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    """Append one table: its plain values first, since they must stand before any nested table's header."""
    nested: list[tuple[str, Any]] = []
    for key, value in table.items():
        if isinstance(value, Mapping) or _is_array_of_tables(value):
            nested.append((key, value))
        else:
            lines.append(f"{_key(key)} = {_value(value)}")
    for key, value in nested:
        header = ".".join(_key(part) for part in (*path, key))
        if isinstance(value, Mapping):
            lines += ["", f"[{header}]"]
            _write_table(value, (*path, key), lines)
        else:
            for row in value:
                lines += ["", f"[[{header}]]"]
                _write_table(row, (*path, key), lines)


def _is_array_of_tables(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and bool(value) and isinstance(value[0], Mapping)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if math.isnan(value):
            return "nan"
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return repr(value)  # the shortest text that reads back to the same float; TOML accepts 1e-05
    if isinstance(value, str):
        # JSON's escapes are TOML's too, but JSON lets DEL through and pairs surrogates; ASCII-only would pair them.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Sequence):
        return "[" + ", ".join(_value(element) for element in value) + "]"
    raise AssertionError(f"no TOML form for {type(value).__name__}")
