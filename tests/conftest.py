"""What every test shares: where the development data lies, and calm threads."""

from __future__ import annotations

import os
from pathlib import Path

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
