"""See every activation of one forward pass, whoever wrote it: modules, functions, in-place calls and fused operators.

Three doors are watched at once, for this one pass only:

* **modules**: a hook on each module says where in the network we are, and catches activation modules whose inside is
  opaque (custom autograd functions, native kernels). A leaf module counts if its output is an elementwise function of
  its input, which is tested, not assumed;
* **functions** (`TorchFunctionMode`): `F.relu(x)`, `x.relu_()`, `torch.sigmoid(x)`, `x.clamp(min=0)`, wherever they
  are written, including the same module used twice. In-place calls are seen before they destroy their input;
* **operators** (`TorchDispatchMode`): what runs below Python, such as the gates of an LSTM. Their values are seen,
  their gradients are not.

What none of the three could look into is listed, never passed over.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from hillock.diagnosis.axes import canonical, unit_axis
from hillock.diagnosis.doors import Functions, Measured, Operators, without_fused_cell
from hillock.diagnosis.recognition import (
    FUNCTION_LABELS,
    FUSED,
    NONLINEAR_PARTS,
    POINTWISE,
    RECURRENT,
    SCALE_CHANGING,
    UNIT_AXIS,
    is_activation_call,
    is_elementwise,
    may_be_activation,
    module_label,
)
from hillock.diagnosis.site import Response, Site, characterise, slope_of

__all__ = ["Interception", "NormInput"]


@dataclasses.dataclass
class NormInput:
    """What a batch normalisation module received: statistics of the last batch, per channel."""

    mean: Tensor
    variance: Tensor
    values_per_channel: int


@dataclasses.dataclass
class _Frame:
    """One module that is running: where it is, and its input if it may turn out to be an activation."""

    path: str
    module: nn.Module
    candidate: Tensor | None  # a copy of the input, if the module is an elementwise function of it


class Interception:
    """A context in which one forward pass of `model` is observed; sums accumulate over several such contexts.

    **Arguments**

    - `model`: the network, unwrapped. It gets hooks on entry and loses them on exit.
    - `trace_non_finite`: look at every intermediate result for NaN and infinity, and name the first call that made one.

    After the pass, `sites` holds what was seen in order, `not_seen` the sentences about what was not, and
    `norm_inputs` the batch statistics that each batch normalisation received.
    """

    def __init__(self, model: nn.Module, *, trace_non_finite: bool = False) -> None:
        self.model = model
        self.trace_non_finite = trace_non_finite
        self.sites: dict[str, Site] = {}
        self.norm_inputs: dict[str, NormInput] = {}
        self.ran: set[str] = set()
        self.producer: str | None = None  # the first call that made a number that is not finite, out of finite ones
        self.batch_size = 0
        self._elementwise: dict[str, bool] = {}
        self._unseen: dict[tuple[str, str, str], None] = {}  # (path, class, what), in order of appearance
        self._stack: list[_Frame] = []
        self._calls: dict[str, int] = {}
        self._between: list[tuple[str, float, float]] = []
        self._axis = 1
        self._paused = False
        self._inside_site = False

    @contextlib.contextmanager
    def watching(self, batch_size: int) -> Iterator[None]:
        """Observe the forward pass that runs inside."""
        self.batch_size = batch_size
        self._calls.clear()
        self._stack.clear()
        self._between.clear()
        self._axis = 1
        with contextlib.ExitStack() as stack:
            for path, module in self.model.named_modules():
                if not isinstance(module, torch.jit.ScriptModule):
                    stack.callback(module.register_forward_pre_hook(self._enter(path), with_kwargs=True).remove)
                    hook = module.register_forward_hook(self._leave, always_call=True)
                    stack.callback(hook.remove)
            stack.enter_context(Operators(self))
            stack.enter_context(Functions(self))
            yield

    @property
    def not_seen(self) -> tuple[str, ...]:
        """Sentences about every part that was not looked into."""
        lines = self._unseen_lines()
        for path, module in self.model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                lines.append(f"{path or 'network'}: a scripted module, whose inside cannot be observed")
            elif path and path not in self.ran and not any(module.children()) and list(module.parameters()):
                lines.append(f"{path}: {type(module).__name__} did not run (its parent may use its weights directly)")
        return tuple(lines)

    def _unseen_lines(self) -> list[str]:
        """One line for each thing not looked into, with all the places where it is."""
        places: dict[tuple[str, str], list[str]] = {}
        for path, kind, what in self._unseen:
            places.setdefault((kind, what), []).append(path)
        lines = []
        for (kind, what), paths in places.items():
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            lines.append(f"{paths[0]}{more} ({kind}): {what}")
        return lines

    # Modules ---------------------------------------------------------------------------------------------------------

    def _enter(self, path: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._paused:
                return
            with self.pause():
                self.ran.add(path)
                values = [*args, *kwargs.values()]
                tensor = values[0] if len(values) == 1 and isinstance(values[0], Tensor) else None
                if isinstance(module, nn.modules.batchnorm._BatchNorm) and tensor is not None:
                    self._see_norm(path, tensor)
                candidate = None
                if tensor is not None and self._is_activation(path, module, tensor):
                    candidate = tensor.detach().clone()
                    self._inside_site = True
                self._stack.append(_Frame(path, module, candidate))

        return hook

    def _is_activation(self, path: str, module: nn.Module, z: Tensor) -> bool:
        if path not in self._elementwise:
            self._elementwise[path] = may_be_activation(module) and is_elementwise(module.forward, z)
        return self._elementwise[path]

    def _leave(self, module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        if self._paused or not self._stack:
            return
        with self.pause():
            frame = self._stack.pop()
            if frame.candidate is None:
                return
            self._inside_site = False
            if isinstance(out, Tensor):  # otherwise the module raised, and the error is on its way to the caller
                self.see(frame.path, module_label(module), "module", module.forward, frame.candidate, out)

    def _see_norm(self, path: str, tensor: Tensor) -> None:
        dims = [axis for axis in range(tensor.dim()) if axis != 1]
        variance, mean = torch.var_mean(tensor.detach(), dims, correction=0)
        self.norm_inputs[path] = NormInput(mean.double().cpu(), variance.double().cpu(), tensor[:, 0].numel())

    # Functions -------------------------------------------------------------------------------------------------------

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one intercepted function, and see it if it is an activation."""
        name = getattr(function, "__name__", "")
        plain = name.strip("_")
        if plain in UNIT_AXIS:
            self._axis = UNIT_AXIS[plain]
        self._note_between(plain, args, kwargs)
        if plain in RECURRENT:  # the fused CPU kernel hides the gates; the plain one shows them as operators
            return without_fused_cell(function, args, kwargs)
        if plain == "scaled_dot_product_attention" or plain == "multi_head_attention_forward":
            self._unseen_here("the softmax of attention is not a unit-wise activation: not examined")
            self._axis = -1
        z = args[0] if args else kwargs.get("input")
        if not is_activation_call(plain, args, kwargs) or not isinstance(z, Tensor) or not z.is_floating_point():
            return function(*args, **kwargs)
        if self._inside_site:
            return function(*args, **kwargs)
        if z.dim() < 2:
            self._unseen_here(f"{plain} of a vector, which has no samples to compare")
            return function(*args, **kwargs)
        rest = args[1:] if args else ()
        options = {key: value for key, value in kwargs.items() if key not in ("input", "out")}
        in_place = name.endswith("_") or options.get("inplace") is True or any(value is True for value in rest)
        with self.pause():
            before = z.detach().clone() if in_place else z.detach()
        self._inside_site = True
        try:
            out = function(*args, **kwargs)
        finally:
            self._inside_site = False

        def response(values: Tensor) -> Tensor:
            again = function(values.clone(), *rest, **options)
            assert isinstance(again, Tensor)
            return again

        with self.pause():
            self._see_function(plain, response, before, out)
        return out

    def _note_between(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Remember what changes the scale between two activations: weights, normalisation, sums, pooling."""
        if name in ("linear", "conv1d", "conv2d", "conv3d") and not self._inside_site:
            weight = args[1] if len(args) > 1 else kwargs.get("weight")
            bias = args[2] if len(args) > 2 else kwargs.get("bias")
            if isinstance(weight, Tensor):
                with self.pause(), torch.no_grad():
                    moment = float(weight.detach().double().square().flatten(1).sum(1).mean())
                    shift = float(bias.detach().double().square().mean()) if isinstance(bias, Tensor) else 0.0
                self._between.append(("weights", moment, shift))
        elif name.endswith("norm") or name in SCALE_CHANGING:
            self._between.append((name, 0.0, 0.0))

    def _see_function(self, name: str, response: Response, z: Tensor, out: Tensor) -> None:
        frame = self._stack[-1] if self._stack else None
        path = frame.path if frame else ""
        if frame and not any(frame.module.children()) and frame.path:
            # Inside a leaf module the module is the activation: its own name says where.
            label, where = module_label(frame.module) or name, path
        else:
            label, where = FUNCTION_LABELS.get(name, name), f"{path}:{name}" if path else name
        self.see(where, label, "function", response, z, out)

    def look_for_non_finite(self, function: Callable[..., Any], out: Any) -> None:
        """Remember the first call whose result is not finite."""
        if self.producer is not None or not isinstance(out, Tensor) or not out.is_floating_point():
            return
        with self.pause():
            if bool(torch.isfinite(out.detach()).all()):
                return
        frame = self._stack[-1] if self._stack else None
        name = getattr(function, "__name__", "a call").strip("_")
        self.producer = f"{frame.path or 'network'} ({type(frame.module).__name__}), in {name}" if frame else name

    # Operators -------------------------------------------------------------------------------------------------------

    def operator(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operator, and see it if it is an activation that no other door has seen."""
        name = function._schema.name.split("::")
        plain = name[1].rstrip("_")
        if self._paused or self._inside_site:
            return function(*args, **kwargs)
        tensor = args[0] if args and isinstance(args[0], Tensor) else None
        if plain in POINTWISE and tensor is not None and tensor.dim() >= 2:
            return self._see_operator(plain, function, args, kwargs, tensor)
        if plain in FUSED:
            self._unseen_here(f"the nonlinearities inside the fused operator {plain}")
        elif plain in NONLINEAR_PARTS and tensor is not None and tensor.is_floating_point() and tensor.dim() >= 2:
            self._unseen_here(f"operator {plain} outside any recognised activation")
        elif name[0] not in ("aten", "prim", "prims"):
            self._unseen_here(f"the custom operator {'::'.join(name)}")
        return function(*args, **kwargs)

    def _see_operator(
        self, plain: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], tensor: Tensor
    ) -> Any:
        with self.pause():
            before = tensor.detach().clone()
        out = function(*args, **kwargs)
        frame = self._stack[-1] if self._stack else None

        def response(values: Tensor) -> Tensor:
            again = function(values.clone(), *args[1:], **kwargs)
            assert isinstance(again, Tensor)
            return again

        with self.pause():
            path = f"{frame.path}:{plain}" if frame and frame.path else plain
            # Time steps of a recurrent layer run the same operator many times: one site gathers them all.
            self.see(path, plain, "operator", Measured(response), before, out, numbered=False)
        return out

    # Sites -----------------------------------------------------------------------------------------------------------

    def see(
        self, where: str, label: str, level: str, response: Response, z: Tensor, out: Tensor, *, numbered: bool = True
    ) -> None:
        """Add one call of an activation to its site, making the site on its first call."""
        calls = self._calls[where] = self._calls.get(where, 0) + 1
        name = f"{where}#{calls}" if numbered and calls > 1 else where
        axis = unit_axis(z, self._axis)
        site = self.sites.get(name)
        if site is None:
            character = characterise(response, z, axis)
            if character.linear:
                return
            site = Site(name, label, len(self.sites), level, character, z.shape[axis])
            site.between = tuple(self._between)
            self.sites[name] = site
        self._between.clear()
        if z.shape[axis] != site.units:
            self._unseen_here(f"a further call of {label} with {z.shape[axis]} instead of {site.units} units")
            return
        slope = slope_of(response, z)
        rows = [canonical(part, axis, self.batch_size) for part in (z, out.detach(), slope)]
        first = numbered or calls == 1
        site.see(rows[0], rows[1], rows[2], self.batch_size if first else 0)
        if numbered and out.requires_grad:
            site.expects_gradient = True
            batch_size = self.batch_size
            hook: Any = out.register_hook
            hook(lambda gradient: site.see_gradient(gradient.detach(), batch_size))

    def _unseen_here(self, what: str) -> None:
        frame = self._stack[-1] if self._stack else None
        self._unseen[frame.path or "network" if frame else "network", _class_name(frame), what] = None

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Let the observer's own arithmetic pass unobserved (and, both doors shut, at its usual speed)."""
        if self._paused:
            yield
            return
        self._paused = True
        try:
            with torch._C.DisableTorchFunction(), _disable_current_modes():
                yield
        finally:
            self._paused = False

    @property
    def paused(self) -> bool:
        """True while the observer itself computes."""
        return self._paused


def _class_name(frame: _Frame | None) -> str:
    return type(frame.module).__name__ if frame else "network"
