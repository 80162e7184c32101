"""How much more than ln C do healthy networks lose before training? It chooses the limit of `initial_loss`.

    python benchmarks/faults/initial_loss.py > benchmarks/results/initial_loss.json

Every scalar activation of the catalogue, in networks from three layers to 110, three draws each, on real pictures,
with the networks' own draw. The limit is the smallest of those tried that cries wolf at no more than 2 % of them (the
trained controls of `calibrate.py` then test it), and is held against draws whose gain is four times too large
(perceptrons; after a normalisation a gain changes nothing). Functions that grow faster than linearly have no scale that
depth keeps; what they do is stored apart and decides nothing.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from typing import Any

import numpy
import torch
from kinds import scale_hidden
from library import halves
from setting import CLASSES, FIRST_SEED, HEALTHY, Case, Setting, digits, photographs, photographs_folder
from torch import nn

from hillock import provenance
from hillock.diagnosis.interval import share_interval
from hillock.layers.activation_layer import act_layer
from hillock.networks import network

SEEDS = 3
SAMPLES = 128
# Name -> (network, options, what it sees).
NETWORKS: dict[str, tuple[str, dict[str, Any], str]] = {
    "mlp3": ("mlp3", {"width": 128}, "digits"),
    "mlp6": ("mlp6", {"width": 48}, "digits"),
    "mlp12": ("mlp12", {"width": 64}, "digits"),
    "mlp6 normalised": ("mlp6", {"width": 48, "normalisation": "batch"}, "digits"),
    "plain20": ("plain20", {"width": 8}, "digits"),
    "resnet20": ("resnet20", {}, "photographs"),
    "resnet56": ("resnet56", {"width": 8}, "photographs"),
    "resnet110": ("resnet110", {"width": 4}, "digits"),
    "preresnet20": ("preresnet20", {"width": 8}, "photographs"),
    "preresnet56": ("preresnet56", {"width": 8}, "digits"),
    "alexnet_torchvision": ("alexnet_torchvision", {}, "enlarged"),
}
# The smallest of these with at most this share of false alarms is the limit.
TRIED, ALARMS = (0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0), 0.02
SPOILED = ("mlp6", "mlp12")


def pictures(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The first pictures and labels; digits stand in where the photographs are not there."""
    if kind == "digits" or photographs_folder() is None:
        inputs, labels, _ = digits()
    else:
        inputs, labels = photographs()
    inputs, labels = inputs[:SAMPLES], labels[:SAMPLES]
    if kind == "enlarged":
        inputs, labels = nn.functional.interpolate(inputs[:16], size=64), labels[:16]
    return inputs, labels


@torch.no_grad()
def excess(name: str, activation: str, seed: int, *, spoiled: bool = False) -> float:
    """(loss - ln C) / ln C before training, with the statistics of the batch, as the rule sees it."""
    of, options, kind = NETWORKS[name]
    inputs, labels = pictures(kind)
    model = network(
        of,
        activation=activation,
        num_classes=CLASSES,
        input_channels=inputs.shape[1],
        image_size=inputs.shape[-1],
        seed=seed,
        **options,
    )
    if spoiled:
        scale_hidden(Setting(Case(HEALTHY, name, activation, seed), model, inputs, labels, 0.0), 4.0)
    loss = float(nn.functional.cross_entropy(model.train()(inputs), labels))
    return loss / math.log(CLASSES) - 1 if math.isfinite(loss) else math.inf


def superlinear(activation: str) -> bool:
    """True if doubling a large input more than doubles the output."""
    with torch.no_grad():
        ends = act_layer(activation)()(torch.tensor([[-64.0, -32.0, 32.0, 64.0]]).T)[:, 0].double().abs()
    return bool(ends[0] > 2.2 * ends[1] + 1e-6) or bool(ends[3] > 2.2 * ends[2] + 1e-6)


def rate(hits: int, trials: int) -> dict[str, Any]:
    return {"hits": hits, "trials": trials, "interval": share_interval(hits, trials)}


def main() -> None:
    torch.set_num_threads(1)
    kinds = ("healthy", "spoiled", "faster than linear")
    found: dict[str, dict[str, list[float]]] = {kind: defaultdict(list) for kind in kinds}
    apart = sorted(name for names in halves().values() for name in names if superlinear(name))
    worst: list[tuple[float, str]] = []
    # The half to report stays out.
    for half, names in list(halves().items())[:2]:
        for name in NETWORKS:
            # AlexNet is large: one draw of the activations that faults are planted with.
            few = name.startswith("alexnet")
            for activation in names[:4] if few else names:
                for seed in range(FIRST_SEED[half], FIRST_SEED[half] + (1 if few else SEEDS)):
                    value = excess(name, activation, seed)
                    if activation in apart:
                        found["faster than linear"][name].append(value)
                        continue
                    found["healthy"][name].append(value)
                    worst.append((value, f"{name}/{activation}/{seed}"))
                    if name in SPOILED:
                        found["spoiled"][name].append(excess(name, activation, seed, spoiled=True))
            print(half, name, max(found["healthy"][name]), file=sys.stderr, flush=True)

    healthy = [value for values in found["healthy"].values() for value in values]
    tried = {limit: rate(sum(value >= limit for value in healthy), len(healthy)) for limit in TRIED}
    chosen = next(limit for limit in TRIED if tried[limit]["hits"] <= ALARMS * tried[limit]["trials"])
    caught = [value for values in found["spoiled"].values() for value in values]
    print(
        json.dumps(
            {
                "provenance": provenance.collect(),
                "unit": "(loss - ln C) / ln C",
                "faster_than_linear": apart,
                **{
                    kind: {name: {"n": len(values), **_quantiles(values)} for name, values in of.items()}
                    for kind, of in found.items()
                },
                "largest_healthy": [
                    (name, round(value, 3) if math.isfinite(value) else None)
                    for value, name in sorted(worst, reverse=True)[:20]
                ],
                "tried": tried,
                "chosen": chosen,
                "large_gain_found": rate(sum(value >= chosen for value in caught), len(caught)),
            },
            indent=1,
        )
    )


def _quantiles(values: list[float]) -> dict[str, float | str]:
    finite = [value if math.isfinite(value) else 1e30 for value in values]
    shares = (("median", 0.5), ("q90", 0.9), ("q99", 0.99), ("largest", 1.0))
    return {name: round(float(numpy.quantile(finite, share)), 3) for name, share in shares}


if __name__ == "__main__":
    main()
