"""Builds the native library for this machine, once, and finds it again.

The library is compiled on first use with the machine's own instructions, as `torch.compile` does. It is kept under
`$HILLOCK_CACHE` (else `$XDG_CACHE_HOME/hillock`, else `~/.cache/hillock`; where none can be written, a private folder
for temporary files), in a folder named by a hash of everything that it depends on: sources, flags, compiler, processor,
torch. A lock lets only one of several processes build; the finished file appears by an atomic rename.

`HILLOCK_NATIVE=0` switches the library off; `CXX` names the compiler.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import hashlib
import logging
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import filelock
import torch

__all__ = [
    "BuildError",
    "available",
    "cache_folder",
    "compile_library",
    "compile_oracle",
    "compiler",
    "kernels_version",
    "library",
    "library_path",
    "native_is_wanted",
    "reason",
]

_SOURCES = Path(__file__).parent / "cpp"
_LOG = logging.getLogger("hillock")
# Contraction is off because the tables rely on every single rounding; -ffast-math is never used, because it loses NaN,
# infinities and signed zeros and, when linked, changes the floating-point mode of the whole process.
KERNEL_FLAGS = (
    "-std=c++20", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-fPIC",
    "-fopenmp",
)  # fmt: skip
_DOOR_FLAGS = ("-std=c++20", "-O1", "-fPIC", "-fopenmp", "-fvisibility=hidden")
_WIDEST = "-mprefer-vector-width=512"  # x86 only
_TIMEOUT_SECONDS = 600


class BuildError(Exception):
    """The library cannot be built here; the message says why. Callers fall back to the reference and say so."""


@dataclass(frozen=True)
class _Outcome:
    path: Path | None
    reason: str


@cache
def _outcome() -> _Outcome:
    """Build or find the library and load its operators, once a process; say so once where that fails."""
    if not native_is_wanted():
        return _Outcome(None, "switched off by HILLOCK_NATIVE=0")
    try:
        path = compile_library()
        torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]
    except (BuildError, OSError) as error:
        _LOG.warning("hillock: no native kernels, the reference runs instead (slower, as accurate): %s", error)
        return _Outcome(None, str(error))
    return _Outcome(path, f"loaded from {path}")


def available() -> bool:
    """Whether the native library runs here; builds and loads it at the first question."""
    return _outcome().path is not None


def reason() -> str:
    """Return where the library was loaded from, or why there is none."""
    return _outcome().reason


def library() -> Path:
    """Return the path of the loaded library; raise `BuildError` where there is none."""
    path = _outcome().path
    if path is None:
        raise BuildError(reason())
    return path


def native_is_wanted() -> bool:
    """Whether the environment leaves the native library on (`HILLOCK_NATIVE=0` switches it off)."""
    return os.environ.get("HILLOCK_NATIVE", "1") not in {"0", "off", "no", "false"}


def compiler() -> str:
    """Return the path of the C++ compiler; raise `BuildError` where there is none."""
    for name in filter(None, (os.environ.get("CXX"), "g++", "clang++", "c++")):
        found = shutil.which(name)
        if found:
            return found
    raise BuildError("there is no C++ compiler (looked for $CXX, g++, clang++, c++)")


@cache
def _compiler_version(path: str) -> str:
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout


@cache
def _processor() -> str:
    """Return what the machine's instruction set depends on, which `-march=native` reads."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    return "\n".join(sorted({line for line in lines if line.startswith(("model", "flags", "Features", "CPU part"))}))


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def cache_folder() -> Path:
    """Return the folder that keeps built libraries; the first of the candidates that can be written."""
    named = os.environ.get("HILLOCK_CACHE")
    if named:
        candidates = [Path(named)]
    else:
        user = os.environ.get("XDG_CACHE_HOME")
        candidates = [Path(user) / "hillock"] if user else []
        with contextlib.suppress(RuntimeError):  # no home folder is known
            candidates.append(Path.home() / ".cache" / "hillock")
    for candidate in candidates:
        if _writable(candidate):
            return candidate
    private = Path(tempfile.gettempdir()) / f"hillock-{os.getuid()}"
    if _writable(private) and private.stat().st_uid == os.getuid():
        return private
    raise BuildError(f"no folder can be written for the built library; set HILLOCK_CACHE (tried {candidates[0]})")


def _sources() -> list[Path]:
    """Return the files of the library: what is compiled first, headers after."""
    return sorted(_SOURCES.glob("*.cpp")) + sorted(_SOURCES.rglob("*.h"))  # the oracle's folder is not part of it


def _kernel_flags() -> tuple[str, ...]:
    return (*KERNEL_FLAGS, _WIDEST) if platform.machine() in {"x86_64", "AMD64"} else KERNEL_FLAGS


def library_path() -> Path:
    """Return where the library for this machine is or will be. The name of its folder hashes all that it depends on."""
    path = compiler()
    digest = hashlib.sha256()
    for part in (path, _compiler_version(path), _processor(), torch.__version__, *_kernel_flags(), *_DOOR_FLAGS):
        digest.update(part.encode() + b"\0")
    for source in _sources():
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return cache_folder() / f"kernels-{digest.hexdigest()[:20]}" / "hillock_kernels.so"


