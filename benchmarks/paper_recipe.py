"""ResNet-20 by its paper's recipe, shortened to 30 epochs, in slices of a few minutes.

    python benchmarks/paper_recipe.py --data ../shared/data/cifar10-jpeg --minutes 8

Each call goes on where the last one stopped and stops by itself; the last one says how to store the result. The aim was
87 % on `cifar10-jpeg`; the stored run reached 84.0 % (benchmarks/results/train_paper_resnet20.json, docs/training.md).
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
from pathlib import Path

from hillock.training import Recipe, train
from hillock.training.allocator import keep_memory


def main() -> None:
    """Train for a while; on reaching the end say how to store the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=8.0, help="length of this slice")
    parser.add_argument("--out", type=Path, default=Path("runs/paper-resnet20"))
    arguments = parser.parse_args()
    keep_memory()
    recipe = Recipe.load("resnet-cifar-2015").shortened(arguments.epochs).replace(data=arguments.data)
    alarm = threading.Timer(60 * arguments.minutes, os.kill, (os.getpid(), signal.SIGTERM))
    alarm.daemon = True
    alarm.start()
    run = train(recipe, out=arguments.out, resume=True)
    print(f"finished: test accuracy {1 - run.final['test_error']:.2%}; store it with:")
    print(f"python benchmarks/stored_run.py {run.folder} benchmarks/results/train_paper_resnet20.json")


if __name__ == "__main__":
    main()
