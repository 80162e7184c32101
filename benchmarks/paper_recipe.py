"""ResNet-20 by its paper's recipe, shortened to 30 epochs, in slices of a few minutes.

    python benchmarks/paper_recipe.py --data ../shared/data/cifar10-jpeg --minutes 8 [--route small_batches]

Each call goes on where the last one stopped and stops by itself; the last one says how to store the result. The aim was
87 % on `cifar10-jpeg`; what the routes reached stands in docs/training.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
from pathlib import Path
from typing import Any

from hillock.training import Recipe, train
from hillock.training.allocator import keep_memory

# What is changed of the paper's recipe. Annealed: rates that fall to 0 along a cosine, five times the decay, Nesterov's
# momentum, as short trainings since 2016 have it (Loshchilov and Hutter, arXiv:1608.03983; DeVries and Taylor,
# arXiv:1708.04552, decay 5e-4).
ROUTES: dict[str, dict[str, Any]] = {
    "paper": {},
    "annealed": {
        "schedule.kind": "cosine",
        "schedule.milestones": (),
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 5e-4,
    },
}
# Half the batch, so twice the steps in as many epochs; smoothed labels (Szegedy et al. 2016, arXiv:1512.00567, 0.1) and
# alternating flips (Jordan 2024, arXiv:2404.00498) against learning the training pictures by heart.
ROUTES["small_batches"] = {
    **ROUTES["annealed"],
    "batch_size": 64,
    "steps": None,
    "label_smoothing": 0.1,
    "augmentation.flip": "alternating",
}


def main() -> None:
    """Train for a while; on reaching the end say how to store the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=8.0, help="length of this slice")
    parser.add_argument("--out", type=Path, default=Path("runs/paper-resnet20"))
    parser.add_argument("--route", choices=ROUTES, default="paper")
    arguments = parser.parse_args()
    keep_memory()
    recipe = Recipe.load("resnet-cifar-2015").shortened(arguments.epochs)
    recipe = recipe.replace(data=arguments.data, **ROUTES[arguments.route])
    alarm = threading.Timer(60 * arguments.minutes, os.kill, (os.getpid(), signal.SIGTERM))
    alarm.daemon = True
    alarm.start()
    run = train(recipe, out=arguments.out, resume=True)
    print(f"finished: test accuracy {1 - run.final['test_error']:.2%}; store it with:")
    print(f"python benchmarks/stored_run.py {run.folder} benchmarks/results/train_{arguments.route}_resnet20.json")


if __name__ == "__main__":
    main()
