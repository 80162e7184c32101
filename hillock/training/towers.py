"""AlexNet's two towers on two devices, as in 2012: model parallelism with little to say to each other.

Each process holds one tower: half the maps of every convolution, half the units of fc6 and fc7. The towers exchange
activities before conv3, fc6 and fc7 and add their halves of the logits at fc8; nothing else crosses. The two processes
compute what the one-process network computes (grouped convolutions, response normalisation within a tower).

    torchrun --nproc-per-node 2 -m hillock.training.towers --data digits --epochs 2

uses gloo on processors and NCCL on graphics cards. Follows Krizhevsky, Sutskever, Hinton 2012, section 3.2, figure 2.
Departure: fc8 is a sum of two half products (1,000 numbers an image) where the 2012 program sends fc7's 2,048 units to
one card. Every process needs the same batch, and the same global random generator state where dropout is on.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from hillock.data import Batches, load
from hillock.errors import ModelError, UsageError
from hillock.layers.activation_layer import ActivationLayer
from hillock.layers.response_norm import ResponseNorm
from hillock.layers.undrawn import undrawn
from hillock.networks import network, save_weights, summarise
from hillock.networks.alexnet import AlexNet

__all__ = ["Tower", "Traffic", "joined_state", "numbers_exchanged", "train_step"]


@dataclass
class Traffic:
    """Bytes that this process has received, by the layer that needed them and the direction of the pass."""

    received: dict[str, int] = field(default_factory=dict)

    def add(self, place: str, tensor: Tensor) -> None:
        self.received[place] = self.received.get(place, 0) + tensor.numel() * tensor.element_size()

    @property
    def total(self) -> int:
        return sum(self.received.values())


def _swap(own: Tensor, place: str, traffic: Traffic) -> Tensor:
    """Send a tensor to the other tower and return what it sent; both have the same shape and dtype."""
    own, other = own.contiguous(), torch.empty_like(own, memory_format=torch.contiguous_format)
    peer = 1 - dist.get_rank()
    requests = dist.batch_isend_irecv([dist.P2POp(dist.isend, own, peer), dist.P2POp(dist.irecv, other, peer)])
    for request in requests:
        request.wait()
    traffic.add(place, other)
    return other


class _BothHalves(torch.autograd.Function):
    """[N, C/2, ...] of this tower -> [N, C, ...] of both, in tower order; backward returns the gradient's own half."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, place: str, traffic: Traffic) -> Tensor:
        ctx.place, ctx.traffic = place, traffic
        other = _swap(own, f"{place} forward", traffic)
        return torch.cat([own, other] if dist.get_rank() == 0 else [other, own], dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        # The other tower's layers read this tower's half as well: their share of its gradient comes over.
        halves = gradient.chunk(2, dim=1)
        rank = dist.get_rank()
        return halves[rank] + _swap(halves[1 - rank], f"{ctx.place} backward", ctx.traffic), None, None


class _SumOfHalves(torch.autograd.Function):
    """Half products of both towers -> their sum on both; the gradient of a sum needs no exchange."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, place: str, traffic: Traffic) -> Tensor:
        return own + _swap(own, f"{place} forward", traffic)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient, None, None


class HalfDropout(nn.Module):
    """This tower's half of the mask that the one-process network would draw from the same generator state."""

    def __init__(self, share: float, rank: int) -> None:
        super().__init__()
        self.share, self.rank = share, rank

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        whole = F.dropout(torch.ones(x.shape[0], 2 * x.shape[1], dtype=x.dtype, device=x.device), self.share)
        return x * whole.chunk(2, dim=1)[self.rank]


class Tower(nn.Module):
    """One of the two towers of a one-process AlexNet, with that network's weights.

    Arguments:
        network: an `AlexNet` with two towers ("alexnet" or "alexnet_source"); its tensors are copied.
        rank: 0 or 1, the tower.

    Attributes: `traffic`, the bytes received so far. Parameters have the network's names; `joined_state` puts the two
    towers' states together again.
    """

    def __init__(self, network: nn.Module, rank: int) -> None:
        super().__init__()
        if not isinstance(network, AlexNet) or network.design.towers != 2:
            raise ModelError("an AlexNet with two towers", got=str(getattr(network, "name", type(network).__name__)))
        if rank not in (0, 1):
            raise UsageError("tower 0 or 1", got=str(rank), instead="torchrun --nproc-per-node 2")
        self.rank, self.traffic = rank, Traffic()
        self.features, self.classifier = nn.ModuleDict(), nn.ModuleDict()
        for whole, half in ((network.features, self.features), (network.classifier, self.classifier)):
            for name, module in whole.named_children():
                half[name] = _half_layer(name, module, rank)
        self.to(next(network.parameters()))
        state = network.state_dict()
        self.load_state_dict({key: _half_tensor(key, state[key], rank) for key in self.state_dict()})

    def forward(self, x: Tensor) -> Tensor:
        # x: the whole batch [N, C, H, W], the same in both processes
        for name, layer in self.features.items():
            x = layer(self._whole(x, name) if name == "conv3" else x)
        x = x.flatten(1)
        for name, layer in self.classifier.items():
            x = layer(self._whole(x, name) if name in ("fc6", "fc7") else x)
        logits: Tensor = _SumOfHalves.apply(x, "fc8", self.traffic)  # type: ignore[no-untyped-call]
        return logits

    def _whole(self, x: Tensor, place: str) -> Tensor:
        both: Tensor = _BothHalves.apply(x, place, self.traffic)  # type: ignore[no-untyped-call]
        return both


def _half_layer(name: str, module: nn.Module, rank: int) -> nn.Module:
    """Return a tower's share of a layer of the one-process network; its tensors are filled afterwards."""
    if isinstance(module, nn.Conv2d):
        channels = (module.in_channels // module.groups, module.out_channels // 2)
        return undrawn(nn.Conv2d, *channels, module.kernel_size, module.stride, module.padding)
    if name == "fc8":
        assert isinstance(module, nn.Linear)
        return undrawn(nn.Linear, module.in_features // 2, module.out_features, bias=rank == 0)
    if isinstance(module, nn.Linear):
        return undrawn(nn.Linear, module.in_features, module.out_features // 2)
    if isinstance(module, ResponseNorm):
        return ResponseNorm(module.size, module.alpha, module.beta, module.k)
    if isinstance(module, nn.Dropout):
        return HalfDropout(module.p, rank)
    half = copy.deepcopy(module)  # pooling, padding, activation
    for parameter_name, parameter in module.named_parameters():
        if parameter.dim() != 1:
            raise ModelError("activations with learned parameters of each channel", got=f"{parameter_name} of {name}")
        half.register_parameter(parameter_name, nn.Parameter(parameter.detach().chunk(2)[rank].clone()))
    if isinstance(module, ActivationLayer) and module.draws is not None:
        raise ModelError("an activation without random draws, for two towers", got=module.activation.name)
    return half


def _half_tensor(key: str, tensor: Tensor, rank: int) -> Tensor:
    """Return a tower's share of a tensor: half the outputs, at fc8 half the inputs and on tower 0 the bias."""
    if key == "classifier.fc8.weight":
        return tensor.chunk(2, dim=1)[rank]
    return tensor if key == "classifier.fc8.bias" else tensor.chunk(2)[rank]


def joined_state(states: tuple[Mapping[str, Tensor], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Put the towers' states together: the state of the one-process network.

    It works for anything that is shaped as the parameters are, for example gradients by name.
    """
    first, second = states
    joined = {}
    for key, tensor in first.items():
        if key == "classifier.fc8.bias":
            joined[key] = tensor
        else:
            joined[key] = torch.cat([tensor, second[key]], dim=1 if key == "classifier.fc8.weight" else 0)
    return joined


def numbers_exchanged(network: AlexNet) -> dict[str, int]:
    """Return how many numbers each tower receives for one image, by place and direction, from the layers' sizes alone.

    At 227x227: conv3 21,632, fc6 4,608, fc7 2,048 forward and as many backward; fc8 one for each class, forward only.
    """
    features = dict(network.features.named_children())
    classifier = dict(network.classifier.named_children())
    conv3, fc6, fc7, fc8 = features["conv3"], classifier["fc6"], classifier["fc7"], classifier["fc8"]
    assert isinstance(conv3, nn.Conv2d)
    assert isinstance(fc6, nn.Linear)
    assert isinstance(fc7, nn.Linear)
    assert isinstance(fc8, nn.Linear)
    channels, height, width = _conv3_input(network)
    halves = {"conv3": channels * height * width // 2, "fc6": fc6.in_features // 2, "fc7": fc7.in_features // 2}
    both_ways = {f"{place} {way}": count for place, count in halves.items() for way in ("forward", "backward")}
    return {**both_ways, "fc8 forward": fc8.out_features}


def _conv3_input(network: AlexNet) -> tuple[int, ...]:
    row = next(row for row in summarise(network).rows if row.name == "features.conv3")
    return row.input


def train_step(tower: Tower, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor) -> float:
    """Take one step on a batch that both processes hold; return the loss, which is the same in both."""
    loss = F.cross_entropy(tower(inputs), targets)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def main() -> None:
    """Train AlexNet in two processes: see the module's first lines for the command."""
    arguments = _arguments()
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        if dist.get_world_size() != 2:
            raise UsageError("two processes", got=str(dist.get_world_size()), instead="torchrun --nproc-per-node 2")
        device = torch.device("cuda", dist.get_rank()) if torch.cuda.is_available() else torch.device("cpu")
        _train(arguments, device)
    finally:
        dist.destroy_process_group()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="torchrun --nproc-per-node 2 -m hillock.training.towers", description=__doc__)
    parser.add_argument("--data", default="digits", help="as for hillock train")
    parser.add_argument("--image-size", type=int, default=67, help="side of the pictures, at least 36")
    parser.add_argument("--width", type=float, default=1.0, help="share of AlexNet's channels")
    parser.add_argument("--activation", default="relu")
    parser.add_argument("--initialisation", default="he", help="a scheme; AlexNet's own needs its own width and data")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the joined weights to this safetensors file")
    return parser.parse_args()


def _train(arguments: argparse.Namespace, device: torch.device) -> None:
    rank, data = dist.get_rank(), load(arguments.data, image_size=arguments.image_size, seed=arguments.seed)
    whole = network(
        "alexnet",
        activation=arguments.activation,
        initialisation=arguments.initialisation,
        num_classes=len(data.class_names),
        input_channels=data.channels,
        image_size=data.image_size,
        width=arguments.width,
        seed=arguments.seed,
        dropout=0.0,  # dropout would read the global generator, which a library leaves alone
    )
    tower = Tower(whole, rank).to(device)
    optimizer = torch.optim.SGD(tower.parameters(), arguments.learning_rate, momentum=0.9, weight_decay=5e-4)
    batches = Batches(data.train, arguments.batch_size, seed=arguments.seed, dataset=data)
    for epoch in range(arguments.epochs):
        losses = [
            train_step(tower, optimizer, inputs.to(device), targets.to(device))
            for inputs, targets in batches.epoch(epoch)
        ]
        if rank == 0:
            print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}, received {tower.traffic.total:,} bytes")
    states: list[Any] = [None, None]
    dist.all_gather_object(states, {key: value.cpu() for key, value in tower.state_dict().items()})
    if rank == 0 and arguments.out is not None:
        whole.load_state_dict(joined_state((states[0], states[1])))
        save_weights(whole, arguments.out)


if __name__ == "__main__":
    main()
