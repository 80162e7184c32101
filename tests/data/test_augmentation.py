"""Each kind of variation does what its paper says, and planted faults would be seen."""

from __future__ import annotations

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hillock import data
from hillock.data.augmentation import Augmentation, Draws, centre, draw
from hillock.data.dataset import Preprocessing
from hillock.data.lighting import colour_shifts, principal_components
from hillock.data.views import views
from hillock.data.windows import cut
from hillock.errors import UsageError
from hillock.randomness import numpy_generator

SIZE = 8


def coloured(count: int = 12, stored: int = SIZE, channels: int = 3) -> numpy.ndarray:
    return numpy_generator(0, "pictures").integers(0, 256, (count, stored, stored, channels), dtype=numpy.uint8)


def plain_cut(pixels: numpy.ndarray, row: int, draws: Draws, place: int, padding: int, fill: object) -> numpy.ndarray:
    """The obvious way, one picture at a time: pad, cut, mirror."""
    margins = ((padding, padding), (padding, padding), (0, 0))
    if fill is None:
        padded = numpy.pad(pixels[row], margins, mode="reflect")
    else:
        padded = numpy.stack([numpy.pad(pixels[row][..., c], padding, constant_values=fill[c]) for c in range(3)], 2)
    top, left = int(draws.top[place]), int(draws.left[place])
    window = padded[top : top + SIZE, left : left + SIZE]
    return window[:, ::-1] if draws.flip[place] else window


@given(
    padding=st.integers(0, 3),
    border=st.integers(0, 3),
    fill=st.sampled_from([None, (0, 0, 0), (9, 200, 77)]),
    flip=st.sampled_from(["none", "random", "alternating"]),
    step=st.integers(0, 50),
)
def test_batched_windows_equal_one_at_a_time(
    padding: int, border: int, fill: tuple[int, int, int] | None, flip: str, step: int
) -> None:
    if padding and border:
        padding = 0
    pixels = coloured(stored=SIZE + border)
    rows = numpy_generator(step, "rows").permutation(12)[:7]
    augmentation = Augmentation.model_validate({"crop_padding": padding, "flip": flip})
    draws = draw(augmentation, rows, stored=SIZE + border, image_size=SIZE, channels=3, seed=1, epoch=0, step=step)
    colour = None if fill is None else numpy.array(fill, numpy.uint8)
    windows = cut(pixels, rows, draws, size=SIZE, padding=padding, fill=colour)
    for place, row in enumerate(rows):
        assert numpy.array_equal(windows[place], plain_cut(pixels, int(row), draws, place, padding, fill))


def test_windows_flips_and_holes_are_uniform() -> None:
    augmentation = Augmentation(crop_padding=2, flip=True, cutout=2)
    draws = draw(augmentation, numpy.arange(20_000), stored=8, image_size=8, channels=3, seed=0, epoch=0, step=0)
    for values, count in ((draws.top, 5), (draws.left, 5), (draws.hole_row, 8)):
        assert values is not None
        shares = numpy.bincount(values, minlength=count) / 20_000
        assert len(shares) == count
        assert numpy.abs(shares - 1 / count).max() < 4 * (1 / count / 20_000) ** 0.5
    assert draws.flip.mean() == pytest.approx(0.5, abs=0.015)


def test_one_kind_of_draw_leaves_the_others_alone() -> None:
    options = {"stored": 10, "image_size": 8, "channels": 3, "seed": 3, "epoch": 2, "step": 1}
    few = draw(Augmentation(flip=True), numpy.arange(9), **options)
    more = draw(Augmentation(flip=True, cutout=3, lighting="paper"), numpy.arange(9), **options)
    assert numpy.array_equal(few.top, more.top)
    assert numpy.array_equal(few.flip, more.flip)


def test_alternating_flip_mirrors_every_picture_every_other_epoch() -> None:
    augmentation = Augmentation(flip="alternating")
    rows = numpy.arange(1000)
    options = {"stored": 8, "image_size": 8, "channels": 3, "seed": 0}
    flips = [draw(augmentation, rows, **options, epoch=epoch, step=epoch).flip for epoch in range(4)]
    assert flips[0].mean() == pytest.approx(0.5, abs=0.06)
    assert numpy.array_equal(flips[0], ~flips[1])
    assert numpy.array_equal(flips[0], flips[2])
    # It belongs to the picture and not to its place in the batch.
    shuffled = draw(augmentation, rows[::-1].copy(), **options, epoch=0, step=5).flip
    assert numpy.array_equal(shuffled[::-1], flips[0])


