"""LitData as in its guide for ImageNet: ``optimize`` once, then StreamingDataset and StreamingDataLoader.

The chunks hold each JPEG file's own bytes (its serializer for JPEG images keeps them), read from the local disk.
"""

# pyright: reportMissingImports=false, reportUntypedBaseClass=false
# The library is installed in this peer's own environment, and not where the code is checked.

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from litdata import StreamingDataLoader, StreamingDataset, optimize
from PIL import Image

from ....loaders import LoaderSpec
from ....prep.images.opening import FORMATS
from ....prep.roots.samples import Sample
from .crops import crop_and_flip
from .epochs import PeerEpochs, each_epoch


def convert(samples: Sequence[Sample], place: Path) -> None:
    """Write LitData's chunks of 64 MB into ``place``."""
    rows = [(str(sample.path), sample.label, index) for index, sample in enumerate(samples)]
    with TemporaryDirectory() as scratch:  # otherwise LitData leaves its folders in the system's
        os.environ["DATA_OPTIMIZER_CACHE_FOLDER"] = os.environ["DATA_OPTIMIZER_DATA_CACHE_FOLDER"] = scratch
        optimize(_row, rows, output_dir=str(place), chunk_bytes="64MB", num_workers=1)


def _row(row: tuple[str, int, int]) -> dict[str, Any]:
    path, label, index = row
    return {"image": Image.open(path, formats=FORMATS), "label": label, "index": index}


class _Images(StreamingDataset):
    """LitData's data set with the crop in ``__getitem__``, as in its documentation."""

    def __init__(self, place: Path, spec: LoaderSpec) -> None:
        super().__init__(str(place), shuffle=True, drop_last=False, seed=spec.seed)
        self._crop = crop_and_flip(spec.side)

    def __getitem__(self, index: Any) -> Any:
        row: Any = super().__getitem__(index)
        return self._crop(row["image"]), row["label"], row["index"]


def open_peer(spec: LoaderSpec, samples: Sequence[Sample], place: Path) -> PeerEpochs:
    """Return LitData's epochs over its chunks."""
    loader = StreamingDataLoader(
        _Images(place, spec),
        batch_size=spec.batch_size,
        num_workers=spec.workers,
        persistent_workers=spec.workers > 0,
    )
    return each_epoch(loader)
