"""Text as token sequences: vocabulary, parts, windows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hillock.data import TokenBatches, load_text
from hillock.errors import DataError

TEXT = "the cat sat\nthe dog sat on the cat\n" * 20


def test_words_are_numbered_by_frequency(tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text(TEXT)
    story = load_text(tmp_path / "story.txt")
    assert story.vocabulary[0] == "the"
    assert set(story.vocabulary) == {"the", "cat", "sat", "dog", "on", "<eos>", "<unk>"}
    words = TEXT.replace("\n", " <eos> ").split()
    together = torch.cat([story.train, story.validation, story.test])
    assert [story.vocabulary[token] for token in together.tolist()] == words
    assert len(story.test) == len(story.validation) == int(0.05 * len(words))
    assert story.decode(story.train[:6]) == "the cat sat \n the dog"


def test_files_of_a_folder_are_parts_and_unknown_words_are_counted(tmp_path: Path) -> None:
    (tmp_path / "wiki.train.tokens").write_text(TEXT)
    (tmp_path / "wiki.valid.tokens").write_text("the cat sat")
    (tmp_path / "wiki.test.tokens").write_text("the bird sat on")
    wiki = load_text(tmp_path)
    assert wiki.decode(wiki.test) == "the <unk> sat on \n"
    assert wiki.unknown_share == pytest.approx(1 / 5)
    rare = load_text(tmp_path, least_count=30)
    assert set(rare.vocabulary) == {"the", "cat", "sat", "<eos>", "<unk>"}
    assert len(load_text(tmp_path, largest_vocabulary=4).vocabulary) == 4


def test_characters(tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text(TEXT)
    story = load_text(tmp_path / "story.txt", unit="characters")
    assert story.decode(story.train[:12]) == TEXT[:12]


def test_windows_follow_each_other_and_cover_the_text() -> None:
    tokens = torch.arange(1003)
    batches = TokenBatches(tokens, 7, length=10, seed=3)
    seen = torch.cat([inputs for inputs, _ in batches.epoch(0)])
    assert len(seen) == 100
    assert torch.equal(seen.flatten().sort().values, torch.arange(1000))
    for inputs, targets in batches.epoch(1):
        assert torch.equal(targets, inputs + 1)
    rest = list(batches.epoch(2, start_step=4))
    assert torch.equal(rest[0][0], list(batches.epoch(2))[4][0])
    shares = [TokenBatches(tokens, 7, length=10, seed=3, rank=rank, world_size=2) for rank in (0, 1)]
    for whole, first, second in zip(batches.epoch(0), *(share.epoch(0) for share in shares), strict=True):
        assert torch.equal(whole[0], torch.cat([first[0], second[0]]))


def test_unusable_texts_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 " * 100)
    (tmp_path / "short.txt").write_text("one word")
    with pytest.raises(DataError, match="UTF-8"):
        load_text(tmp_path / "latin.txt")
    with pytest.raises(DataError, match="at least forty"):
        load_text(tmp_path / "short.txt")
    with pytest.raises(DataError, match="train file"):
        load_text(tmp_path)
    with pytest.raises(DataError, match="more than 10 tokens"):
        TokenBatches(torch.arange(5), 2, length=10)
