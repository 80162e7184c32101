"""Where units, samples and positions lie in the tensors of a call."""

from __future__ import annotations

from torch import Tensor

__all__ = ["canonical", "unit_axis"]


def unit_axis(z: Tensor, hint: int) -> int:
    """The axis of units: 1 for matrices; for more axes what the last linear, convolution or norm call wrote."""
    return 1 if z.dim() == 2 or hint == 1 else z.dim() - 1


def canonical(part: Tensor, axis: int, batch_size: int) -> Tensor:
    """Return the tensor as [rows, units, positions]; rows are samples wherever the batch axis can be found."""
    moved = part.movedim(axis, 1)
    if moved.dim() == 2:
        return moved.unsqueeze(2)
    if moved.shape[0] != batch_size and moved.dim() == 3 and moved.shape[2] == batch_size:
        return moved.permute(2, 1, 0)  # time first: [time, units, samples]
    return moved.flatten(2)
