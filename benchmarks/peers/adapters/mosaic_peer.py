"""MosaicML Streaming as in its ImageNet data set: MDS shards on the local disk, a transform, torch's DataLoader.

The "jpeg" encoding keeps each JPEG file's own bytes and decodes them with Pillow.
"""

# pyright: reportMissingImports=false, reportUntypedBaseClass=false
# The library is installed in this peer's own environment, and not where the code is checked.

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from streaming import MDSWriter, StreamingDataset
from streaming.base.util import clean_stale_shared_memory
from torch.utils.data import DataLoader

from ....loaders import LoaderSpec
from ....prep.images.opening import FORMATS
from ....prep.roots.samples import Sample
from .crops import crop_and_flip
from .epochs import PeerEpochs, each_epoch

COLUMNS = {"image": "jpeg", "label": "int", "index": "int"}


def convert(samples: Sequence[Sample], place: Path) -> None:
    """Write MDS shards of 64 MB, Streaming's default, into ``place``."""
    with MDSWriter(out=str(place), columns=COLUMNS) as writer:
        for index, sample in enumerate(samples):
            with Image.open(sample.path, formats=FORMATS) as image:
                # ImageNet has a PNG among its JPEG files, which is encoded again.
                kept = image if image.format == "JPEG" else image.convert("RGB")
                writer.write({"image": kept, "label": sample.label, "index": index})


class _Images(StreamingDataset):
    """Streaming's data set with the crop in ``__getitem__``, as in its documentation."""

    def __init__(self, place: Path, spec: LoaderSpec) -> None:
        super().__init__(local=str(place), shuffle=True, shuffle_seed=spec.seed, batch_size=spec.batch_size)
        self._crop = crop_and_flip(spec.side)

    def __getitem__(self, at: Any) -> Any:
        row: Any = super().__getitem__(at)
        return self._crop(row["image"].convert("RGB")), row["label"], row["index"]


def open_peer(spec: LoaderSpec, samples: Sequence[Sample], place: Path) -> PeerEpochs:
    """Return Streaming's epochs over its shards."""
    clean_stale_shared_memory()  # left by a run that was ended; Streaming does not start while it exists
    loader = DataLoader(
        _Images(place, spec), spec.batch_size, num_workers=spec.workers, persistent_workers=spec.workers > 0
    )
    return each_epoch(loader)
