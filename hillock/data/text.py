"""Token sequences from plain text, for the gated convolutional networks: words or characters, one number each."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from hillock.data.listing import part_named
from hillock.errors import DataError, UsageError
from hillock.randomness import numpy_generator

__all__ = ["END", "UNKNOWN", "TextData", "TextSettings", "TokenBatches", "load_text", "looks_like_text"]

# The end of a line and a word that is not in the vocabulary, as WikiText writes them.
END, UNKNOWN = "<eos>", "<unk>"
# Without validation and test files these shares of one file, from its end, become the parts.
VALIDATION_SHARE = TEST_SHARE = 0.05
SUFFIXES = (".txt", ".tokens")


class TextSettings(BaseModel):
    """How a text becomes tokens, and tokens windows."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    unit: Literal["words", "characters"] = "words"
    """Words are what white space separates, each line ends with `<eos>`; or single characters."""
    length: int = Field(default=128, ge=1)
    """Tokens in a window; a network sees nothing before its window."""
    least_count: int = Field(default=1, ge=1)
    """Words with fewer occurrences in the training part become `<unk>` (WikiText-103: 3)."""
    largest_vocabulary: int | None = Field(default=None, ge=3)
    """The most frequent words kept (None: all)."""


@dataclass(frozen=True, eq=False)
class TextData:
    """A text as numbers.

    * `train`, `validation`, `test`: int64 `[tokens]`, positions in `vocabulary`.
    * `vocabulary`: most frequent first, as adaptive softmax wants it.
    * `unknown_share`: share of the test tokens that became `<unk>`.
    """

    name: str
    train: Tensor
    validation: Tensor
    test: Tensor
    vocabulary: tuple[str, ...]
    unit: Literal["words", "characters"]
    unknown_share: float
    fingerprint: str
    length: int = 128
    """Tokens in a window of training and evaluation."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """What a network chooses from: the vocabulary."""
        return self.vocabulary

    @property
    def image_size(self) -> int:
        """A window's length, which for a network of tokens stands where pictures have their side."""
        return self.length

    def facts(self) -> dict[str, Any]:
        """Return a JSON-ready mapping: identity, sizes in tokens, and what a network needs to be built."""
        return {
            "kind": "text",
            "name": self.name,
            "fingerprint": self.fingerprint,
            "sizes": {part: len(getattr(self, part)) for part in ("train", "validation", "test")},
            "unit": self.unit,
            "unknown_share": self.unknown_share,
            "class_names": list(self.vocabulary),
            "channels": 1,
            "image_size": self.length,
        }

    def decode(self, tokens: Tensor) -> str:
        """Return the text of token numbers."""
        joiner = " " if self.unit == "words" else ""
        words = [self.vocabulary[token] for token in tokens.tolist()]
        return joiner.join("\n" if word == END else word for word in words)


def load_text(
    path: str | Path,
    *,
    unit: Literal["words", "characters"] = "words",
    least_count: int = 1,
    largest_vocabulary: int | None = None,
    length: int = 128,
) -> TextData:
    """Read a text file, or a folder with a train file and, if there are any, validation and test files.

    * `unit`: words are what white space separates, each line ends with `<eos>`; or single characters.
    * `least_count`, `largest_vocabulary`: rarer words, and those beyond, become `<unk>` (WikiText-103: 3 and none).

    * `length`: tokens in a window.

    The vocabulary comes from the training part alone. A single file is divided in order: the last 5 % test, the 5 %
    before them validation.
    """
    path = Path(path).expanduser()
    texts = _texts(path)
    parts = {name: _tokens(text, unit) for name, text in texts.items()}
    if set(parts) == {"train"}:
        everything = parts["train"]
        test = len(everything) - int(TEST_SHARE * len(everything))
        validation = test - int(VALIDATION_SHARE * len(everything))
        parts = {"train": everything[:validation], "validation": everything[validation:test], "test": everything[test:]}
    if any(len(part) < 2 for part in parts.values()):
        raise DataError("a text of at least forty words or characters", got=f"{path} with fewer")
    vocabulary = _vocabulary(parts["train"], least_count, largest_vocabulary)
    position = {word: place for place, word in enumerate(vocabulary)}
    unknown = position[UNKNOWN]
    numbers = {
        name: numpy.fromiter((position.get(word, unknown) for word in part), numpy.int64, len(part))
        for name, part in parts.items()
    }
    numbers.setdefault("validation", numbers["test"] if "test" in numbers else numbers["train"][:0])
    numbers.setdefault("test", numbers["validation"])
    total = hashlib.sha256("\x1f".join(vocabulary).encode())
    for name in ("train", "validation", "test"):
        total.update(name.encode() + numbers[name].astype("<i8").tobytes())
    return TextData(
        name=path.stem,
        train=torch.from_numpy(numbers["train"]),
        validation=torch.from_numpy(numbers["validation"]),
        test=torch.from_numpy(numbers["test"]),
        vocabulary=vocabulary,
        unit=unit,
        unknown_share=float((numbers["test"] == unknown).mean()),
        fingerprint=total.hexdigest(),
        length=length,
    )


