"""Batches are a pure function of seed, epoch and step, on any number of processes."""

from __future__ import annotations

import pytest
import torch

from hillock import data

VARIED = data.Augmentation(crop_padding=2, flip=True, cutout=3)


@pytest.fixture(scope="module")
def digits() -> data.DataSet:
    return data.load("digits", limit=300)


def test_an_epoch_can_start_at_any_step(digits: data.DataSet) -> None:
    batches = data.Batches(digits.train, 64, seed=3, dataset=digits, augmentation=VARIED)
    whole, rest = list(batches.epoch(2)), list(batches.epoch(2, start_step=3))
    assert len(whole) == len(batches) == 5
    assert len(rest) == 2
    for (inputs, targets), (inputs_again, targets_again) in zip(whole[3:], rest, strict=True):
        assert torch.equal(inputs, inputs_again)
        assert torch.equal(targets, targets_again)


def test_epochs_and_seeds_differ(digits: data.DataSet) -> None:
    batches = data.Batches(digits.train, 64, seed=3, dataset=digits, augmentation=VARIED)
    other = data.Batches(digits.train, 64, seed=4, dataset=digits, augmentation=VARIED)
    first = next(batches.epoch(0))[0]
    assert not torch.equal(first, next(batches.epoch(1))[0])
    assert not torch.equal(first, next(other.epoch(0))[0])


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_a_global_batch(digits: data.DataSet, world_size: int) -> None:
    alone = data.Batches(digits.train, 64, seed=1, dataset=digits, augmentation=VARIED)
    shares = [
        data.Batches(
            digits.train, 64, seed=1, dataset=digits, augmentation=VARIED, rank=rank, world_size=world_size
        ).epoch(0)
        for rank in range(world_size)
    ]
    for (inputs, targets), *parts in zip(alone.epoch(0), *shares, strict=True):
        assert torch.equal(inputs, torch.cat([part[0] for part in parts]))
        assert torch.equal(targets, torch.cat([part[1] for part in parts]))


def test_every_picture_is_seen_once_an_epoch(digits: data.DataSet) -> None:
    batches = data.Batches(digits.train, 7, seed=0, dataset=digits)
    seen = torch.cat([inputs for inputs, _ in batches.epoch(0)])
    everything = digits.preprocessing.normalise(digits.train.images)
    torch.testing.assert_close(
        seen.flatten(1).sum(1).sort().values, everything.flatten(1).sum(1).sort().values, rtol=1e-5, atol=1e-4
    )


def test_evaluation_is_in_order_and_plain(digits: data.DataSet) -> None:
    batches = data.Batches(digits.test, 50, seed=0, dataset=digits, augmentation=VARIED)
    inputs = torch.cat([inputs for inputs, _ in batches.evaluation()])
    torch.testing.assert_close(inputs, digits.preprocessing.normalise(digits.test.images))
    assert torch.equal(torch.cat([targets for _, targets in batches.evaluation()]), digits.test.labels)


def test_dropping_the_last_batch(digits: data.DataSet) -> None:
    batches = data.Batches(digits.train, 128, seed=0, dataset=digits, drop_last=True)
    assert len(batches) == 300 // 128 == len(list(batches.epoch(0)))
