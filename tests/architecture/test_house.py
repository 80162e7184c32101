"""The house rules that a machine can check: sizes, paths, links, birth certificates."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "hillock").rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def tracked() -> list[Path]:
    """The files of the project: those that git tracks, or all that a release holds."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs the git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked():
        try:
            found.append((path.relative_to(ROOT), path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue  # a picture
    return found


def test_files_stay_short() -> None:
    for path in SOURCES:
        name, lines = str(path.relative_to(ROOT)), len(path.read_text().splitlines())
        assert lines <= LONGEST_FILE, f"{name} has {lines} lines; split it"


def test_functions_stay_short() -> None:
    long = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = node.body[0] if ast.get_docstring(node) is not None else None
                told = 0 if docstring is None else (docstring.end_lineno or 0) - docstring.lineno + 1
                # Parameters with their help texts are a table, and a docstring is prose: the body is what is counted.
                lines = (node.end_lineno or 0) - node.body[0].lineno + 1 - told
                if lines > LONGEST_FUNCTION:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert long == []


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    drawers = {"utils", "util", "common", "helpers", "core", "misc"}
    assert [str(path) for path in SOURCES if path.stem in drawers or path.parent.name in drawers] == []


def test_no_file_names_a_persons_machine() -> None:
    # Put together here so that this file does not find itself.
    patterns = ["/" + "work/", "/" + "root/", "/" + "home/", "/" + "Users/", "C:" + "\\\\"]
    found = [
        f"{path}: {pattern}"
        for path, text in texts()
        for pattern in patterns
        if re.search(rf"(?<![\w.-]){re.escape(pattern)}", text)
    ]
    assert found == []


def test_relative_links_in_documents_lead_somewhere() -> None:
    broken = []
    for path, text in texts():
        if path.suffix != ".md":
            continue
        prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r'(?:src|href)="([^"]+)"', prose):
            if re.match(r"[a-z]+:|#", target):
                continue
            if not (ROOT / path.parent / target.split("#")[0]).exists():
                broken.append(f"{path}: {target}")
    assert broken == []


def results() -> list[Path]:
    return sorted((ROOT / "benchmarks" / "results").glob("*.json"))


@pytest.mark.parametrize("path", results(), ids=lambda path: path.name)
def test_stored_results_have_a_birth_certificate(path: Path) -> None:
    stored = json.loads(path.read_text())
    # One certificate for the file, or, where results were collected in parts, one for each commit.
    is_collected = "items" in stored and "provenance" not in stored
    certificates = (
        [stored["certificates"][item["commit"]] for item in stored["items"].values()]
        if is_collected
        else [stored.get("provenance", stored)]
    )
    assert certificates
    for certificate in certificates:
        for key in ("date", "torch", "processor", "cores", "hillock"):
            assert certificate.get(key), f"{path.name} does not say its {key}"


def test_every_test_file_tests_something() -> None:
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
        assert any(function.name.startswith("test_") for function in functions), f"{path.name} holds no test"


def test_no_test_package_shadows_another() -> None:
    """Tests are imported by path; an __init__.py would make them a package."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []
