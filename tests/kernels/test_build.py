"""The native library builds where it can, once, and its absence is said and survived."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hillock.kernels import build

PROGRAM = """
import torch
from hillock.activations.catalogue import find
from hillock.kernels import apply, native
y = apply(find("silu"), torch.tensor([-torch.inf, -90.0, 1.0]), {})
print(native.available(), y.tolist(), native.reason(), sep="|")
"""
HAS_COMPILER = any(shutil.which(name) for name in ("g++", "clang++", "c++"))
RIGHT = "[-0.0, -7.374611186124672e-38, 0.7310585975646973]"


def run(program: str = PROGRAM, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=500, check=True,
    )  # fmt: skip


def test_can_be_switched_off() -> None:
    answer = run(HILLOCK_NATIVE="0")
    assert answer.stdout.startswith("False|" + RIGHT)
    assert "switched off by HILLOCK_NATIVE=0" in answer.stdout


def test_without_a_compiler_the_reference_runs_and_says_so_once(tmp_path: Path) -> None:
    answer = run(PATH=str(tmp_path), CXX="", HILLOCK_CACHE=str(tmp_path))
    assert answer.stdout.startswith("False|" + RIGHT)
    assert answer.stderr.count("no native kernels") == 1
    assert "no C++ compiler" in answer.stderr


def test_a_broken_compiler_is_survived(tmp_path: Path) -> None:
    fake = tmp_path / "g++"
    fake.write_text("#!/bin/sh\necho 'error: out of cleverness' >&2\nexit 1\n")
    fake.chmod(0o755)
    answer = run(CXX=str(fake), HILLOCK_CACHE=str(tmp_path / "cache"))
    assert answer.stdout.startswith("False|" + RIGHT)
    assert "out of cleverness" in answer.stderr
    assert not list((tmp_path / "cache").rglob("*.so"))


@pytest.mark.skipif(not HAS_COMPILER, reason="needs a C++ compiler")
def test_a_cache_that_cannot_be_written_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    monkeypatch.delenv("HILLOCK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setenv("HOME", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert build.cache_folder() == tmp_path / f"hillock-{os.getuid()}"
    monkeypatch.setenv("HILLOCK_CACHE", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(blocked))
    with pytest.raises(build.BuildError, match="HILLOCK_CACHE"):
        build.cache_folder()


@pytest.mark.skipif(not HAS_COMPILER, reason="needs a C++ compiler")
def test_the_cache_is_keyed_by_what_the_library_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = build.library_path()
    assert build.library_path() == usual
    monkeypatch.setattr("torch.__version__", "9.9.9")
    assert build.library_path() != usual
    monkeypatch.undo()
    monkeypatch.setattr(build, "KERNEL_FLAGS", (*build.KERNEL_FLAGS, "-DOTHER"))
    assert build.library_path() != usual
    assert "-ffast-math" not in build.KERNEL_FLAGS


@pytest.mark.skipif(not HAS_COMPILER, reason="needs a C++ compiler")
def test_two_processes_build_the_judge_once_between_them(tmp_path: Path) -> None:
    program = "from hillock.kernels import build; print(build.compile_oracle())"
    environment = {**os.environ, "HILLOCK_CACHE": str(tmp_path)}
    both = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    paths = {process.communicate(timeout=300)[0].strip() for process in both}
    assert all(process.returncode == 0 for process in both)
    assert len(paths) == 1
    assert [path.name for path in tmp_path.rglob("*.so")] == ["hillock_oracle.so"]
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.skipif(not build.available(), reason="no native kernels here")
def test_works_in_a_child_after_a_fork() -> None:
    program = """
import os, torch
from hillock.kernels import native
x = torch.randn(100_000)
y = native.forward("gelu", x, {})
pid = os.fork()
if pid == 0:
    torch.set_num_threads(1)
    os._exit(0 if torch.equal(native.forward("gelu", x, {}), y) else 1)
assert os.waitpid(pid, 0)[1] == 0
tiny = torch.tensor([1e-41])
assert (tiny * 1).item() != 0.0, "the library switched denormals off"
"""
    run(program)
