"""The `webdataset` loader: the webdataset library over the shards, with worker processes and Pillow.

It reads the shards sequentially. ``support.streams`` chooses what to read, ``streamed`` reads it, and the library
groups and shuffles. The library's own splitting is not used, because it changes the order with the number of workers,
repeats the shard order every epoch (version 1.0) and gives ranks uneven shares. Each stream is one pipeline of the
library, and a worker serves every W-th stream. The shuffle buffer holds undecoded files. The shards themselves are
globally shuffled when they are written.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image

from .base import Stages
from .batch import Batch
from .pixels.reference import Pixels, decode_rgb, fit
from .resumable import ResumableLoader
from .sampling.chosen import batch_count
from .spec import LoaderSpec
from .streamed.items import Item, rebatch
from .streamed.turns import Turns
from .support.encoded import EncodedImage
from .support.held import Held
from .support.streams import share_of
from .support.torch_workers import end_data_loader, items_of, start_data_loader


class WebDatasetLoader(ResumableLoader):
    """A Loader over ``ROOT/shards``. Raises LoaderError for more workers than it has streams."""

    def __init__(self, spec: LoaderSpec) -> None:
        super().__init__(spec)
        self._turns = Turns(replace(spec, batch_transform=None))  # what is sent to the workers
        self._held = Held(spec.root, spec.split, in_shards=True)
        choice = self._turns.choice
        self._cursor.mark(lambda epoch, samples: choice.marks)
        self._count_samples(choice.samples)
        self._share = share_of(choice.samples, spec)
        self._loader = start_data_loader(self._turns, spec, batch_size=None, collate_fn=_unchanged)

    def _remaining(self, done: int) -> int:
        return batch_count(len(self._share) - done // self._spec.world_size, self._spec.batch_size)

    def _batches(self, epoch: int, done: int) -> Iterator[Batch]:
        self._turns.begin(epoch, done // self._spec.world_size)
        for item in rebatch(self._admitted(), self._spec.batch_size):
            yield self._to_batch(*item)

    def _admitted(self) -> Iterator[Item]:
        for item, failures in items_of(self._loader):
            self._damage.admit(failures)
            if item is not None:
                yield item

    def _close(self) -> None:
        end_data_loader(self._loader)


class WebDatasetStages(Stages):
    """The stages of ``WebDatasetLoader``, as its workers run them.

    ``fetch`` ignores the index and returns the next image of the shards, because a tar is read from front to back.
    With ``read``, it returns the image of the index.
    """

    def __init__(self, spec: LoaderSpec, read: Callable[[int], EncodedImage] | None = None) -> None:
        self._spec = spec
        self._stream = iter(()) if read else Turns(spec).in_order()
        self._read: Callable[[int], bytes] = (lambda index: read(index).data.tobytes()) if read else self._next_image

    def fetch(self, index: int, /) -> bytes:
        return self._read(index)

    def decode(self, encoded: bytes, draws: Sequence[float]) -> Image.Image:
        return decode_rgb(encoded)

    def transform(self, decoded: Image.Image, draws: Sequence[float], row: torch.Tensor) -> Pixels:
        return fit(decoded, draws, self._spec)

    def collate(self, samples: Sequence[Pixels], images: torch.Tensor) -> torch.Tensor:
        for row, pixels in enumerate(samples):
            images[row] = torch.from_numpy(pixels)
        return images

    def close(self) -> None:
        self._stream = iter(())  # ends the generator that holds the open shard

    def _next_image(self, _: int) -> bytes:
        return next(self._stream)["__image__"]


def _unchanged(item: Any) -> Any:
    return item
