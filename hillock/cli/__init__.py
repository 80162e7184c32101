"""The command line: `hillock VERB ...`, one file a verb, thin.

Here belongs: the table of verbs below, `door.py` (what all verbs share: options, names to objects, errors, output) and
one file a verb that reads options, calls the library and prints what came back.

Here never belongs: anything a Python caller would want too; that lives in the package of its topic. Nothing heavy is
imported at the top of these files: `hillock --help` must not wait for torch.

To add a verb: write `hillock/cli/<verb>.py` with a function whose parameters are `typer` options (take the shared ones
from `hillock.cli.door`) or with a `typer.Typer` for a verb with sub-verbs; raise `hillock.errors` freely; then add
one line to `VERBS`. Imports of torch and of the library's packages belong inside the function.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import typer

from hillock.cli import door

__all__ = ["VERBS", "Verb", "main", "run"]


class Verb(NamedTuple):
    """One line of the table of verbs."""

    name: str
    """What is typed: `hillock NAME`."""
    target: str
    """Where it is: `module:function` or `module:typer_application`. Imported only when the verb is typed."""
    help: str
    """What it does, in one line of at most 80 characters."""


# In the order of a working day. One line a verb, added together with its file.
VERBS: tuple[Verb, ...] = (
    Verb("train", "hillock.cli.train:train", "Train a network on your pictures; resumable, checked, in one folder."),
    Verb("lr", "hillock.cli.lr:lr", "Find a learning rate by a range test over several seeds."),
    Verb("runs", "hillock.cli.runs:runs", "List, compare and follow runs."),
    Verb("compare", "hillock.cli.compare:compare", "Compare activations on your data, with a verdict and a report."),
    Verb("activations", "hillock.cli.activations:activations", "List the activations, or show the card of one."),
    Verb("summary", "hillock.cli.summary:summary", "Print the layers of a network: sizes, parameters, multiply-adds."),
    Verb("data", "hillock.cli.data:data", "Look at a data set: sizes, classes, broken pictures, augmentation."),
    Verb("predict", "hillock.cli.predict:predict", "Name what is in pictures, with a run's network."),
    Verb("evaluate", "hillock.cli.evaluate:evaluate", "Judge a run: confusion, each class, calibration, intervals."),
    Verb("export", "hillock.cli.export:export", "Write a run as safetensors, torch program, ONNX and model card."),
    Verb("diagnose", "hillock.cli.diagnose:diagnose", "Find what is wrong with a network or a run, and what to try."),
    Verb("treat", "hillock.cli.treat:treat", "Test which remedy helps a sick run, in short paired trainings."),
    Verb("bench", "hillock.cli.bench:bench", "Measure accuracy and speed on this machine, beside torch."),
)

_PROGRAM_HELP = """Activation functions and everything else that decides whether a deep image classifier trains.

\b
  hillock compare --data digits --network resnet8 --activations relu,gelu,mish --seeds 6

Every verb has --help with an example. A wrong value gets one sentence and exit code 2.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code.

    0 success (for `diagnose`: healthy), 1 findings, 2 a value that cannot be used, 3 a training that had to stop or a
    crash, 130 stopped by Ctrl-C.
    """
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. The words are those after `hillock`."""
    words = [word for word in arguments if word != "--traceback"]
    show_traceback = len(words) < len(arguments) or os.environ.get("HILLOCK_TRACEBACK", "") not in ("", "0")
    typed = next((word for word in words if not word.startswith("-")), None)
    with door.errors_as_sentences(words, show_traceback=show_traceback) as outcome:
        if typed is not None:
            door.check_name("command", typed, [verb.name for verb in VERBS])
        returned = typer.main.get_command(_application(typed))(words or ["--help"], "hillock", standalone_mode=False)
        # Typer hands back the code of a `typer.Exit`, or whatever the verb returned (verbs return None).
        outcome.code = returned if isinstance(returned, int) else 0
        if outcome.code == 130:  # Typer has caught a Ctrl-C
            raise KeyboardInterrupt
    return outcome.code


def _application(typed: str | None) -> typer.Typer:
    """Build the Typer application: the typed verb in full, of the others only their line in `hillock --help`."""
    application = typer.Typer(
        help=_PROGRAM_HELP,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    application.callback()(_program)
    for verb in VERBS:
        target = _load(verb) if verb.name == typed else _not_loaded
        if isinstance(target, typer.Typer):
            application.add_typer(target, name=verb.name, help=verb.help)
        else:
            text = door.help_text(target) if verb.name == typed else verb.help
            application.command(verb.name, help=text, short_help=verb.help)(target)
    return application


def _load(verb: Verb) -> Any:
    module, _, attribute = verb.target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _not_loaded() -> None:
    raise AssertionError("only the typed verb is loaded, and only the typed verb runs")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        typer.echo(f"hillock {metadata.version('hillock')}")
        raise typer.Exit()


def _program(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_print_version, is_eager=True),
) -> None:
    """Hold the options that come before the verb."""