def test_neighbours_share_a_crop_as_in_the_2012_code() -> None:
    augmentation = Augmentation(flip=True, crop_group=32)
    draws = draw(augmentation, numpy.arange(80), stored=256, image_size=224, channels=3, seed=0, epoch=0, step=0)
    assert len({(int(t), int(x), bool(f)) for t, x, f in zip(draws.top, draws.left, draws.flip, strict=True)}) == 3
    assert len(set(draws.top[:32].tolist())) == 1


def test_scale_jitter_shows_parts_of_the_right_size() -> None:
    augmentation = Augmentation(short_side=32, scale_jitter=(24, 48))
    draws = draw(augmentation, numpy.arange(500), stored=32, image_size=24, channels=3, seed=0, epoch=0, step=0)
    assert draws.side.min() == 16  # 24 * 32 / 48
    assert draws.side.max() == 32  # 24 * 32 / 24
    assert (draws.top + draws.side <= 32).all()
    flat = numpy.full((500, 32, 32, 3), 99, numpy.uint8)
    windows = cut(flat, numpy.arange(500), draws, size=24)
    assert windows.shape == (500, 24, 24, 3)
    assert (windows == 99).all()


# Lighting -------------------------------------------------------------------------------------------------------------

COVARIANCE = ((0.08, 0.06, 0.05), (0.06, 0.07, 0.06), (0.05, 0.06, 0.09))


@pytest.mark.parametrize(("reading", "power"), [("paper", 2.0), ("source", 1.0)])
def test_lighting_has_the_spread_of_each_reading(reading: str, power: float) -> None:
    values, vectors = principal_components(COVARIANCE)
    normals = numpy_generator(0, "normals").standard_normal((100_000, 3))
    shifts = colour_shifts(Augmentation.model_validate({"lighting": reading}), COVARIANCE, normals)
    along = (shifts @ vectors).std(0)
    # Along axis k the standard deviation is 0.1 times the eigenvalue (paper) or its square root (source).
    assert along == pytest.approx(0.1 * numpy.sqrt(values) ** power, rel=0.02)


def test_principal_components_rebuild_the_covariance() -> None:
    values, vectors = principal_components(COVARIANCE)
    assert vectors @ numpy.diag(values) @ vectors.T == pytest.approx(numpy.array(COVARIANCE))
    assert (numpy.diff(values) <= 0).all()
    assert vectors[:, 0].min() > 0  # photos: brightness first, all channels together


@pytest.mark.parametrize("reading", ["none", "paper", "source"])
def test_inputs_equal_the_plain_formula(reading: str) -> None:
    shapes = data.load("shapes:4:40", image_size=8)
    augmentation = Augmentation.model_validate({"crop": "centre", "lighting": reading})
    inputs, _ = data.Batches(shapes.train, 40, seed=0, dataset=shapes, augmentation=augmentation).in_order()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (shapes.mean, shapes.std))
    plain = shapes.train.images.float() / 255 - mean
    if reading != "none":
        draws = draw(augmentation, numpy.arange(40), stored=8, image_size=8, channels=3, seed=0, epoch=0, step=0)
        assert draws.lighting is not None
        shifts = torch.from_numpy(colour_shifts(augmentation, shapes.colour_covariance, draws.lighting)).float()
        plain = (plain + shifts[:, :, None, None]) / (1.1 if reading == "source" else 1)
    torch.testing.assert_close(inputs, plain / std, rtol=1e-5, atol=1e-5)