def looks_like_text(source: str | Path) -> bool:
    """Say whether a source is a text file (.txt, .tokens) or a folder with one for training.

    >>> looks_like_text("wiki.train.tokens"), looks_like_text("digits")
    (True, False)
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return any(file.suffix in SUFFIXES and _part(file) == "train" for file in path.iterdir())
    return path.suffix in SUFFIXES


class TokenBatches:
    """Batches of token windows: `(inputs, targets)` int64 `[B, length]`, the targets one token further on.

    The text is cut into windows of `length` tokens, the rest at the end is left out; their order is drawn anew for each
    epoch. A pure function of (seed, epoch, step).

    >>> batches = TokenBatches(torch.arange(101), batch_size=2, length=10)
    >>> inputs, targets = next(batches.evaluation())
    >>> inputs[1].tolist(), targets[1, -1].item(), len(batches)
    ([10, 11, 12, 13, 14, 15, 16, 17, 18, 19], 20, 5)
    """

    def __init__(
        self,
        tokens: Tensor,
        batch_size: int,
        *,
        length: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
    ) -> None:
        if length < 1 or batch_size < 1:
            raise UsageError("a batch size and a length of at least 1", got=f"{batch_size} and {length}")
        self._windows = (len(tokens) - 1) // length
        if self._windows < 1:
            raise DataError(f"more than {length} tokens", got=str(len(tokens)), instead="a smaller length")
        assert 0 <= rank < world_size <= batch_size, (rank, world_size, batch_size)
        self._tokens = tokens
        self.batch_size, self.length, self.seed = batch_size, length, seed
        self.rank, self.world_size, self.drop_last = rank, world_size, drop_last
        self.channels_last = False

    def __len__(self) -> int:
        full, rest = divmod(self._windows, self.batch_size)
        return full + (rest >= self.world_size and not self.drop_last)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch from `start_step` on; each process its share."""
        order = numpy_generator(self.seed, "shuffle windows", epoch).permutation(self._windows)
        for step in range(start_step, len(self)):
            yield self._batch(order[step * self.batch_size : (step + 1) * self.batch_size])

    def evaluation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every window once, in order."""
        for step in range(len(self)):
            yield self._batch(numpy.arange(step * self.batch_size, min((step + 1) * self.batch_size, self._windows)))

    def _batch(self, windows: numpy.typing.NDArray[numpy.int64]) -> tuple[Tensor, Tensor]:
        share = windows[len(windows) * self.rank // self.world_size : len(windows) * (self.rank + 1) // self.world_size]
        first = torch.from_numpy(share)[:, None] * self.length
        places = first + torch.arange(self.length)
        return self._tokens[places], self._tokens[places + 1]


def _texts(path: Path) -> dict[str, str]:
    if path.is_file():
        return {"train": _read(path)}
    if not path.is_dir():
        raise DataError("a text file, or a folder with train, validation and test files", got=str(path))
    files = {part: file for file in sorted(path.iterdir()) if file.is_file() and (part := _part(file)) is not None}
    if "train" not in files:
        raise DataError("a train file (train.txt, wiki.train.tokens, ...)", got=f"none in {path}")
    return {part: _read(file) for part, file in files.items()}


def _part(file: Path) -> str | None:
    return next((part for word in file.name.split(".") if (part := part_named(word)) is not None), None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError("a text in UTF-8", got=f"{path} with other bytes at {error.start}") from error


def _tokens(text: str, unit: str) -> list[str]:
    if unit == "characters":
        return [END if character == "\n" else character for character in text]
    return [word for line in text.splitlines() for word in [*line.split(), END]]


def _vocabulary(train: Sequence[str], least_count: int, largest: int | None) -> tuple[str, ...]:
    """Return the words by falling frequency, equal ones by spelling; `<eos>` and `<unk>` are always among them."""
    counts = Counter(train)
    for word in (END, UNKNOWN):
        counts.setdefault(word, 0)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    kept = [word for word in ranked if counts[word] >= least_count or word in (END, UNKNOWN)]
    if largest is not None and len(kept) > largest:
        special = [word for word in (END, UNKNOWN) if word not in kept[:largest]]
        kept = kept[: largest - len(special)] + special
    return tuple(kept)
