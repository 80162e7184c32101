"""Started by test_towers.py with torchrun: two towers against the one-process network. Process 0 writes what it
found.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from hillock.networks import network
from hillock.networks.alexnet import AlexNet
from hillock.training.towers import Tower, joined_state, numbers_exchanged, train_step

CLASSES, SIDE, BATCH = 7, 67, 6


def built(name: str, activation: str, dtype: torch.dtype, dropout: float = 0.0) -> AlexNet:
    net = network(
        name,
        activation=activation,
        num_classes=CLASSES,
        image_size=SIDE,
        width=0.08,
        initialisation="he",
        dropout=dropout,
    )
    assert isinstance(net, AlexNet)
    return net.to(dtype)


def joined(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    gathered: list[dict[str, Tensor]] = [{}, {}]
    dist.all_gather_object(gathered, tensors)
    return joined_state((gathered[0], gathered[1]))


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Largest difference in a tensor relative to its largest element, over all tensors."""
    assert one.keys() == other.keys()
    return max(float((one[key] - other[key]).abs().max() / other[key].abs().max()) for key in other)


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def compared(name: str, activation: str, dtype: torch.dtype, dropout: float, steps: int = 10) -> dict[str, object]:
    rank = dist.get_rank()
    whole = built(name, activation, dtype, dropout)
    tower = Tower(whole, rank)
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, 3, SIDE, SIDE, generator=draws, dtype=dtype)
    y = torch.arange(BATCH) % CLASSES
    found: dict[str, object] = {"name": name, "activation": activation, "dtype": str(dtype), "dropout": dropout}

    torch.manual_seed(1)  # dropout's masks; the tower draws the same ones
    logits = whole(x)
    torch.manual_seed(1)
    halves = tower(x)
    found["outputs"] = distance({"": halves.detach()}, {"": logits.detach()})
    torch.nn.functional.cross_entropy(logits, y).backward()
    torch.nn.functional.cross_entropy(halves, y).backward()
    found["gradients"] = distance(joined(gradients(tower)), gradients(whole))
    found["received"] = dict(tower.traffic.received)
    size = torch.finfo(dtype).bits // 8 * BATCH
    found["expected"] = {place: count * size for place, count in numbers_exchanged(whole).items()}

    settings = {"lr": 0.002, "momentum": 0.9, "weight_decay": 5e-4}
    one, other = torch.optim.SGD(whole.parameters(), **settings), torch.optim.SGD(tower.parameters(), **settings)
    first = {key: value.clone() for key, value in whole.state_dict().items()}
    losses = []
    for step in range(steps):
        torch.manual_seed(step)
        loss = torch.nn.functional.cross_entropy(whole(x), y)
        one.zero_grad()
        loss.backward()
        one.step()
        torch.manual_seed(step)
        losses.append((loss.item(), train_step(tower, other, x, y)))
    found["losses"] = losses
    found["weights"] = distance(joined(tower.state_dict()), whole.state_dict())
    found["moved"] = distance(first, whole.state_dict())

    if name == "alexnet":  # the planted fault: response normalisation that mixes the towers' maps at the seam
        faulty = built(name, activation, dtype)
        faulty.load_state_dict(first)
        for layer in (faulty.features.norm1, faulty.features.norm2):
            layer.towers = 1
        found["fault"] = distance({"": faulty(x).detach()}, {"": logits.detach()})
    return found


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    cases = [
        ("alexnet", "relu", torch.float64, 0.0),
        ("alexnet", "gelu", torch.float32, 0.0),
        ("alexnet", "prelu", torch.float64, 0.0),
        ("alexnet_source", "relu", torch.float64, 0.5),
    ]
    found = [compared(*case) for case in cases]
    if dist.get_rank() == 0:
        Path(sys.argv[1]).write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