def test_layouts_and_buffers_change_no_value() -> None:
    shapes = data.load("shapes:4:40", image_size=8, augmentation=Augmentation(mean="pixel"))
    augmentation = Augmentation(crop_padding=2, flip=True, cutout=3, lighting="paper")
    plain = data.Batches(shapes.train, 16, dataset=shapes, augmentation=augmentation)
    other = data.Batches(shapes.train, 16, dataset=shapes, augmentation=augmentation, channels_last=True, reuse=2)
    places = set()
    for (inputs, targets), (inputs_other, targets_other) in zip(plain.epoch(1), other.epoch(1), strict=True):
        assert torch.equal(inputs, inputs_other)
        assert torch.equal(targets, targets_other)
        assert inputs_other.is_contiguous(memory_format=torch.channels_last)
        assert inputs.is_contiguous()
        places.add(inputs_other.data_ptr())
    assert len(places) == 2


def test_the_mean_picture_is_subtracted() -> None:
    shapes = data.load("shapes:4:40", image_size=8, augmentation=Augmentation(mean="pixel"))
    inputs = torch.cat([inputs for inputs, _ in data.Batches(shapes.train, 7, dataset=shapes).evaluation()])
    assert inputs.mean(0).abs().max() < 1e-5


def test_cutout_sets_a_square_to_the_mean() -> None:
    shapes = data.load("shapes:4:40", image_size=16)
    augmentation = Augmentation(crop="centre", cutout=5)
    inputs, _ = data.Batches(shapes.train, 40, dataset=shapes, augmentation=augmentation).in_order()
    holes = (inputs == 0).all(1).flatten(1).sum(1)
    assert holes.max() == 25
    assert holes.min() >= 9  # a centre in the corner leaves at least 3 x 3


# Test views -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count"), [("centre", 1), ("mirrored", 2), ("ten_crop", 10), ("multi_view", 6)])
def test_views_are_weighted_windows(name: str, count: int) -> None:
    pictures = torch.from_numpy(coloured(stored=12)).permute(0, 3, 1, 2)
    made = views(name, pictures, 8)
    assert len(made) == count
    assert sum(weight for weight, _ in made) == pytest.approx(1)
    assert all(view.shape == (12, 3, 8, 8) for _, view in made)
    mirrored = {view.flip(3).contiguous().numpy().tobytes() for _, view in made}
    if count > 1:
        assert mirrored == {view.contiguous().numpy().tobytes() for _, view in made}


def test_scales_are_those_of_the_paper() -> None:
    pictures = torch.full((2, 3, 32, 32), 200, dtype=torch.uint8)
    made = views("multi_scale", pictures, 28)
    assert [view.shape[-1] for _, view in made] == [28, 28, 32, 32, 48, 48, 60, 60, 80, 80]
    assert sum(weight for weight, _ in made) == pytest.approx(1)
    assert all(view.dtype == torch.uint8 and (view == 200).all() for _, view in made)
    preprocessing = Preprocessing(("a", "b"), 3, 28, (0.5,) * 3, (1.0,) * 3, 32, torch.full((3, 28, 28), 0.25))
    for _, view in made:
        assert torch.allclose(preprocessing.normalise(view), torch.tensor(200 / 255 - 0.25))


def test_ten_crops_are_the_corners_and_the_centre() -> None:
    pictures = torch.from_numpy(coloured(stored=12)).permute(0, 3, 1, 2)
    made = [view for _, view in views("ten_crop", pictures, 8)]
    assert torch.equal(made[0], pictures[..., :8, :8])
    assert torch.equal(made[6], pictures[..., 4:, 4:])
    assert torch.equal(made[8], pictures[..., 2:10, 2:10])
    with pytest.raises(UsageError, match="multi_view"):
        views("ten_crop", pictures[..., :8, :8], 8)
    with pytest.raises(UsageError, match="one of centre"):
        views("twelve", pictures, 8)


@pytest.mark.parametrize(
    "wrong",
    [{"crop_padding": -1}, {"flip": "sometimes"}, {"scale_jitter": (9, 3)}, {"crops": 3}, {"lighting": "caffe"},
     {"scale_jitter": (8, 9), "crop_padding": 1}],
)  # fmt: skip
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Augmentation.model_validate(wrong)


def test_the_centre_is_the_centre() -> None:
    draws = centre(3, stored=10, image_size=8)
    assert draws.top.tolist() == draws.left.tolist() == [1, 1, 1]
