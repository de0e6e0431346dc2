"""Hugging Face datasets as in its guide for image classification: an Arrow table, set_transform, DataLoader."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Image, load_from_disk
from torch.utils.data import DataLoader

from ....loaders import LoaderSpec
from ....prep.roots.samples import Sample
from .crops import crop_and_flip
from .epochs import Item, PeerEpochs


def convert(samples: Sequence[Sample], place: Path) -> None:
    """Write an Arrow table that holds the files' own bytes into ``place``."""
    columns = {
        "image": [str(sample.path) for sample in samples],
        "label": [sample.label for sample in samples],
        "index": list(range(len(samples))),
    }
    Dataset.from_dict(columns).cast_column("image", Image()).save_to_disk(str(place))


class _Crop:
    """The transform of a batch of rows; a class, so that it can be sent to worker processes."""

    def __init__(self, size: int) -> None:
        self._crop = crop_and_flip(size)

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        return {**rows, "image": [self._crop(image.convert("RGB")) for image in rows["image"]]}


def open_peer(spec: LoaderSpec, samples: Sequence[Sample], place: Path) -> PeerEpochs:
    """Return the epochs of the converted table."""
    table: Any = load_from_disk(str(place))
    table.set_transform(_Crop(spec.side))
    loader = DataLoader(
        table, spec.batch_size, shuffle=True, num_workers=spec.workers, persistent_workers=spec.workers > 0
    )

    def begin(epoch: int) -> Iterator[Item]:
        for batch in loader:
            yield batch["image"], batch["label"], batch["index"]

    return PeerEpochs(begin)
