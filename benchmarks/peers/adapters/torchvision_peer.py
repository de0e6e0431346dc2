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
    """ImageFolder of the images that feedline lists, wherever they lie; it also yields the index of each image."""

    def __init__(self, root: Path, samples: Sequence[Sample], image_size: int) -> None:
        self._labels = [str(label) for label in sorted({sample.label for sample in samples})]
        super().__init__(root, crop_and_flip(image_size), loader=_load, allow_empty=True)
        self.samples = [(str(sample.path), sample.label) for sample in samples]
        self.imgs, self.targets = self.samples, [sample.label for sample in samples]

    @staticmethod
    def make_dataset(*_: Any, **__: Any) -> list[tuple[str, int]]:
        """Return nothing: the images are those that were given, as every other peer gets them."""
        return []

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        return self._labels, {label: int(label) for label in self._labels}

    def __getitem__(self, index: int) -> Any:
        image, label = super().__getitem__(index)
        return image, label, index


def _load(path: str) -> Image.Image:
    """Read an image as torchvision's default loader does, but never a format that starts another program."""
    with Image.open(path, formats=FORMATS) as image:
        return image.convert("RGB")


def open_peer(spec: LoaderSpec, samples: Sequence[Sample], place: Path) -> PeerEpochs:
    """Return the epochs of the samples."""
    folder = _Folder(spec.root, samples, spec.side)
    loader = DataLoader(
        folder, spec.batch_size, shuffle=True, num_workers=spec.workers, persistent_workers=spec.workers > 0
    )
    return each_epoch(loader)
