"""FFCV as its ImageNet recipe uses it: random order, memory mapped, random crop, flip, no Python per sample.

Its writer can only re-encode images (quality 90) or store pixels. ``_AsItIs`` stores the file's own bytes in the
same "jpg" mode, at full size, so that FFCV decodes the same bytes as the other peers. ``ffcv-raw`` stores pixels.
"""

# pyright: reportMissingImports=false, reportUntypedBaseClass=false
# The library is installed in this peer's own environment, and not where the code is checked.

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import RandomHorizontalFlip, Squeeze, ToTensor
from ffcv.writer import DatasetWriter
from PIL import Image

from ....loaders import LoaderSpec
from ....prep.images.opening import FORMATS
from ....prep.roots.samples import Sample
from .epochs import Item, PeerEpochs

FILE = "images.beton"
JPEG = 0  # of RGBImageField's two modes
Mode = Literal["jpg", "raw"]


class _AsItIs(RGBImageField):
    def encode(self, destination: Any, image: Path, malloc: Any) -> None:
        with Image.open(image, formats=FORMATS) as opened:
            foreign = opened.format != "JPEG" or opened.mode == "CMYK"  # 24 files of ImageNet, which FFCV cannot decode
            if foreign or self.write_mode == "raw":
                return super().encode(destination, np.asarray(opened.convert("RGB")), malloc)
            destination["width"], destination["height"] = opened.size
        data = np.frombuffer(image.read_bytes(), np.uint8)
        destination["mode"] = JPEG
        destination["data_ptr"], storage = malloc(data.nbytes)
        storage[:] = data
        return None


class _Rows:
    """Rows by number, for the writer."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[Path, int, int]:
        return self._samples[index].path, self._samples[index].label, index


def convert(samples: Sequence[Sample], place: Path, mode: Mode = "jpg") -> None:
    """Write ``place/images.beton``."""
    fields = {"image": _AsItIs(write_mode=mode), "label": IntField(), "index": IntField()}
    DatasetWriter(str(place / FILE), fields, num_workers=1).from_indexed_dataset(_Rows(samples))


def open_peer(spec: LoaderSpec, samples: Sequence[Sample], place: Path, mode: Mode = "jpg") -> PeerEpochs:
    """Return FFCV's epochs over the converted file, which says of each image how it is stored."""
    size = (spec.image_size, spec.image_size)
    loader = Loader(
        str(place / FILE),
        spec.batch_size,
        num_workers=spec.workers,
        os_cache=True,
        order=OrderOption.RANDOM,
        seed=spec.seed,
        drop_last=False,
        pipelines={
            "image": [RandomResizedCropRGBImageDecoder(size), RandomHorizontalFlip(), ToTensor()],
            "label": [IntDecoder(), ToTensor(), Squeeze([1])],
            "index": [IntDecoder(), ToTensor(), Squeeze([1])],
        },
        custom_fields={"image": RGBImageField},  # the writer has no name for _AsItIs and leaves the field unnamed
    )

    def begin(epoch: int) -> Iterator[Item]:
        for batch in loader:
            images, labels, indexes = cast(tuple[torch.Tensor, ...], batch)
            yield images, labels.long(), indexes.long()

    return PeerEpochs(begin)
