"""Several processes as one training: who is who, what they agree on, and batch norm over the whole batch.

    torchrun --nproc-per-node 2 -m hillock train --data digits --network resnet8

Every process holds the whole network and computes its share of each batch; gradients are averaged. Only rank 0 writes.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hillock.errors import TrainingError, UsageError

__all__ = ["SynchronisedBatchNorm1d", "SynchronisedBatchNorm2d", "World", "joined", "synchronise_batch_norm"]


class World:
    """This process's place among those that train together. Alone: rank 0 of 1, and every exchange is a no-op."""

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self._wrapped: list[nn.Module] = []

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of everybody's `values`, the same in every process."""
        return _all_reduced(values) if self.size > 1 else values

    def from_first(self, value: Any) -> Any:
        """Return rank 0's `value` in every process."""
        if self.size == 1:
            return value
        content = pickle.dumps(value) if self.is_first else b""
        length = self._broadcast(torch.tensor([len(content)]))
        text = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(int(length)).byte()
        return pickle.loads(self._broadcast(text).numpy().tobytes())  # what another process of this training wrote

    def _broadcast(self, values: Tensor) -> Tensor:
        """Return rank 0's `values` on the CPU, given tensors of the same size."""
        values = values.to(self._transport)
        dist.broadcast(values, src=0)
        return values.cpu()

    @property
    def _transport(self) -> torch.device:
        """Where tensors must lie for the processes' way of talking."""
        return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")

    def gather(self, values: Tensor) -> list[Tensor]:
        """Return everybody's `values`, by rank."""
        if self.size == 1:
            return [values]
        all_values = [torch.empty_like(values) for _ in range(self.size)]
        dist.all_gather(all_values, values)
        return all_values

    def any(self, *flags: bool, device: torch.device) -> tuple[bool, ...]:
        """Return, for each flag, whether it is set in any process."""
        if self.size == 1:
            return flags
        return tuple(bool(total) for total in self.sum(torch.tensor(flags, dtype=torch.int32, device=device)))

    def wrap(self, model: nn.Module, device: torch.device, *, partly: bool = False) -> nn.Module:
        """Return the network that averages its gradients over the processes.

        partly: a step may leave some parameters unused (a text without rare words those of their clusters).
        """
        if self.size == 1:
            return model
        from torch.nn.parallel import DistributedDataParallel

        devices = [device.index] if device.type == "cuda" else None
        wrapped = DistributedDataParallel(model, device_ids=devices, find_unused_parameters=partly)
        self._wrapped.append(wrapped)
        return wrapped

    def let_go(self) -> None:
        """Take from the wrapped networks their hold on the process group; they can be called no more.

        Whoever drops the last hold waits for gloo's threads to end. Python's own handle leaves the interpreter to them
        meanwhile; the reducer of a wrapped network that some variable keeps does not, and a thread that needs the
        interpreter, to drop a tensor of the last exchange, never ends (torch 2.13). So the reducers must go first.
        """
        for wrapped in self._wrapped:
            del wrapped.logger, wrapped.reducer, wrapped.process_group  # the logger holds the reducer
        self._wrapped.clear()


@contextlib.contextmanager
def joined(device: str) -> Iterator[World]:
    """Join the processes that `torchrun` started together (its environment variables say so), or be alone.

    CPU processes talk through gloo, GPU processes through NCCL, each with the GPU of its local rank.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        yield World()
        return
    world = World(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu and world.local_rank >= torch.cuda.device_count():
        raise UsageError(
            f"at most as many processes a machine as it has GPUs ({torch.cuda.device_count()})",
            got=f"local rank {world.local_rank}",
            instead="--device cpu or a smaller --nproc-per-node",
        )
    if on_gpu:
        torch.cuda.set_device(world.local_rank)
    # An already joined process (a program of somebody's own) stays joined.
    started_here = not dist.is_initialized()
    if started_here:
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=datetime.timedelta(minutes=10))
    try:
        yield world
    finally:
        world.let_go()
        if started_here:
            dist.destroy_process_group()


@contextlib.contextmanager
def other_processes_needed(world: World, folder: Path) -> Iterator[None]:
    """Say in one sentence that another process of this training has gone, instead of the transport's own words."""
    try:
        yield
    except RuntimeError as error:
        is_transport = isinstance(error, dist.DistError) or "gloo" in str(error)
        if world.size == 1 or not is_transport:
            raise
        raise TrainingError(
            f"another of the {world.size} processes has gone, and none can go on alone; the last checkpoint is in "
            f"{folder}, start all of them again with --resume"
        ) from error


class _Synchronised(nn.modules.batchnorm._BatchNorm):
    """The forward pass that both synchronised batch norms share."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `input` [B, C, ...] and update the running statistics."""
        if not self.training or not dist.is_initialized():
            return super().forward(input)
        wide = input.float()
        others = [dimension for dimension in range(wide.ndim) if dimension != 1]
        shape = [-1 if dimension == 1 else 1 for dimension in range(wide.ndim)]
        count = wide.numel() // wide.shape[1] * dist.get_world_size()
        mean = _sum_over_processes(wide.sum(others)) / count
        centred = wide - mean.view(shape)
        variance = _sum_over_processes(centred.square().sum(others)) / count
        self._keep(mean.detach(), variance.detach() * (count / max(1, count - 1)))
        output = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            output = output * self.weight.view(shape) + self.bias.view(shape)
        return output.to(input.dtype)

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards this batch's."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


class SynchronisedBatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """`SynchronisedBatchNorm2d` for inputs [B, C] and [B, C, L]."""


class SynchronisedBatchNorm2d(_Synchronised, nn.BatchNorm2d):
    """Batch norm whose mean and variance are those of the whole batch over all processes, on any device.

    With n values a channel in each of P processes: mean = sum(x) / (nP), variance = sum((x - mean)^2) / (nP); the
    running variance takes the unbiased nP / (nP - 1). In evaluation mode it is nn.BatchNorm2d. torch's own
    SyncBatchNorm runs on GPUs alone. Costs two exchanges a layer in each direction.
    """


def _all_reduced(values: Tensor) -> Tensor:
    """Add up everybody's `values` in place."""
    dist.all_reduce(values)
    return values


def _sum_over_processes(values: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


class _Sum(torch.autograd.Function):
    """y = sum over processes of x, so dL/dx in each process is the sum of everybody's dL/dy."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _all_reduced(values.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _all_reduced(gradient.clone())


_SYNCHRONISED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: SynchronisedBatchNorm1d,
    nn.BatchNorm2d: SynchronisedBatchNorm2d,
}


def synchronise_batch_norm(model: nn.Module) -> None:
    """Make every batch norm of the model synchronised, in place; parameters and buffers stay the same objects."""
    for module in model.modules():
        if type(module) in _SYNCHRONISED:
            module.__class__ = _SYNCHRONISED[type(module)]
