"""What every test shares: where the development data lies, and calm threads."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

# The suite runs two test processes on two cores, so one thread each; property tests repeat exactly.
torch.set_num_threads(1)
hypothesis.settings.register_profile("calm", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("calm")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The development data sets (CIFAR-10 as JPEG, photos of clothing); tests that need them skip without them."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HILLOCK_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"needs the development data; set HILLOCK_DATA to its folder (looked in {folder})")
    return folder


@pytest.fixture(scope="session")
def timm() -> Any:
    """timm, importable beside a CPU build of torch; tests that need it skip where it or torchvision is absent.

    torchvision's wheel registers its box operators from a library built for CUDA, which a CPU torch cannot load.
    Declaring the two operators that its Python code names is enough for models. The declarations must be kept alive.
    """
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision warns that its compiled half did not load
        return pytest.importorskip("timm", exc_type=ImportError)


_KEPT: list[torch.library.Library] = []
