"""What a probe found, before anybody judges it: the input of every rule."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hillock.diagnosis.site import Site

__all__ = ["DepthPair", "Evidence", "InputEvidence", "NormEvidence", "ParameterEvidence"]


@dataclasses.dataclass(frozen=True)
class ParameterEvidence:
    """One parameter tensor and its gradient on the probe.

    **Arguments**

    - `owner`: class of the module that holds it; of one derived from a layer of torch, that layer. `shape`: of the
      tensor.
    - `weight_rms`: root mean square of the weights; `finite`: no NaN or infinity among them.
    - `gradient_norm`: L2 norm of d(mean loss)/d(weights), None if autograd had no path to it.
    - `gradient_zero`: the gradient came and every element is exactly 0. `gradient_finite`: no NaN or infinity in it.
    - `sign_agreement`: mean over units of |Σ sign g| / fan-in, NaN for vectors; `fan_in`: weights of one unit.
    - `twins`: units whose weights (and bias) equal those of another unit bit for bit.
    - `trained`: requires a gradient and, where the optimiser is known, is in it with a rate above 0.
    """

    name: str
    owner: str
    shape: tuple[int, ...]
    weight_rms: float
    finite: bool
    gradient_norm: float | None
    gradient_zero: bool
    gradient_finite: bool
    sign_agreement: float
    fan_in: int
    twins: int
    requires_gradient: bool
    in_optimizer: bool | None

    @property
    def trained(self) -> bool:
        return self.requires_gradient and self.in_optimizer is not False

    @property
    def is_matrix(self) -> bool:
        """True for the weights of linear and convolution layers."""
        return len(self.shape) >= 2 and self.owner.startswith(("Linear", "Conv", "NonDynamicallyQuantizableLinear"))


@dataclasses.dataclass(frozen=True)
class NormEvidence:
    """One batch normalisation module: its state against the batch it received.

    **Arguments**

    - `training`: its flag during the probe. `parent_training`: the network's flag, as the caller had it.
    - `values_per_channel`: samples x positions of the last batch.
    - `mean_distance`: root mean square over channels of |running mean - batch mean| / batch σ.
    - `variance_ratio`: geometric mean over channels of running variance / batch variance.
    - `scale_zero`: share of channels with γ = 0 exactly. `scale_median`: median |γ|; NaN without γ.
    - `batches_tracked`: training steps its statistics have seen, None without the counter.
    """

    name: str
    training: bool
    parent_training: bool
    values_per_channel: int
    mean_distance: float
    variance_ratio: float
    scale_zero: float
    scale_median: float
    batches_tracked: int | None


@dataclasses.dataclass(frozen=True)
class InputEvidence:
    """The pictures and labels of the probe.

    **Arguments**

    - `channel_mean`, `channel_std`: of the inputs; `low`, `high`: smallest and largest value.
    - `constant_share`: share of samples that are one single value. `distinct_share`: share of different samples.
    - `labels`: number of samples of each class seen, by class.
    - `neighbour_share`: of each sample's `neighbours` nearest other samples, how many have its label;
      `neighbour_chance`, `neighbour_deviation`: mean and standard deviation of that share if labels were independent
      of inputs. `neighbours` is 0 where the inputs are not numbers or there are no labels.
    """

    channel_mean: tuple[float, ...]
    channel_std: tuple[float, ...]
    low: float
    high: float
    constant_share: float
    distinct_share: float
    labels: Mapping[int, int]
    neighbours: int
    neighbour_share: float
    neighbour_chance: float
    neighbour_deviation: float


@dataclasses.dataclass(frozen=True)
class DepthPair:
    """This network and a shallower one on the same training samples.

    **Arguments**

    - `shallower`: its name. `layers`, `shallower_layers`: of weights.
    - `only_deeper_wrong`, `only_shallower_wrong`: samples out of `samples` on which one of the two errs alone.
    """

    shallower: str
    layers: int
    shallower_layers: int
    samples: int
    only_deeper_wrong: int
    only_shallower_wrong: int


@dataclasses.dataclass(frozen=True)
class Evidence:
    """All that one examination measured.

    **Arguments**

    - `stage`: `initial` (weights as drawn), `training` (a run in progress) or `trained`; decides which rules apply.
    - `samples`: N. `classes`: C, None for anything but classification. `loss`: mean over the probe.
    - `loss_evaluating`: the same batch with the network in evaluation mode, None if that was not possible.
    - `accuracy`: share correct, NaN without classes. `first_non_finite`: who made the first NaN or infinity.
    - `right`: of each sample, whether the answer was right; empty without classes. `depth_pairs`: comparisons with
      shallower networks, if there were any.
    - `history`: lines written during training (loss, update ratios, dead units), oldest first; empty without.
    """

    stage: str
    samples: int
    classes: int | None
    loss: float
    loss_evaluating: float | None
    accuracy: float
    sites: Sequence[Site]
    parameters: Sequence[ParameterEvidence]
    norms: Sequence[NormEvidence]
    inputs: InputEvidence | None
    first_non_finite: str | None = None
    first_non_finite_gradient: str | None = None
    not_seen: tuple[str, ...] = ()
    history: Sequence[Mapping[str, Any]] = ()
    right: tuple[bool, ...] = ()
    depth_pairs: tuple[DepthPair, ...] = ()
    seconds: float = 0.0

    @property
    def chance_loss(self) -> float:
        """ln C, the loss of a network that knows nothing; NaN without classes."""
        return math.log(self.classes) if self.classes else math.nan

    @property
    def unit_sites(self) -> list[Site]:
        """Sites with at least two units and a slope somewhere, in order."""
        return [site for site in self.sites if site.units >= 2]
