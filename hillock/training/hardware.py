"""What the hardware is good at: one choice a setting, each with its reason, each with a flag that overrides it."""

from __future__ import annotations

import contextlib
import dataclasses
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from hillock.errors import UsageError
from hillock.kernels import native
from hillock.layers.response_norm import ResponseNorm
from hillock.training.recipe import Recipe

__all__ = ["Choice", "Plan", "choose", "device_of"]

# Orders of magnitude, not calibrated: seen in single runs that were not stored (two cores of an AVX512/AMX Xeon, torch
# 2.13, batch 128, 32x32). bfloat16 autocast gained 1.7x on ResNet-20 (41e6 multiply-adds a picture) and lost on small
# perceptrons, where a layer's work is smaller than the casts around it; the limit lies somewhere between.
BFLOAT16_FROM_MULTIPLY_ADDS = 10e6
# Compiling took 20 to 40 s and then gained a fifth; eager training did about 0.28e12 FLOP/s: repaid after 200 s.
COMPILE_FROM_FLOP = 0.6e14
# A training step is about three forward passes (forward, gradients of inputs and of weights), 2 FLOP a multiply-add.
_FLOP_PER_MULTIPLY_ADD = 6


@dataclasses.dataclass(frozen=True)
class Choice:
    """One setting's value and why it has it."""

    value: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a run uses its hardware. `str()` of it is the sentence a user sees."""

    device: torch.device
    precision: Choice
    channels_last: Choice
    fused: Choice
    compile: Choice
    threads: Choice

    def __str__(self) -> str:
        parts = []
        for name in ("precision", "channels_last", "fused", "compile", "threads"):
            choice: Choice = getattr(self, name)
            parts.append(f"{name.replace('_', '-')} {choice.value} ({choice.reason})")
        return f"{self.device}: " + ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the choices as plain values for provenance.json."""
        return dataclasses.asdict(self) | {"device": str(self.device)}

    def choices(self) -> dict[str, str]:
        """Return what was chosen, without the reasons."""
        return {name: str(value["value"]) for name, value in dataclasses.asdict(self).items() if name != "device"}

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context that forward passes run in."""
        if self.precision.value == "bfloat16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()


def device_of(name: str) -> torch.device:
    """Return the device of a name: auto takes a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError("a device (cpu, cuda, cuda:1)", got=repr(name), instead="--device cpu") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("a GPU that torch can use for --device cuda", got="none", instead="--device cpu")
    return device


def choose(
    recipe: Recipe, model: nn.Module, input_size: tuple[int, int, int], images: int, *, processes: int = 1
) -> Plan:
    """Return the plan for training `model` on inputs [C, H, W] for `images` pictures in total.

    A pure function of recipe, network and machine: nothing is timed, so that a run repeats.
    """
    device = device_of(recipe.device)
    work = multiply_adds(model, input_size)
    convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
    channels_last = _channels_last(recipe, convolutional)
    fused = _fused(recipe, model, device, channels_last, processes)
    return Plan(
        device=device,
        precision=_precision(recipe, device, work),
        channels_last=channels_last,
        fused=fused,
        compile=_compile(recipe, work * images * _FLOP_PER_MULTIPLY_ADD, fused, _reads_tokens(model)),
        threads=Choice(str(torch.get_num_threads()), "as told" if recipe.threads else "torch's choice"),
    )


def _precision(recipe: Recipe, device: torch.device, work: float) -> Choice:
    if recipe.precision != "auto":
        return Choice(recipe.precision, "as told")
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Choice("bfloat16", "the GPU has tensor cores for it")
        return Choice("float32", "the GPU has no bfloat16")
    capabilities = torch.cpu.get_capabilities()
    unit = "AMX" if capabilities.get("amx_bf16") else "AVX512-BF16" if capabilities.get("avx512_bf16") else None
    if unit is None:
        return Choice("float32", "the processor has no bfloat16 arithmetic")
    if work < BFLOAT16_FROM_MULTIPLY_ADDS:
        return Choice("float32", "the network is too small for bfloat16 to gain")
    return Choice("bfloat16", f"the processor has {unit}")


def _channels_last(recipe: Recipe, convolutional: bool) -> Choice:
    if recipe.channels_last != "auto":
        return Choice(recipe.channels_last, "as told")
    return Choice("on", "convolutions are faster") if convolutional else Choice("off", "no convolutions")


def _fused(recipe: Recipe, model: nn.Module, device: torch.device, channels_last: Choice, processes: int) -> Choice:
    if recipe.fused != "auto":
        return Choice(recipe.fused, "as told")
    if channels_last.value != "on":
        return Choice("off", "the fused kernels are for channels-last maps")
    if device.type != "cpu":
        return Choice("off", "on a GPU the fused kernels have not been measured")
    if recipe.memory == "lean" or processes > 1:
        return Choice("off", "lean memory recomputes by itself" if processes == 1 else "statistics span processes")
    if not any(isinstance(module, (nn.BatchNorm2d, ResponseNorm)) for module in model.modules()):
        return Choice("off", "the network normalises no maps")
    if not native.available():
        return Choice("off", native.reason())
    return Choice("on", "fewer passes over memory")


def _compile(recipe: Recipe, flop: float, fused: Choice, reads_tokens: bool) -> Choice:
    if recipe.compile != "auto":
        return Choice(recipe.compile, "as told")
    if reads_tokens:
        return Choice("off", "the adaptive softmax has other shapes in every step")
    if fused.value == "on":
        return Choice("off", "the fused layers are faster")
    if flop >= COMPILE_FROM_FLOP:
        return Choice("on", "the run is long enough to repay compiling")
    return Choice("off", "the run is too short to repay compiling")


def _reads_tokens(model: nn.Module) -> bool:
    return getattr(model, "input_dtype", torch.float32) == torch.int64


def _blank(model: nn.Module, input_size: tuple[int, int, int]) -> torch.Tensor:
    """Return one empty input: a picture, or for a network that reads tokens a window as long as a picture is wide."""
    if _reads_tokens(model):
        return torch.zeros(1, input_size[-1], dtype=torch.int64)
    return torch.zeros(1, *input_size)


def multiply_adds(model: nn.Module, input_size: tuple[int, int, int]) -> float:
    """Return the multiply-adds of convolutions and linear layers for one input, from one pass over zeros."""
    total = 0.0

    def count(module: nn.Module, _: Any, output: Any) -> None:
        nonlocal total
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.Conv2d) and isinstance(weight, torch.Tensor):
            total += weight.numel() * output.shape[-1] * output.shape[-2]
        elif isinstance(module, nn.Conv1d) and isinstance(weight, torch.Tensor):
            total += weight.numel() * output.shape[-1]
        elif isinstance(module, nn.Linear) and isinstance(weight, torch.Tensor):
            total += weight.numel()

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        parameter = next(model.parameters())
        with torch.no_grad():
            model(_blank(model, input_size).to(parameter.device))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    return total
