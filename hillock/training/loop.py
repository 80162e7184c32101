"""The one loop: a recipe in, a run's folder out."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hillock import provenance
from hillock.errors import TrainingError
from hillock.training import keeping, run_folder
from hillock.training.assess import evaluate, recompute_running_statistics
from hillock.training.checkpoint import write_whole
from hillock.training.distributed import joined, other_processes_needed
from hillock.training.gradient import batch_gradient
from hillock.training.interruption import Request, listening
from hillock.training.materials import Materials, lean, load_training_data, prepare, threads
from hillock.training.observer import Observer
from hillock.training.optimisers import set_rate
from hillock.training.progress import Progress, shown
from hillock.training.recipe import Recipe
from hillock.training.run import Run
from hillock.training.schedule import after_error, after_evaluation, rate_factor
from hillock.training.state import Sums, TrainingState

if TYPE_CHECKING:
    from hillock.data import TrainingData

__all__ = ["train"]

log = logging.getLogger(__name__)

# On a GPU, looking at the loss waits for it; so look once in this many steps. On a CPU every step is free.
LOOK_EVERY_ON_GPU = 20
# The steps whose training error a waiting warm-up averages. He et al. 2015 do not say; 50 steps are 6,400 pictures.
WARMUP_WINDOW = 50


def train(
    recipe: Recipe,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    observers: Sequence[Observer] = (),
    progress: Callable[[Progress], None] | None = None,
    quiet: bool = False,
    dataset: TrainingData | None = None,
) -> Run:
    """Train by the recipe and return the run.

    Arguments:
        out: the run's folder (None: `runs/` and the recipe's title). One process at a time may use it.
        resume: go on from the folder's checkpoint, bit for bit as if never interrupted; without one, start.
        overwrite: delete the run that the folder holds.
        observers: called after every step and evaluation; they look and leave everything as it was.
        progress: called after every step with a `Progress`; None shows a bar on a terminal unless `quiet`.
        dataset: the data already loaded (None: loaded as the recipe says).

    Errors: `UsageError` for settings that do not fit together, `CheckpointError` for the folder, `TrainingError` when
    the loss is no longer finite or the disk is full; the last good checkpoint is kept. Ctrl-C and SIGTERM: the step
    under way is finished and a checkpoint written, then KeyboardInterrupt or SystemExit is raised.

    >>> run = train(Recipe(data="digits", network="resnet8", epochs=6), out="runs/first")  # doctest: +SKIP
    >>> run.final["test_error"]  # doctest: +SKIP
    """
    folder = Path(out) if out is not None else Path("runs") / recipe.title
    with contextlib.ExitStack() as stack:
        world = stack.enter_context(joined(recipe.device))
        if world.is_first:
            stack.enter_context(run_folder.claim(folder, recipe, resume=resume, overwrite=overwrite))
        stack.enter_context(threads(recipe.threads))
        stack.enter_context(lean(recipe.memory == "lean"))
        materials = prepare(recipe, load_training_data(recipe) if dataset is None else dataset, folder, world)
        if world.is_first:  # only now: data or settings that are refused leave the folder as it was
            run_folder.begin(folder, recipe, overwrite=overwrite)
        show = stack.enter_context(shown(progress, quiet=quiet or not world.is_first))
        session = _Session(materials, observers if world.is_first else (), show)
        with other_processes_needed(world, folder):
            session.run(stack.enter_context(listening()), resume=resume)
    return Run.open(folder)


class _Diverged(Exception):
    """The loss, a gradient or a weight is no longer finite."""


class _Session:
    """One stretch of a training in one process, from start or checkpoint to the end or an interruption."""

    def __init__(self, materials: Materials, observers: Sequence[Observer], show: Callable[[Progress], None]) -> None:
        self.materials, self.observers, self.show = materials, observers, show
        self.state = TrainingState(Sums.empty(materials.device))
        self.context = materials.context()
        self.last_checkpoint = time.monotonic()
        self.is_warm = False

    # The course of a run ---------------------------------------------------------------------------------------------

    def run(self, request: Request, *, resume: bool) -> None:
        """Train to the end; an interruption leaves through `request.leave()` after a checkpoint."""
        materials = self.materials
        if resume:
            self.state = keeping.restore(materials) or self.state
        if materials.world.is_first:
            keeping.forget_lines_after(materials.folder, self.state)
            self._write_certificates()
            log.info("%s", materials.plan)
        self._share()
        for observer in self.observers:
            observer.begin(self.context)
        try:
            self._train(request)
        finally:
            for observer in self.observers:
                observer.end(self.context)

    def _train(self, request: Request) -> None:
        folder = self.materials.folder
        while not self.materials.world.from_first((folder / run_folder.WEIGHTS).exists()):
            try:
                self._to_the_end(request)
            except _Diverged as problem:
                self._roll_back(str(problem))

    def _to_the_end(self, request: Request) -> None:
        """Make what is left of the run, if anything: a kill may fall between the last checkpoint and the weights."""
        while not self._is_over():
            if not self._evaluation_due():
                self._steps(request)
            if self._evaluation_due():
                self._evaluate(last=self.state.step >= self.materials.total_steps)
        self._checkpoint()
        if self.materials.world.is_first:
            keeping.save_weights(self.materials, run_folder.WEIGHTS)

    def _is_over(self) -> bool:
        """Whether all steps are made and evaluated, or evaluations have stopped getting better."""
        patience, state = self.materials.recipe.early_stopping, self.state
        if patience is not None and state.evaluations_since_best >= patience:
            return True
        return state.step >= self.materials.total_steps and not self._evaluation_due()

    def _evaluation_due(self) -> bool:
        """Whether the steps made call for an evaluation that has not been made."""
        step, materials = self.state.step, self.materials
        finished, rest = divmod(step, materials.steps_per_epoch)
        is_whole = rest == 0 and finished % materials.recipe.evaluate_every == 0
        return step > self.state.evaluated_step and (is_whole or step >= materials.total_steps)

    def _steps(self, request: Request) -> None:
        """Make the steps that are left of the epoch under way."""
        materials, state = self.materials, self.state
        epoch, start = divmod(state.step, materials.steps_per_epoch)
        materials.model.train()
        before = time.perf_counter()
        for inputs, targets in materials.batches.epoch(epoch, start):
            arrived = time.perf_counter()
            loss = self._update(inputs, targets)
            state.step += 1
            now = time.perf_counter()
            state.seconds += now - before
            if self.is_warm or materials.total_steps == 1:
                state.sums.take_time(materials.batch_size, now - before, arrived - before)
            self.is_warm = True
            self._look(loss, request)
            if state.step >= materials.total_steps:
                break
            before = time.perf_counter()

    # One step --------------------------------------------------------------------------------------------------------

    def _update(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Make one update and return the mean loss of this process's share of the batch."""
        materials, recipe, state = self.materials, self.materials.recipe, self.state
        rate = state.rate_scale * recipe.optimizer.learning_rate * self._rate_factor()
        set_rate(materials.optimizer, rate)
        materials.optimizer.zero_grad(set_to_none=True)
        inputs, targets = materials.to_device(inputs, targets)
        loss, wrong = batch_gradient(materials, inputs, targets, state.step)
        if recipe.clip_norm is not None:
            norm = nn.utils.clip_grad_norm_(materials.model.parameters(), recipe.clip_norm, foreach=True)
            if not math.isfinite(float(norm)):
                raise _Diverged(f"the gradient is no longer finite in step {state.step + 1}")
        materials.optimizer.step()
        if materials.average is not None:
            materials.average.update(state.step)
        self._note(loss, wrong, targets.numel())
        state.learning_rate = rate
        self.context.last_loss, self.context.last_batch = loss, (inputs, targets)
        return loss

    def _rate_factor(self) -> float:
        return rate_factor(
            self.materials.recipe.schedule,
            self.state.step,
            total_steps=self.materials.total_steps,
            steps_per_epoch=self.materials.steps_per_epoch,
            state=self.state.schedule,
        )

    def _note(self, loss: Tensor, wrong: Tensor, count: int) -> None:
        state, world, schedule = self.state, self.materials.world, self.materials.recipe.schedule
        state.sums.loss += loss.double() * count
        state.sums.wrong += wrong
        state.sums.count += count
        if schedule.warmup_until_error is not None and state.schedule.warmup_ended is None:
            error = float(world.sum(wrong / count)) / world.size
            state.recent_errors = [*state.recent_errors[1 - WARMUP_WINDOW :], error]
            average = sum(state.recent_errors) / len(state.recent_errors)
            state.schedule = after_error(schedule, state.schedule, state.step + 1, average)

    def _look(self, loss: Tensor, request: Request) -> None:
        """After a step: tell observers, show progress, notice trouble, keep a checkpoint when one is due."""
        materials, recipe, step = self.materials, self.materials.recipe, self.state.step
        self._share()
        for observer in self.observers:
            observer.after_step(self.context)
        looking = materials.device.type == "cpu" or step % LOOK_EVERY_ON_GPU == 0 or step == materials.total_steps
        value = float(loss) if looking else 0.0
        wanted = request.signal is not None
        late = time.monotonic() - self.last_checkpoint >= 60 * recipe.checkpoint_minutes
        stop, bad, late = materials.world.any(wanted, not math.isfinite(value), late, device=materials.device)
        if bad:
            raise _Diverged(f"the training loss is no longer finite in step {step} (it is {value})")
        if looking and materials.world.is_first:
            self.show(self._progress(value))
        due = recipe.checkpoint_steps is not None and step % recipe.checkpoint_steps == 0
        if stop or due or late:
            self._checkpoint()
        if stop:
            log.warning("stopped after step %d; %s holds all of it, go on with --resume", step, materials.folder)
            request.leave()

    def _share(self) -> None:
        self.context.step = self.state.step
        self.context.epoch = self.state.step // self.materials.steps_per_epoch
        self.context.learning_rate = self.state.learning_rate

    def _progress(self, loss: float, line: dict[str, Any] | None = None) -> Progress:
        sums, steps_per_epoch = self.state.sums, self.materials.steps_per_epoch
        return Progress(
            step=self.state.step,
            total_steps=self.materials.total_steps,
            epoch=(self.state.step - 1) // steps_per_epoch + 1,
            epochs=-(-self.materials.total_steps // steps_per_epoch),
            loss=loss,
            error=float(sums.wrong) / sums.count if sums.count else math.nan,
            images_per_second=sums.images_per_second or math.nan,
            line=line,
        )

    # Between epochs --------------------------------------------------------------------------------------------------

    def _evaluate(self, *, last: bool) -> None:
        """Measure, write a line, and advance what depends on it."""
        materials, state = self.materials, self.state
        before = time.perf_counter()
        if last and materials.recipe.recompute_batch_norm:
            recompute_running_statistics(materials, state.step // materials.steps_per_epoch)
        line = evaluate(materials, state)
        state.seconds += time.perf_counter() - before
        line["seconds"] = state.seconds
        if not math.isfinite(line["test_loss"]):
            raise _Diverged(f"the loss on the test pictures is not finite after step {state.step}")
        validation = line["validation_error"]
        watched = line["train_error"] if validation is None else validation
        state.schedule = after_evaluation(materials.recipe.schedule, state.schedule, watched)
        if materials.world.is_first:
            run_folder.append_line(materials.folder / run_folder.RECORD, line)
        state.evaluations_since_best += 1
        if validation is not None and validation < state.best_error:
            state.best_error, state.evaluations_since_best = validation, 0
            if materials.world.is_first:
                keeping.save_weights(materials, run_folder.BEST)
        for observer in self.observers:
            observer.after_evaluation(self.context, line)
        if materials.world.is_first:
            self.show(self._progress(line["train_loss"], line))
        state.sums, state.evaluated_step = Sums.empty(materials.device), state.step

    def _checkpoint(self) -> None:
        """Keep the state; never one that is already broken."""
        materials = self.materials
        if not all(bool(torch.isfinite(weight).all()) for weight in materials.model.parameters()):
            raise _Diverged(f"a weight is no longer finite after step {self.state.step}")
        keeping.save(materials, self.state)
        self.last_checkpoint = time.monotonic()

    def _roll_back(self, problem: str) -> None:
        """After a divergence: go back to the last checkpoint (or the start) with half the rate, or give up."""
        materials, retries = self.materials, self.state.retries
        restored = keeping.restore(materials)
        step = restored.step if restored is not None else 0
        if retries >= materials.recipe.retries:
            tried = f" after {retries} retries with smaller rates" if retries else ""
            rate = materials.recipe.optimizer.learning_rate * self.state.rate_scale
            raise TrainingError(
                f"{problem}{tried}; the last good state is that of step {step} in {materials.folder}. Try a learning "
                f"rate below {rate:g}, clip_norm, or another initialisation"
            )
        scale = self.state.rate_scale / 2
        log.warning("%s; going back to step %d with %g of the learning rate", problem, step, scale)
        if restored is None:
            keeping.start_again(materials)
        self.state = restored if restored is not None else TrainingState(Sums.empty(materials.device))
        self.state.retries, self.state.rate_scale = retries + 1, scale
        if materials.world.is_first:
            keeping.forget_lines_after(materials.folder, self.state)
        self._share()

    def _write_certificates(self) -> None:
        materials = self.materials
        facts = provenance.collect(materials.device)
        facts |= {"plan": materials.plan.to_dict(), "processes": materials.world.size}
        write_whole(materials.folder / run_folder.PROVENANCE, json.dumps(facts, indent=2) + "\n")
        write_whole(materials.folder / run_folder.DATA, json.dumps(materials.dataset.facts()) + "\n")
