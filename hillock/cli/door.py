"""What every verb shares: common options, names made into objects, errors as one sentence, output for machines.

Names become objects here and nowhere below: the library is handed an `Activation`, a `Recipe`, a `Study`.
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import json
import shlex
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hillock.errors import HillockError, TrainingError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from hillock.activations import Activation
    from hillock.training.recipe import Recipe

# The same flags everywhere. A verb annotates a parameter with one of these and gives it its own default.
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="digits, shapes, a folder of class folders, Parquet files, a hub id; train: stream:ID, a text.",
    ),
]
Network = Annotated[
    str | None, typer.Option("--network", help="Name of a network, for example resnet20, mlp20, alexnet.")
]
ActivationName = Annotated[
    str | None, typer.Option("--activation", help="Name of an activation; see: hillock activations.")
]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the training data.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Fixes initial weights, data order and augmentation.")]
ImageSize = Annotated[int | None, typer.Option("--image-size", min=1, help="Side of the pictures fed in, in pixels.")]
RecipeName = Annotated[
    str | None, typer.Option("--recipe", help="Name of a built-in recipe or path of a recipe.toml to start from.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for everything that is written (default runs/NAME).")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where the folder's last checkpoint stands.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Delete what the folder holds and start again.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu or cuda (default: cuda where there is one).")]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on standard output, and nothing else there.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")]


# Names to objects ----------------------------------------------------------------------------------------------------


def activation(name: str) -> Activation:
    """Return the activation of that name or alias; an unknown name lists the near misses."""
    from hillock.activations.catalogue import find

    return find(name)


def split_names(text: str) -> list[str]:
    """Split a list at its commas, but not at those inside parentheses.

    >>> split_names("relu, leaky_relu(negative_slope=0.1), mine=max(0, x)")
    ['relu', 'leaky_relu(negative_slope=0.1)', 'mine=max(0, x)']
    """
    parts, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def recipe(start: str | None, *, defaults: Mapping[str, Any] | None = None, **given: Any) -> Recipe:
    """Return the recipe named (or read from a file), or a new one, with every given value that is not None put in.

    `defaults` are the verb's own starting values; they apply only where no recipe is named. A dot reaches inside:
    `**{"optimizer.learning_rate": 0.05}`.
    """
    from hillock.training.recipe import Recipe

    begin = Recipe.load(start) if start is not None else Recipe().replace(**(defaults or {}))
    return begin.replace(**{name: value for name, value in given.items() if value is not None})


def check_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the name if it is known, else raise with the near misses."""
    options = list(known)
    if name not in options:
        raise UnknownNameError(kind, name, options)
    return name


# Output --------------------------------------------------------------------------------------------------------------


