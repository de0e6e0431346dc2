"""The `imagefolder` loader, the usual baseline: torchvision's ImageFolder, torch's DataLoader and Pillow.

It reads class folders. It differs from the recipe in torchvision's documentation only as the contract requires. The
files are those that every loader lists, and not every image below the folder. The order comes from (seed, epoch) and
the crops from (seed, epoch, draw key), instead of from the workers' own generators. The images are returned as
uint8, so that they are normalised once, on the device.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Sampler, default_collate, get_worker_info
from torchvision.datasets import ImageFolder

from ..prep import DatasetError, LoaderError, TransformError, read_manifest
from ..prep.images.opening import UNREADABLE
from ..prep.roots.kept_listings import open_listing
from ..prep.roots.listing import Listing
from ..prep.roots.samples import split_folder
from .base import Stages
from .batch import Batch
from .pixels.reference import decode_rgb, draws_of, fit, read_pixels
from .resumable import ResumableLoader
from .sampling.chosen import Chosen, in_batches, without_choice
from .sampling.draw_keys import index_of
from .spec import LoaderSpec
from .support.damage import DamagedSample
from .support.encoded import EncodedImage
from .support.held import Held
from .support.torch_workers import end_data_loader, items_of, start_data_loader
from .transforms.calls import Raised
from .transforms.samples import sample_transform_of

Request = tuple[int, int]  # (epoch, draw key)
Item = tuple[torch.Tensor, int, int]  # pixels uint8 (H, W, 3), label, sample index
# The samples, what the sample transform made of them, and what failed.
Answer = tuple[list[Item], torch.Tensor | None, Sequence[DamagedSample | Raised]]


class ImageFolderLoader(ResumableLoader):
    """A Loader over a root's image files with worker processes. Raises DatasetError for a root without any."""

    def __init__(self, spec: LoaderSpec) -> None:
        super().__init__(spec)
        self._dataset = _ClassFolders(replace(spec, batch_transform=None))  # what is sent to the workers
        self._held = Held(spec.root, spec.split, in_shards=False)
        self._chosen = self._choose(len(self._dataset), lambda: np.asarray(self._dataset.targets, np.int64))
        self._requests = _Requests(self._chosen, spec)
        self._loader = start_data_loader(self._dataset, spec, batch_sampler=self._requests, collate_fn=_collate)

    def _remaining(self, done: int) -> int:
        return self._chosen.batches(done)

    def _batches(self, epoch: int, done: int) -> Iterator[Batch]:
        self._requests.epoch, self._requests.done = epoch, done
        for images, labels, indexes, failures in items_of(self._loader):
            self._damage.admit(failures)
            whole = self._spec.image_size is None and self._sample_transform is None
            yield self._to_batch(list(images) if whole else images, labels, indexes)

    def _close(self) -> None:
        end_data_loader(self._loader)


class ImageFolderStages(Stages):
    """The stages of ``ImageFolderLoader``, as its workers run them. The labels and indexes of its items are 0."""

    def __init__(self, spec: LoaderSpec, read: Callable[[int], EncodedImage] | None = None) -> None:
        self._spec = spec
        self._read: Callable[[int], bytes] = (
            (lambda index: read(index).data.tobytes()) if read else _ClassFolders(spec).read
        )

    def fetch(self, index: int, /) -> bytes:
        return self._read(index)

    def decode(self, encoded: bytes, draws: Sequence[float]) -> Image.Image:
        return decode_rgb(encoded)

    def transform(self, decoded: Image.Image, draws: Sequence[float], row: torch.Tensor) -> Item:
        return torch.from_numpy(fit(decoded, draws, self._spec)), 0, 0

    def collate(self, samples: Sequence[Item], images: torch.Tensor) -> torch.Tensor:
        return _collate((list(samples), None, []))[0]

    def close(self) -> None:
        pass


