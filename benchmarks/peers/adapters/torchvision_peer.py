"""torchvision and torch's DataLoader as in their documentation: ImageFolder, transforms v2, persistent workers.

Unlike feedline's ``imagefolder``, this loader does not keep the contract: torch's generators draw crops and order.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from ....loaders import LoaderSpec
from ....prep.images.opening import FORMATS
from ....prep.roots.samples import Sample
from .crops import crop_and_flip
from .epochs import PeerEpochs, each_epoch


class _Folder(ImageFolder):
    """ImageFolder that also yields the index of each image. It sorts as feedline does: by folder, then by file name."""

    def __getitem__(self, index: int) -> Any:
        image, label = super().__getitem__(index)
        return image, label, index


def _load(path: str) -> Image.Image:
    """Read an image as torchvision's default loader does, but never a format that starts another program."""
    with Image.open(path, formats=FORMATS) as image:
        return image.convert("RGB")


def open_peer(spec: LoaderSpec, samples: Sequence[Sample], place: Path) -> PeerEpochs:
    """Return the epochs of ``ROOT/<split>``."""
    folder = _Folder(spec.root / spec.split, crop_and_flip(spec.image_size), loader=_load)
    loader = DataLoader(
        folder, spec.batch_size, shuffle=True, num_workers=spec.workers, persistent_workers=spec.workers > 0
    )
    return each_epoch(loader)
