"""The network of `fast-cifar`: whitening, the start as an identity, what is trained, and sizes of pictures."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hillock.errors import UsageError
from hillock.networks import network
from hillock.networks.fast_cifar import EPSILON
from hillock.randomness import generator
from hillock.training import Recipe, train
from hillock.training.materials import load_data


def _pictures(count: int) -> torch.Tensor:
    rough = torch.randn(count, 3, 8, 8, generator=generator(0, "pictures"))
    return F.interpolate(rough, 32, mode="bilinear")  # neighbours are alike, as in photographs


def test_the_first_layer_whitens_patches():
    model, pictures = network("fast_cifar", width=0.25, patch=3, directions=16), _pictures(400)
    model.look_at(pictures)
    outputs = model.whiten(pictures).double()
    assert torch.allclose(outputs[:, :16], -outputs[:, 16:])
    flat = outputs[:, :16].transpose(0, 1).flatten(1)
    covariance = flat @ flat.T / flat.shape[1]
    patches = pictures.double().unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2)
    variances = torch.linalg.eigvalsh(patches.T @ patches / len(patches)).flip(0)[:16]
    assert torch.allclose(covariance, torch.diag(variances / (variances + EPSILON)), atol=1e-3)


def test_two_calls_agree_and_signs_are_settled():
    first, second = network("fast_cifar", width=0.25), network("fast_cifar", width=0.25, seed=1)
    for model in (first, second):
        model.look_at(_pictures(50))
    assert torch.equal(first.whiten.weight, second.whiten.weight)


def test_convolutions_start_as_the_identity_on_their_first_channels():
    model = network("fast_cifar", width=0.25, directions=8)
    conv = model.groups[1].conv1
    x = torch.randn(2, conv.in_channels, 6, 6, generator=generator(0, "x"))
    assert torch.equal(conv(x)[:, : conv.in_channels], x)


def test_what_is_trained():
    model = network("fast_cifar", width=0.25)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert "whiten.weight" not in trained
    assert not any(name.endswith("norm1.weight") for name in trained)
    assert "groups.1.norm1.bias" in trained
    assert "head.weight" in trained


@pytest.mark.parametrize("side", [10, 24, 32, 33])
def test_sizes(side):
    model = network("fast_cifar", width=0.25, image_size=side)
    assert model(torch.zeros(2, 3, side, side)).shape == (2, 10)


def test_pictures_that_are_too_small_are_refused():
    with pytest.raises(UsageError, match="at least 10 pixels"):
        network("fast_cifar", image_size=8)


def test_a_training_looks_at_the_data_and_begins_with_small_pictures(tmp_path):
    recipe = Recipe.load("fast-cifar").replace(
        data="shapes",
        limit=64,
        epochs=2,
        batch_size=16,
        network_options={"width": 0.25},
        small_side=12,
        small_share=0.5,
    )
    seen = []

    class Sizes:
        def begin(self, context):
            context.model.whiten.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[-1]))

        def after_step(self, context): ...

        def after_evaluation(self, context, line): ...

        def end(self, context): ...

    run = train(recipe, out=tmp_path / "run", observers=[Sizes()], quiet=True)
    full = run.load_model().input_size[1]
    assert seen[:4] == [12] * 4
    assert seen[4:8] == [full] * 4
    dataset, fresh = load_data(recipe), network("fast_cifar", width=0.25, image_size=full)
    fresh.look_at(dataset.preprocessing.normalise(dataset.train.images))
    assert torch.equal(run.load_model().whiten.weight, fresh.whiten.weight)
