"""The loop: it learns, it repeats, it resumes bit for bit, and what looks on changes nothing."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from hillock.data import DataSet
from hillock.errors import CheckpointError, HillockError, TrainingError, UsageError
from hillock.training import Recipe, Run, train

Same = Callable[[Run, Run], bool]


def test_digits_are_learned(tmp_path: Path) -> None:
    run = train(Recipe(network="resnet8", network_options={"width": 8}, epochs=3, batch_size=64), out=tmp_path / "run")
    assert run.final["test_error"] < 0.12  # chance 0.9; a linear classifier stands at about 0.05
    assert [line["epoch"] for line in run.record] == [1, 2, 3]
    assert run.record[0]["train_loss"] > run.record[2]["train_loss"]
    assert Run.open(run.folder) == run


def test_the_folder_holds_what_it_should(small: Recipe, digits: DataSet, tmp_path: Path) -> None:
    run = train(small, out=tmp_path, dataset=digits)
    names = {path.name for path in tmp_path.iterdir()}
    expected = {"recipe.toml", "record.jsonl", "checkpoint.pt", "weights.safetensors", "provenance.json", "data.json"}
    assert expected <= names
    assert run.recipe == small
    assert json.loads((tmp_path / "provenance.json").read_text())["plan"]["precision"]["value"] == "float32"
    assert json.loads((tmp_path / "data.json").read_text()) == digits.facts()


def test_the_same_recipe_gives_the_same_weights_and_another_seed_others(
    convolutional: Recipe, digits: DataSet, tmp_path: Path, same: Same
) -> None:
    runs = [
        train(convolutional.replace(seed=seed), out=tmp_path / f"{i}", dataset=digits)
        for i, seed in enumerate([0, 0, 1])
    ]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_no_global_generator_is_moved(small: Recipe, digits: DataSet, tmp_path: Path) -> None:
    before = (torch.get_rng_state(), numpy.random.get_state()[1].copy(), random.getstate())  # noqa: NPY002
    train(small, out=tmp_path, dataset=digits)
    after = (torch.get_rng_state(), numpy.random.get_state()[1], random.getstate())  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert (before[1] == after[1]).all()
    assert before[2] == after[2]


def test_observers_see_every_step_and_change_nothing(
    small: Recipe, digits: DataSet, tmp_path: Path, same: Same, watching: Any
) -> None:
    def look_hard(context: Any) -> None:
        inputs, targets = context.last_batch
        with context.autocast():
            loss = context.loss_function(context.model(inputs), targets)
        torch.autograd.grad(loss, list(context.model.parameters()))

    observer = watching(5, look_hard)
    seen = train(small, out=tmp_path / "seen", dataset=digits, observers=[observer])
    unseen = train(small, out=tmp_path / "unseen", dataset=digits)
    assert observer.steps == list(range(1, 15))
    assert observer.calls == ["begin", "evaluation", "evaluation", "end"]
    assert same(seen, unseen)


def interrupted(recipe: Recipe, folder: Path, step: int, watching: Any, dataset: DataSet, number: int) -> Run:
    """Send ourselves a signal at a step, then go on."""
    observer = watching(step, lambda context: os.kill(os.getpid(), number))
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
        train(recipe, out=folder, dataset=dataset, observers=[observer])
    assert observer.calls[-1] == "end"
    assert not (folder / "weights.safetensors").exists()
    again = watching()
    run = train(recipe, out=folder, dataset=dataset, resume=True, observers=[again])
    assert again.steps[0] == step + 1
    return run


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "average": {"ema_decay": 0.9},
    "adamw": {"optimizer.kind": "adamw", "optimizer.learning_rate": 0.003},
    "muon": {"optimizer.kind": "muon", "optimizer.learning_rate": 0.02},
    "augmented": {"augmentation.crop_padding": 1, "augmentation.flip": "random", "augmentation.cutout": 2},
    "plateau": {"schedule.kind": "plateau", "schedule.patience": 1, "epochs": 4},
    "waiting warm-up": {"schedule.warmup_factor": 0.1, "schedule.warmup_until_error": 0.6},
    "drawn slopes": {"activation": "rrelu"},
    "lean": {"memory": "lean"},
    "early stopping": {"early_stopping": 1, "epochs": 6},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("step", [4, 9])
def test_resuming_is_bit_for_bit(
    changes: dict[str, Any], step: int, small: Recipe, digits: DataSet, tmp_path: Path, same: Same, watching: Any
) -> None:
    recipe = small.replace(**changes)
    whole = train(recipe, out=tmp_path / "whole", dataset=digits)
    halves = interrupted(recipe, tmp_path / "halves", step, watching, digits, signal.SIGINT)
    assert same(whole, halves)
    for one, other in zip(whole.record, halves.record, strict=True):
        for name in ("epoch", "step", "train_loss", "train_error", "validation_error", "test_loss", "learning_rate"):
            assert one[name] == other[name], name


def test_sigterm_is_obeyed_and_resumed_with_convolutions(
    convolutional: Recipe, digits: DataSet, tmp_path: Path, same: Same, watching: Any
) -> None:
    whole = train(convolutional, out=tmp_path / "whole", dataset=digits)
    halves = interrupted(convolutional, tmp_path / "halves", 10, watching, digits, signal.SIGTERM)
    assert same(whole, halves)


def test_dropout_is_resumed_bit_for_bit(
    small: Recipe, digits: DataSet, tmp_path: Path, same: Same, watching: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hillock.training import keeping, materials, run

    build = run.build_network

    def with_dropout(*arguments: Any) -> torch.nn.Module:
        model = build(*arguments)
        model.hidden.add_module("dropout", torch.nn.Dropout(0.5))  # type: ignore[union-attr, operator]
        return model

    for module in (run, materials, keeping):
        monkeypatch.setattr(module, "build_network", with_dropout)
    whole = train(small, out=tmp_path / "whole", dataset=digits)
    halves = interrupted(small, tmp_path / "halves", 9, watching, digits, signal.SIGINT)
    assert same(whole, halves)


def test_accumulated_parts_make_the_whole_batch(small: Recipe, digits: DataSet, tmp_path: Path, watching: Any) -> None:
    observers = [watching(), watching()]
    for observer, parts in zip(observers, (1, 4), strict=True):
        recipe = small.replace(accumulate=parts, epochs=1)
        train(recipe, out=tmp_path / f"{parts}", dataset=digits, observers=[observer])
    one, four = (torch.stack(observer.losses) for observer in observers)
    assert torch.allclose(one, four, rtol=1e-4)  # sums in another order, magnified by 7 steps of momentum


def test_a_moving_average_is_what_is_saved(small: Recipe, digits: DataSet, tmp_path: Path, watching: Any) -> None:
    trained: list[torch.Tensor] = []
    observer = watching(14, lambda context: trained.extend(p.detach().clone() for p in context.model.parameters()))
    run = train(small.replace(ema_decay=0.99), out=tmp_path, dataset=digits, observers=[observer])
    saved = list(run.load_model().parameters())
    assert all(not torch.equal(one, other) for one, other in zip(saved, trained, strict=True))


def test_the_gradient_is_clipped(small: Recipe, digits: DataSet, tmp_path: Path, watching: Any) -> None:
    norms: list[float] = []

    def measure(context: Any) -> None:
        norms.append(float(torch.cat([p.grad.flatten() for p in context.model.parameters()]).norm()))

    train(small.replace(clip_norm=0.01, steps=1), out=tmp_path, dataset=digits, observers=[watching(1, measure)])
    assert norms[0] == pytest.approx(0.01, rel=1e-3)


def test_early_stopping_stops_and_keeps_the_best(small: Recipe, digits: DataSet, tmp_path: Path) -> None:
    recipe = small.replace(early_stopping=2, epochs=40, **{"optimizer.learning_rate": 0.5})
    run = train(recipe, out=tmp_path, dataset=digits)
    errors = [line["validation_error"] for line in run.record]
    assert len(errors) < 40
    assert min(errors) == errors[-3]
    best, last = run.load_model("best"), run.load_model("last")
    assert any(not torch.equal(one, other) for one, other in zip(best.parameters(), last.parameters(), strict=True))


def test_early_stopping_needs_validation_pictures(small: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"validation pictures.*--validation-share 0\.1"):
        train(small.replace(early_stopping=1, validation_share=None), out=tmp_path)


def test_a_finished_run_is_not_trained_again(small: Recipe, digits: DataSet, tmp_path: Path, watching: Any) -> None:
    first = train(small, out=tmp_path, dataset=digits)
    observer = watching()
    assert train(small, out=tmp_path, dataset=digits, resume=True, observers=[observer]) == first
    assert observer.steps == []


@pytest.mark.parametrize("step", [7, 14])
def test_an_interruption_between_a_step_and_its_evaluation_loses_no_line(
    step: int, small: Recipe, digits: DataSet, tmp_path: Path, watching: Any
) -> None:
    whole = train(small, out=tmp_path / "whole", dataset=digits)
    observer = watching(step, lambda context: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(small, out=tmp_path / "halves", dataset=digits, observers=[observer])
    halves = train(small, out=tmp_path / "halves", dataset=digits, resume=True)
    assert [line["test_loss"] for line in halves.record] == [line["test_loss"] for line in whole.record]
    assert [line["step"] for line in halves.record] == [7, 14]


# What goes wrong -----------------------------------------------------------------------------------------------------


def poison(context: Any) -> None:
    """Plant a NaN, as a broken kernel or an overflow would."""
    with torch.no_grad():
        next(context.model.parameters())[0, 0] = float("nan")


def test_a_nan_stops_with_the_last_good_state(small: Recipe, digits: DataSet, tmp_path: Path, watching: Any) -> None:
    recipe = small.replace(checkpoint_steps=3)
    with pytest.raises(TrainingError, match=r"no longer finite in step 9.*last good state is that of step 6"):
        train(recipe, out=tmp_path, dataset=digits, observers=[watching(8, poison)])
    run = train(recipe, out=tmp_path, dataset=digits, resume=True)
    assert run.final["step"] == 14


def test_a_poisoned_state_is_never_kept(small: Recipe, digits: DataSet, tmp_path: Path, watching: Any) -> None:
    recipe = small.replace(checkpoint_steps=3)
    with pytest.raises(TrainingError, match=r"a weight is no longer finite after step 9.*good state is that of step 6"):
        train(recipe, out=tmp_path, dataset=digits, observers=[watching(9, poison)])


def test_a_state_poisoned_at_the_very_end_is_not_kept_either(
    small: Recipe, digits: DataSet, tmp_path: Path, watching: Any
) -> None:
    class Late(watching):  # type: ignore[misc]
        def after_evaluation(self, context: Any, line: Any) -> None:
            if context.step == 14:
                poison(context)

    with pytest.raises(TrainingError, match=r"weight is no longer finite after step 14.*good state is that of step 12"):
        train(small.replace(checkpoint_steps=6), out=tmp_path, dataset=digits, observers=[Late()])
    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.parametrize("checkpoint_steps", [None, 3])
def test_a_nan_is_rolled_back_and_the_rate_halved(
    checkpoint_steps: int | None, small: Recipe, digits: DataSet, tmp_path: Path, watching: Any
) -> None:
    poisoned: list[int] = []

    def poison_once(context: Any) -> None:
        if not poisoned:
            poisoned.append(context.step)
            poison(context)

    recipe = small.replace(retries=1, checkpoint_steps=checkpoint_steps)
    run = train(recipe, out=tmp_path, dataset=digits, observers=[watching(8, poison_once)])
    assert run.final["rate_scale"] == 0.5
    assert [line["step"] for line in run.record] == [7, 14]


def test_an_exploding_run_gives_up_after_its_retries(small: Recipe, digits: DataSet, tmp_path: Path) -> None:
    recipe = small.replace(retries=2, **{"optimizer.learning_rate": 1e18, "optimizer.weight_decay": 1.0})
    with pytest.raises(TrainingError, match=r"after 2 retries with smaller rates.*learning rate below"):
        train(recipe, out=tmp_path, dataset=digits)


def test_two_runs_in_one_folder_are_refused(small: Recipe, digits: DataSet, tmp_path: Path, watching: Any) -> None:
    def intrude(context: Any) -> None:
        with pytest.raises(CheckpointError, match="in use by another process"):
            train(small, out=tmp_path, dataset=digits, resume=True)

    train(small, out=tmp_path, dataset=digits, observers=[watching(3, intrude)])


def test_a_folder_with_a_run_is_not_overwritten_unasked(small: Recipe, digits: DataSet, tmp_path: Path) -> None:
    train(small, out=tmp_path, dataset=digits)
    with pytest.raises(CheckpointError, match="--resume or --overwrite"):
        train(small, out=tmp_path, dataset=digits)
    with pytest.raises(CheckpointError, match=r"recipe that the run was started with.*got seed = 1"):
        train(small.replace(seed=1), out=tmp_path, dataset=digits, resume=True)
    assert train(small.replace(seed=1), out=tmp_path, dataset=digits, overwrite=True).recipe.seed == 1


def test_somebody_elses_folder_is_left_alone(small: Recipe, digits: DataSet, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("important")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(CheckpointError, match=r"holds thesis\.tex"):
            train(small, out=tmp_path, dataset=digits, **options)
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["thesis.tex"]


def test_other_data_are_not_resumed_with(small: Recipe, digits: DataSet, tmp_path: Path, watching: Any) -> None:
    import dataclasses

    observer = watching(4, lambda context: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(small, out=tmp_path, dataset=digits, observers=[observer])
    other = dataclasses.replace(digits, fingerprint="another")
    with pytest.raises(CheckpointError, match="data that the run was started with"):
        train(small, out=tmp_path, dataset=other, resume=True)


def test_what_is_refused_leaves_the_folder_as_it_was(small: Recipe, digits: DataSet, tmp_path: Path) -> None:
    """Data and settings are looked at before anything is deleted or written."""
    refused = [small.replace(data=str(tmp_path / "no" / "data")), small.replace(accumulate=5)]
    for recipe in refused:
        with pytest.raises(HillockError):
            train(recipe, out=tmp_path / "new")
    assert not (tmp_path / "new").exists()
    run = train(small, out=tmp_path / "old", dataset=digits)
    for recipe in refused:
        with pytest.raises(HillockError):
            train(recipe, out=tmp_path / "old", overwrite=True)
    assert Run.open(tmp_path / "old") == run
    assert run.load_model() is not None


def test_a_run_without_its_recipe_is_not_taken_for_a_new_one(small: Recipe, digits: DataSet, tmp_path: Path) -> None:
    """Else the weights there would pass for those of the new recipe."""
    train(small, out=tmp_path, dataset=digits)
    (tmp_path / "recipe.toml").unlink()
    for options in ({}, {"resume": True}):
        with pytest.raises(CheckpointError, match=r"the recipe\.toml of the run.*--overwrite"):
            train(small.replace(seed=1), out=tmp_path, dataset=digits, **options)
    assert train(small.replace(seed=1), out=tmp_path, dataset=digits, overwrite=True).is_finished


def test_a_torn_record_is_mended(small: Recipe, digits: DataSet, tmp_path: Path, watching: Any) -> None:
    whole = train(small, out=tmp_path / "whole", dataset=digits)
    observer = watching(9, lambda context: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(small, out=tmp_path / "torn", dataset=digits, observers=[observer])
    with (tmp_path / "torn" / "record.jsonl").open("a") as file:
        file.write('{"epoch": 2, "st')
    mended = train(small, out=tmp_path / "torn", dataset=digits, resume=True)
    assert [line["test_error"] for line in mended.record] == [line["test_error"] for line in whole.record]
