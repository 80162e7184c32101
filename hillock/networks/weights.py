"""Weights in and out: hillock's own names of parameters, and those of torchvision and timm, by a documented map.

AlexNet (torchvision's variant) and the ImageNet ResNets load exactly from torchvision's and timm's state dicts and can
be written back. Files are safetensors, or torch files that hold tensors only: a pickle with code in it is refused.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from hillock.errors import ModelError, UnknownNameError
from hillock.layers.activation_layer import ActivationLayer

__all__ = ["KEY_MAPS", "from_torchvision", "load_weights", "read_weights", "save_weights", "to_torchvision"]

State = Mapping[str, Tensor]

# Our module -> torchvision's and timm's, as patterns; {} stands for a number and keeps its value, in order.
KEY_MAPS: dict[str, tuple[tuple[str, str], ...]] = {
    "ResNet": (
        ("stem.conv1", "conv1"),
        ("stem.norm1", "bn1"),
        ("stages.{}.{}.branch.conv{}", "layer{}.{}.conv{}"),
        ("stages.{}.{}.branch.norm{}", "layer{}.{}.bn{}"),
        ("stages.{}.{}.shortcut.conv1", "layer{}.{}.downsample.0"),
        ("stages.{}.{}.shortcut.norm1", "layer{}.{}.downsample.1"),
        ("head", "fc"),
    ),
    "AlexNet": (
        ("features.conv1", "features.0"),
        ("features.conv2", "features.3"),
        ("features.conv3", "features.6"),
        ("features.conv4", "features.8"),
        ("features.conv5", "features.10"),
        ("classifier.fc6", "classifier.1"),
        ("classifier.fc7", "classifier.4"),
        ("classifier.fc8", "classifier.6"),
    ),
}
HEADS = ("head.", "classifier.fc8.")


def to_torchvision(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's state under torchvision's and timm's names, without learned parameters of activations."""
    ours_to_theirs = _key_map(model)
    learned = _activation_keys(model)
    state = {key: value for key, value in model.state_dict().items() if key not in learned}
    return {_renamed(key, ours_to_theirs, "torchvision's names"): value for key, value in state.items()}


def from_torchvision(model: nn.Module, state: State) -> dict[str, Tensor]:
    """Return torchvision's or timm's state under the model's own names."""
    theirs_to_ours = tuple((theirs, ours) for ours, theirs in _key_map(model))
    return {_renamed(key, theirs_to_ours, f"{type(model).__name__}'s names"): value for key, value in state.items()}


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a safetensors file or a torch file that holds tensors only.

    Raises `ModelError` for a file that is neither, and for a pickle with code in it, which is not executed.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError("a weights file", got=f"{path} (no such file)")
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except safetensors.SafetensorError as error:
            raise ModelError("a safetensors file", got=f"{path} ({error})") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that an unusual pickle protocol may not be readable
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            "a weights file of tensors only",
            got=f"{path}, a pickle that would run code",
            instead="safetensors.torch.save_file, or torch.save(model.state_dict(), ...)",
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise ModelError("a safetensors or torch weights file", got=f"{path} ({error})") from error
    state = state.get("state_dict", state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError("a state dict: names and tensors", got=f"{path} with {type(state).__name__}")
    return dict(state)


def load_weights(model: nn.Module, weights: str | Path | State, *, names: str = "auto", head: bool = True) -> None:
    """Put weights into a model, exactly: every tensor must find its place and every place its tensor.

    Arguments:
        weights: a file, or a state dict.
        names: "hillock", "torchvision" (timm's ResNets have the same), or "auto": hillock's if any name fits.
        head: False leaves the classifier as it is, for other classes than the weights were trained for.

    Learned parameters of activations may be missing (other libraries do not have them); they stay as they are. Buffers
    that count batches may be missing.
    """
    if names not in ("auto", "hillock", "torchvision"):
        raise UnknownNameError("naming of parameters", names, ("auto", "hillock", "torchvision"))
    state = dict(weights) if isinstance(weights, Mapping) else read_weights(weights)
    own = model.state_dict()
    if names == "torchvision" or (
        names == "auto" and not own.keys() & state.keys() and type(model).__name__ in KEY_MAPS
    ):
        state = from_torchvision(model, state)
    if not head:
        state = {key: value for key, value in state.items() if not key.startswith(HEADS)}
    optional = _activation_keys(model) | {key for key in own if key.endswith("num_batches_tracked")}
    missing = [key for key in own if key not in state and key not in optional and (head or not key.startswith(HEADS))]
    unknown = [key for key in state if key not in own]
    misshapen = [
        f"{key} {tuple(value.shape)} for {tuple(own[key].shape)}"
        for key, value in state.items()
        if key in own and value.shape != own[key].shape
    ]
    for problem, keys in (("missing", missing), ("not of this network", unknown), ("of another shape", misshapen)):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise ModelError(f"weights that fit {type(model).__name__}", got=f"{problem}: {', '.join(keys[:3])}{more}")
    model.load_state_dict(state, strict=False)


def save_weights(model: nn.Module, path: str | Path, *, names: str = "hillock") -> None:
    """Write a model's state as a safetensors file, under hillock's or torchvision's names of parameters."""
    if names not in ("hillock", "torchvision"):
        raise UnknownNameError("naming of parameters", names, ("hillock", "torchvision"))
    state = model.state_dict() if names == "hillock" else to_torchvision(model)
    safetensors.torch.save_file({key: value.contiguous() for key, value in state.items()}, str(path))


def _key_map(model: nn.Module) -> tuple[tuple[str, str], ...]:
    kind = type(model).__name__
    if kind not in KEY_MAPS:
        raise ModelError("a ResNet or AlexNet, for torchvision's names of parameters", got=kind)
    return KEY_MAPS[kind]


def _renamed(key: str, key_map: tuple[tuple[str, str], ...], naming: str) -> str:
    module, _, parameter = key.rpartition(".")
    for source, target in key_map:
        match = re.fullmatch(re.escape(source).replace(r"\{\}", r"(\d+)"), module)
        if match:
            return f"{target.format(*match.groups())}.{parameter}"
    raise ModelError(f"parameters that have {naming}", got=key)


def _activation_keys(model: nn.Module) -> set[str]:
    return {
        f"{path}.{key}" if path else key
        for path, module in model.named_modules()
        if isinstance(module, ActivationLayer)
        for key in module.state_dict()
    }
