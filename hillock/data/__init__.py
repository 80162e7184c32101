"""Data: sources, the prepared store, augmentation and batches.

Here belongs everything between files on a disk and the inputs of a network: reading pictures of any kind, splitting,
decoding once into a checked store of bytes, varying and normalising. What a network is, or how it is trained, never
does: nothing here imports `hillock.networks` or `hillock.training`.

>>> from hillock import data
>>> digits = data.load("digits")
>>> batches = data.Batches(digits.train, 64, seed=0, dataset=digits, augmentation=data.Augmentation(crop_padding=1))
>>> len(batches), next(batches.epoch(0))[0].shape
(23, torch.Size([64, 1, 8, 8]))
"""

from hillock.data.augmentation import Augmentation
from hillock.data.batches import Batches
from hillock.data.dataset import DataSet, Preprocessing, SkippedPicture, Split
from hillock.data.feeding import TrainingData
from hillock.data.load import load
from hillock.data.predicting import load_pictures
from hillock.data.streamed import StreamedData
from hillock.data.streaming import Stream, stream
from hillock.data.text import TextData, TextSettings, TokenBatches, load_text

__all__ = [
    "Augmentation",
    "Batches",
    "DataSet",
    "Preprocessing",
    "SkippedPicture",
    "Split",
    "Stream",
    "StreamedData",
    "TextData",
    "TextSettings",
    "TokenBatches",
    "TrainingData",
    "load",
    "load_pictures",
    "load_text",
    "stream",
]
