"""Health while training goes on: for hillock's own loop (an observer) and for anybody else's (a context manager)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from hillock.diagnosis.batch import Batch, LossFunction, taken
from hillock.diagnosis.finding import Diagnosis
from hillock.diagnosis.probe import DEFAULT_SAMPLES
from hillock.diagnosis.recorder import BUDGET, Recorder
from hillock.diagnosis.untouched import unwrapped
from hillock.errors import UsageError

if TYPE_CHECKING:
    from hillock.training import TrainingContext

__all__ = ["HealthObserver", "Watch", "watch"]


class HealthObserver:
    """Watches a training of hillock: one line in `health.jsonl` a probe, a `diagnosis` at the end.

    The weights after training are the same to the bit with and without it.

    **Arguments**

    - `every`: steps between probes, at least. `budget`: share of the training time that probes may take.

    After the training `diagnosis` holds the judgement; before it is None.

    **Example** `hillock.train(recipe, observers=[HealthObserver()])`
    """

    def __init__(self, *, every: int = 50, budget: float = BUDGET) -> None:
        if every < 1:
            raise UsageError("a number of steps of at least 1", got=f"every={every}")
        self.every = every
        self.budget = budget
        self.diagnosis: Diagnosis | None = None
        self.recorder: Recorder | None = None

    def begin(self, context: TrainingContext) -> None:
        """Choose the probe batches and make the first probe."""
        file = context.folder / "health.jsonl"

        def write(line: Mapping[str, Any]) -> None:
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line, allow_nan=False) + "\n")

        self.recorder = Recorder(
            context.model,
            _probe_batches(context),
            context.loss_function,
            optimizer=context.optimizer,
            every=self.every,
            budget=self.budget,
            write=write,
        )
        self.recorder.begin(context.step)

    def after_step(self, context: TrainingContext) -> None:
        """Probe if it is time."""
        assert self.recorder is not None
        self.recorder.after_step(context.step, context.last_loss)

    def after_evaluation(self, context: TrainingContext, line: Mapping[str, Any]) -> None:
        """Nothing: the record has the evaluation already."""

    def end(self, context: TrainingContext) -> None:
        """Make the last probe and judge."""
        assert self.recorder is not None
        self.diagnosis = self.recorder.end(context.step)


def _probe_batches(context: TrainingContext) -> list[Batch]:
    """Return fixed batches of the training pictures, prepared as the recipe prepares them."""
    from hillock import data

    recipe = context.recipe
    size = recipe.batch_size if isinstance(recipe.batch_size, int) else 128
    batches = data.Batches(
        context.dataset.train, min(size, 128, len(context.dataset.train)), seed=0, dataset=context.dataset
    )
    return list(taken(batches.epoch(0), DEFAULT_SAMPLES))


class Watch:
    """What `watch` hands out: the lines so far, and the diagnosis once the block is left.

    **Arguments**

    - `lines`: one mapping a probe. `share`: time on probes over training time. `diagnosis`: None inside the block.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.step = 0
        self.diagnosis: Diagnosis | None = None

    @property
    def lines(self) -> list[dict[str, Any]]:
        return self.recorder.lines

    @property
    def share(self) -> float:
        return self.recorder.share


@contextlib.contextmanager
def watch(
    model: nn.Module,
    batch: Batch | Iterable[Batch],
    every: int = 50,
    *,
    loss: LossFunction | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    budget: float = BUDGET,
) -> Iterator[Watch]:
    """Watch a network while somebody else's loop trains it inside the block.

    Steps are counted by a hook on the optimiser that holds the network's parameters, so the loop needs no change; it
    may be compiled, distributed (the first process alone looks) or use mixed precision.

    **Arguments**

    - `model`: the network, wrapped or not. `batch`: one (inputs, targets) or a list of them, kept for all probes.
    - `every`: steps between probes, at least. `loss`: (output, targets) -> mean loss; default cross entropy.
    - `optimizer`: default any optimiser that holds a parameter of the network. `budget`: share of the time.

    **Example**

    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    >>> x, y = torch.randn(64, 8), torch.randint(2, (64,))
    >>> optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    >>> with watch(network, (x, y), every=1) as health:
    ...     for _ in range(3):
    ...         optimizer.zero_grad()
    ...         torch.nn.functional.cross_entropy(network(x), y).backward()
    ...         optimizer.step()
    >>> health.step, health.diagnosis is not None
    (3, True)
    """
    if every < 1:
        raise UsageError("a number of steps of at least 1", got=f"every={every}")
    if torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_rank() != 0:
        yield Watch(Recorder(model, [], loss))
        return
    single = isinstance(batch, (tuple, Mapping))
    batches = list(taken([batch] if single else batch, DEFAULT_SAMPLES))
    recorder = Recorder(model, batches, loss, optimizer=optimizer, every=every, budget=budget)
    health = Watch(recorder)
    own = {id(weight) for weight in unwrapped(model).parameters()}

    def after_step(stepped: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        mine = stepped is optimizer if optimizer is not None else _holds(stepped, own)
        if mine:
            recorder.optimizer = stepped
            health.step += 1
            recorder.after_step(health.step)

    recorder.begin()
    handle = register_optimizer_step_post_hook(after_step)
    try:
        yield health
    finally:
        handle.remove()
    health.diagnosis = recorder.end(health.step)


def _holds(optimizer: torch.optim.Optimizer, own: set[int]) -> bool:
    return any(id(weight) in own for group in optimizer.param_groups for weight in group["params"])