def compile_library() -> Path:
    """Return the path of the library, built now if it is not in the cache; raise `BuildError` where that fails."""
    target = library_path()
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(str(target.parent / "lock"), timeout=_TIMEOUT_SECONDS):
            if not target.exists():  # another process may have built it while this one waited
                _build(target)
    except filelock.Timeout as error:
        raise BuildError(f"another process has been building {target} for {_TIMEOUT_SECONDS} s") from error
    except OSError as error:
        raise BuildError(f"the library could not be written: {error}") from error
    return target


def kernels_version(name: str) -> str:
    """Return a hash of what a function's results depend on: flags, shared code, and the structs that it is made of.

    A struct of the headers (a formula, a table, a tail) counts only where the function's entry leads to it, so editing
    one function leaves what is known of the others.
    """
    shared, structs = [], dict[str, str]()
    for source in _sources():
        if source.suffix == ".h" and source.name not in {"kernel.h", "blocks.h", "lines.h", "maps.h"}:
            rest = re.sub(r"//[^\n]*", "", source.read_text())
            for match in re.finditer(r"^(?:template <[^\n]*>\n)?struct (\w+).*?^\};", rest, re.M | re.S):
                structs[match[1]] = structs.get(match[1], "") + match[0]
            shared.append(re.sub(r"^(?:template <[^\n]*>\n)?struct .*?^\};", "", rest, flags=re.M | re.S))
    families = [path.read_text() for path in _sources() if path.name.startswith("family_")]
    statements = [part for text in families for part in text.split(";") if f'"{name}"' in text]
    waiting = [part for part in statements if f'"{name}"' in part or "push_back" not in part]
    used = dict[str, str]()
    text = "".join(waiting)
    while new := {word for word in re.findall(r"\w+", text) if word in structs and word not in used}:
        used |= {word: structs[word] for word in new}
        text = "".join(structs[word] for word in new)
    parts = [*_kernel_flags(), *shared, *waiting, *(used[word] for word in sorted(used))]
    return hashlib.sha256("\0".join(" ".join(part.split()) for part in parts).encode()).hexdigest()[:16]


def compile_oracle() -> Path:
    """Return the path of the independent judge of accuracy (`cpp/oracle`), built now if it is not in the cache."""
    sources = sorted((_SOURCES / "oracle").iterdir())
    vectors = ctypes.util.find_library("mvec")  # glibc's vector functions
    text = b"".join(source.read_bytes() for source in sources if source.is_file()) + str(vectors).encode()
    name = hashlib.sha256(text + _compiler_version(compiler()).encode() + _processor().encode())
    target = cache_folder() / f"oracle-{name.hexdigest()[:20]}" / "hillock_oracle.so"
    target.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(str(target.parent / "lock"), timeout=_TIMEOUT_SECONDS):
        if not target.exists():
            flags = [flag for flag in KERNEL_FLAGS if flag != "-O3"] + (["-DHILLOCK_LIBMVEC"] if vectors else [])
            libraries = ["-lmvec"] if vectors else []
            partial = target.with_suffix(".partial")
            source = str(_SOURCES / "oracle" / "oracle.cpp")
            _run_side_by_side([[compiler(), "-O2", *flags, "-shared", source, "-o", str(partial), *libraries]], 1)
            os.replace(partial, target)
    return target


def _build(target: Path) -> None:
    started = time.monotonic()
    _LOG.warning("hillock: building its kernels for this processor (once, about 15 s) ...")
    root = Path(torch.__file__).parent
    include = [f"-I{root / 'include'}", f"-I{root / 'include/torch/csrc/api/include'}"]
    abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        commands, objects = [], []
        for source in (path for path in _sources() if path.suffix == ".cpp"):
            flags = _DOOR_FLAGS if source.name == "door.cpp" else _kernel_flags()
            objects.append(str(Path(scratch) / f"{source.stem}.o"))
            commands.append([compiler(), *flags, abi, *include, "-c", str(source), "-o", objects[-1]])
        # The door includes torch's headers and takes longest, so it starts first.
        commands.sort(key=lambda command: "door.cpp" not in command[-3])
        _run_side_by_side(commands, os.cpu_count() or 1)
        built = Path(scratch) / target.name
        libraries = [f"-L{root / 'lib'}", "-ltorch_cpu", "-lc10"]
        # torch has loaded its own OpenMP runtime already; the same soname makes this library share its threads.
        _run_side_by_side([[compiler(), "-shared", "-fopenmp", *objects, "-o", str(built), *libraries]], 1)
        os.replace(built, target)
    _LOG.warning("hillock: built in %.0f s, kept in %s", time.monotonic() - started, target.parent)


def _run_side_by_side(commands: Iterable[Sequence[str]], limit: int) -> None:
    """Run commands, at most `limit` at once; raise `BuildError` with the first error that a compiler reports."""
    waiting = list(commands)
    running: list[subprocess.Popen[str]] = []
    try:
        while waiting or running:
            while waiting and len(running) < limit:
                running.append(
                    subprocess.Popen(waiting.pop(0), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                )
            process = running.pop(0)
            _, errors = process.communicate(timeout=_TIMEOUT_SECONDS)
            if process.returncode != 0:
                lines = (
                    [line for line in errors.splitlines() if "error" in line] or errors.splitlines() or ["no output"]
                )
                raise BuildError(f"the compiler failed: {lines[0]}")
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"the compiler took longer than {_TIMEOUT_SECONDS} s") from error
    finally:
        for process in running:
            process.kill()
            process.wait()