def emit_json(value: Any) -> None:
    """Print a value as indented JSON on standard output. NaN and infinities become null, so that any reader copes."""
    typer.echo(json.dumps(_finite(value), indent=2, ensure_ascii=False, default=str, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def console(*, to_stderr: bool = False) -> Console:
    """Return a rich console: standard output for results, standard error for progress."""
    from rich.console import Console

    return Console(stderr=to_stderr, highlight=False)


def help_text(function: Any) -> str:
    """Return a docstring as help: paragraphs are wrapped, indented blocks (examples) are kept as they are."""
    target = getattr(function, "__wrapped__", function)
    paragraphs = inspect.cleandoc(target.__doc__ or "").split("\n\n")
    kept = ["\b\n" + paragraph if paragraph.startswith("    ") else paragraph for paragraph in paragraphs]
    return "\n\n".join(kept)


# Errors --------------------------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """The exit code of one command line."""

    code: int = 0


@contextlib.contextmanager
def errors_as_sentences(words: Sequence[str], *, show_traceback: bool = False) -> Iterator[Outcome]:
    """Turn whatever is raised inside into one sentence on standard error and an exit code; never a traceback.

    2 for a value that cannot be used, 3 for a training that had to stop or a crash, 130 for Ctrl-C. With
    `show_traceback` the traceback is printed too (`--traceback`, or the environment variable HILLOCK_TRACEBACK=1).
    """
    outcome = Outcome()
    verb = _verb(words)
    try:
        yield outcome
    except (KeyboardInterrupt, typer.Abort):
        outcome.code = 130
        _say(verb, _interrupted(words))
    except BrokenPipeError:  # the reader of our output has gone, as in `hillock activations | head`
        sys.stderr.close()
        outcome.code = 1
    except Exception as problem:
        outcome.code, sentence = _judge(problem, words)
        if show_traceback:
            traceback.print_exc(file=sys.stderr)
        elif outcome.code == 3 and not isinstance(problem, HillockError):
            sentence += f"; the traceback is in {_keep_traceback()} (or add --traceback to see it)"
        _say(verb, sentence)


def _verb(words: Sequence[str]) -> str:
    return next((word for word in words if not word.startswith("-")), "")


def _judge(problem: Exception, words: Sequence[str]) -> tuple[int, str]:
    """Return the exit code and the sentence for a problem."""
    if isinstance(problem, TrainingError):
        return 3, str(problem)
    if isinstance(problem, HillockError):
        return 2, str(problem)
    if callable(getattr(problem, "format_message", None)):  # the command-line parser's own errors
        return 2, _parser_sentence(problem, words)
    if callable(getattr(problem, "errors", None)) and type(problem).__module__.startswith("pydantic"):
        return 2, _validation_sentence(problem)
    if isinstance(problem, OSError) and problem.errno in _USERS_OS_ERRORS:
        return 2, f"expected a path that can be used, got {problem.filename}: {problem.strerror}"
    if isinstance(problem, OSError) and problem.errno == errno.ENOSPC:
        return 3, f"no space left on the disk while writing {problem.filename or 'a file'}; free some and use --resume"
    return 3, f"crashed, through a fault in hillock and not in what you typed: {type(problem).__name__}: {problem}"


# What the operating system says about a path that a person typed.
_USERS_OS_ERRORS = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EROFS, errno.EEXIST}


def _parser_sentence(problem: Any, words: Sequence[str]) -> str:
    """Say in one sentence what the parser of options found wrong."""
    parameter = getattr(problem, "param", None)
    command = f"hillock {_verb(words)}".strip()
    kind = type(problem).__name__
    if kind == "NoSuchOption":
        near = sorted(problem.possibilities or [])
        return str(
            UsageError(
                f"an option of {command}", got=problem.option_name, instead=" or ".join(near) or f"{command} --help"
            )
        )
    if kind == "MissingParameter" and parameter is not None:
        name = _shown_name(parameter)
        return str(UsageError(f"a value for {name}", got="nothing", instead=f"{command} --help"))
    if parameter is not None:
        name = _shown_name(parameter)
        came = _typed_value(parameter, words)
        instead = f"{command} --help" if parameter.default in (None, ...) else f"{name} {parameter.default}"
        return f"{name}: {_lower_first(problem.message.rstrip('.'))}{came}; try {instead}"
    return f"{_lower_first(problem.format_message().rstrip('.'))}; see {command} --help"


def _shown_name(parameter: Any) -> str:
    long = [option for option in parameter.opts if option.startswith("--")]
    return long[0] if long else str(parameter.metavar or parameter.name).upper()


def _typed_value(parameter: Any, words: Sequence[str]) -> str:
    """Return `, got VALUE` for the value that was typed for an option, or nothing where it cannot be found."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        if option in parameter.opts:
            return f", got {value if equals else following}"
    return ""


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _validation_sentence(problem: Any) -> str:
    """Say in one sentence what is wrong with the first bad field of a recipe or a study."""
    first = problem.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, HillockError):
        return f"{place}: {cause}" if place else str(cause)
    if first["type"] == "extra_forbidden":
        return f"expected the name of a field, got {place}; remove it or correct its spelling"
    shown = textwrap.shorten(repr(first["input"]), 80)
    return f"{place}: {_lower_first(first['msg'])}, got {shown}"


def _interrupted(words: Sequence[str]) -> str:
    """Say that Ctrl-C was obeyed, and for verbs that can go on, what to type."""
    if words and words[0] in RESUMABLE:
        again = [word for word in words if word not in ("--overwrite", "--resume")]
        return f"stopped by Ctrl-C; to go on from the last checkpoint: hillock {shlex.join([*again, '--resume'])}"
    return "stopped by Ctrl-C"


# Verbs that take --resume and keep their state in the folder named by --out.
RESUMABLE = frozenset({"train", "compare"})


def _keep_traceback() -> str:
    with tempfile.NamedTemporaryFile("w", prefix="hillock-crash-", suffix=".txt", delete=False) as file:
        traceback.print_exc(file=file)
    return file.name


def _say(verb: str, sentence: str) -> None:
    """Print one sentence on standard error. Line breaks inside a message are joined."""
    typer.echo(f"hillock {verb}".strip() + ": " + " ".join(sentence.split()), err=True)