class _ClassFolders(ImageFolder):
    """torchvision's ImageFolder with the manifest's classes: a class without images keeps its index."""

    def __init__(self, spec: LoaderSpec) -> None:
        manifest = read_manifest(spec.root)
        split = manifest.splits.get(spec.split)
        if split is None or not split.per_class:
            labelled = ", ".join(name for name, split in manifest.splits.items() if split.per_class)
            raise LoaderError(f"{spec.root} has no labelled split {spec.split!r}; choose one of: {labelled or 'none'}")
        self._spec = without_choice(spec)
        self._transform = sample_transform_of(spec)
        self._ids = [entry.id for entry in manifest.classes]
        folder = split_folder(spec.root, spec.split, split)
        if not split.listed and not folder.is_dir():
            raise DatasetError(f"{folder} is missing although the manifest lists it; prepare {spec.root} again")
        super().__init__(spec.root if split.listed else folder, allow_empty=True)
        # The list of the other loaders, so that all of them yield the same samples or refuse the same folder.
        self.samples = _PathsAndLabels(open_listing(spec.root, manifest, spec.split))
        self.imgs, self.targets = self.samples, self.samples.listing.labels

    @staticmethod
    def make_dataset(*_: Any, **__: Any) -> list[tuple[str, int]]:
        """Return nothing: torchvision would also list hidden files, sub-folders and any image that lies in them."""
        return []

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        return self._ids, {name: index for index, name in enumerate(self._ids)}

    def read(self, index: int) -> bytes:
        """Return the bytes of one image's file."""
        return Path(self.samples[index][0]).read_bytes()

    def __getitems__(self, requests: list[Request]) -> Answer:
        """Return one batch; torch's DataLoader prefers this to one ``__getitem__`` per sample.

        A damaged sample keeps its place as a black image, and is returned as a DamagedSample too.
        """
        items, failures = self._items(requests)
        if self._transform is None:
            return items, None, failures
        transform, rows = self._transform, self._transform.rows(len(items))
        damaged = {failure.index for failure in failures}
        seeds = transform.seeds(np.array([key for _, key in requests]), requests[0][0])
        try:
            for row, ((pixels, _, index), seed) in enumerate(zip(items, seeds, strict=True)):
                if index not in damaged:
                    name = partial(self._name, index)
                    rows.put(row, transform(pixels, seed, name), name)
        except TransformError as error:
            if get_worker_info() is None:
                raise
            return items, rows.tensor(), [Raised(error)]
        return items, rows.tensor(), failures

    def _name(self, index: int) -> str:
        return self.samples[index][0]

    def _items(self, requests: list[Request]) -> tuple[list[Item], list[DamagedSample]]:
        epoch, keys = requests[0][0], [key for _, key in requests]
        items: list[Item] = []
        failures: list[DamagedSample] = []
        for index, draws in zip(map(index_of, keys), draws_of(keys, epoch, self._spec), strict=True):
            path, label = self.samples[index]
            try:
                pixels = torch.from_numpy(read_pixels(self.read(index), draws, self._spec))
            except UNREADABLE as error:
                size = self._spec.image_size or 1
                pixels = torch.zeros((size, size, 3), dtype=torch.uint8, device="cpu")
                failures.append(DamagedSample.of(path, error, index))
            items.append((pixels, label, index))
        return items, failures


@dataclass(frozen=True)
class _PathsAndLabels(Sequence[tuple[str, int]]):
    """torchvision's list of samples, of which none is made before it is read."""

    listing: Listing

    def __len__(self) -> int:
        return len(self.listing)

    @overload
    def __getitem__(self, index: int) -> tuple[str, int]: ...

    @overload
    def __getitem__(self, index: slice) -> list[tuple[str, int]]: ...

    def __getitem__(self, index: int | slice) -> tuple[str, int] | list[tuple[str, int]]:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        place = range(len(self))[index]
        return self.listing.path(place), self.listing.labels.item(place)


class _Requests(Sampler[list[Request]]):
    """The batches of requests to the workers, without the first ``done`` samples of ``epoch``."""

    def __init__(self, chosen: Chosen, spec: LoaderSpec) -> None:
        self._chosen = chosen
        self._size = spec.batch_size
        self.epoch = 0
        self.done = 0

    def __iter__(self) -> Iterator[list[Request]]:
        epoch = self.epoch
        for keys in in_batches(self._chosen.share(epoch, self.done), self._size):
            yield [(epoch, key) for key in keys.tolist()]


def _collate(found: Answer) -> Any:
    items, images, failures = found
    if images is None:
        decoded = [pixels for pixels, _, _ in items]
        # Into shared memory, if a worker process calls it. Images of many sizes stay a list.
        images = default_collate(decoded) if len({pixels.shape for pixels in decoded}) == 1 else decoded
    labels, indexes = (torch.tensor(numbers, device="cpu") for numbers in list(zip(*items, strict=True))[1:])
    return images, labels, indexes, failures
