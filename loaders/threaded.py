"""The `threaded` loader: threads in one process fill one batch buffer and decode only the crop.

It has no worker processes, so there is no start-up, nothing is pickled, /dev/shm is not used, and Windows works the
same way. The threads work on chunks of a few batches ahead and write into the batches themselves, in one compiled call
for the whole chunk (``pixels.fused``). From shards with restart markers, a thread takes only the tiles that its crop
touches, and from raw shards only the pixels of the crop. From other shards and from class folders, it decodes the image
down to the end of the crop. Order and crops are pure functions of (seed, epoch, draw key), so threads, ranks and
resumes cannot change them.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, suppress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ..prep import SampleError
from .base import Stages
from .batch import Batch
from .pixels import ready
from .pixels.chunks import Chunk, ChunkDecoder, Filled, Own
from .pixels.crop_decoding import U8, decode_by_pillow, decode_crop, decode_into, fit_into
from .pixels.crops import draw_crops
from .pixels.cuts import Cut
from .pixels.fused_calls import decode_rows, decodes, plan_images, plan_located
from .pixels.gpu_decoding import Decoder, decode_cuts, nvjpeg
from .resumable import ResumableLoader
from .sampling.chosen import in_batches
from .sampling.draw_keys import I64, indexes_of
from .sampling.windows import skip, window_blocks
from .spec import LoaderSpec
from .support.encoded import EncodedImage, EncodedSamples, LocatedSamples
from .support.held import Held
from .support.samples import open_samples
from .support.shard_samples import ShardSamples
from .support.threads import one_core, start_threads

# Images per task, at most: submitting a task and entering the compiled code cost about 60 microseconds, decoding an
# image 30 to 600. The least gives every thread a part of a small batch.
CHUNK, LEAST_CHUNK = 32, 8
# Least number of batches under way: one to yield, and one to fill meanwhile.
AHEAD = 2


class _Pending(NamedTuple):
    images: torch.Tensor
    own: Own
    indexes: I64
    labels: I64
    draws: npt.NDArray[np.float64]
    done: list[Filled]
    """Filled by the caller's own thread."""
    tasks: list[Future[Filled]]


class ThreadedLoader(ResumableLoader):
    """A Loader over shards or class folders with ``spec.workers`` threads.

    ``window`` is the number of shards to read at a time, for slow disks and object stores: the samples of a window are
    shuffled together, and the windows follow one another in random order. 0 means true random order, and for a root
    behind a URL windows of as many shards as have 1 GB, if each sample comes once. The loader reads
    ``samples`` instead of those of ``spec``, and closes them. ``decoder`` replaces nvJPEG if ``spec.decode`` is
    "gpu". A saved state may have another batch size or world size.
    """

    def __init__(
        self,
        spec: LoaderSpec,
        *,
        window: int = 0,
        samples: EncodedSamples | None = None,
        decoder: Decoder | None = None,
    ) -> None:
        super().__init__(spec, elastic=True, samples=samples)
        self._window = window
        self._decoder = (decoder or nvjpeg(spec.device)) if spec.decode == "gpu" else None
        self._samples = open_samples(spec.root, spec.split) if samples is None else samples
        if samples is None:
            self._held = Held(spec.root, spec.split, in_shards=isinstance(self._samples, ShardSamples))
        self._located = self._samples if isinstance(self._samples, LocatedSamples) else None
        self._chunks = ChunkDecoder(spec, self._samples, self._sample_transform, on_gpu=self._decoder is not None)
        self._chosen = self._choose(len(self._samples), lambda: self._samples.labels)
        self._shards = self._samples if isinstance(self._samples, ShardSamples) else None
        if self._shards and not window and self._chosen.is_set:
            self._window = self._shards.window if spec.shuffle else 0
        if self._window:
            self._chosen.mask()  # raises LoaderError for what cannot be read in windows
            self._cursor.mark(self._marks)
        self._pool = start_threads(spec.workers) if spec.workers else None
        self._chunk = min(CHUNK, max(LEAST_CHUNK, spec.batch_size // max(spec.workers, 1)))
        # Enough batches under way to give every thread two chunks. Without threads, no batch is made ahead.
        ahead = max(AHEAD, -(-2 * spec.workers * self._chunk // spec.batch_size) + 1)
        self._ahead = ahead if spec.workers else 0
        if spec.pixels == "planar":  # only the compiled decoder has this order
            ready.prepare()
        elif spec.decode == "cpu":
            ready.begin()

    def _marks(self, epoch: int, samples: int) -> dict[str, Any]:
        marks = self._chosen.marks(epoch, samples)
        return {**marks, "window": self._window} if samples and self._spec.shuffle else marks

    def _remaining(self, done: int) -> int:
        return self._chosen.batches(done)

    def _batches(self, epoch: int, done: int) -> Iterator[Batch]:
        pending: deque[_Pending] = deque()
        size = self._spec.batch_size
        if self._shards:
            self._shards.require_unchanged()
        ahead = self._shards.read_ahead(lambda: map(indexes_of, self._share(epoch, done))) if self._shards else None
        try:
            for number, keys in enumerate(in_batches(self._share(epoch, done), size)):
                if ahead:
                    ahead.move(size * (number - len(pending)), size * (number + 1))
                pending.append(self._begin(keys, epoch))
                if len(pending) > self._ahead:
                    yield self._finish(pending.popleft())
            while pending:
                yield self._finish(pending.popleft())
        finally:
            for task in (task for batch in pending for task in batch.tasks):
                task.cancel()
            if ahead:
                ahead.close()

    def _share(self, epoch: int, done: int) -> Iterator[npt.NDArray[np.int64]]:
        """Yield the draw keys of this rank that are left of an epoch, in blocks."""
        if not (self._window and self._spec.shuffle):
            return self._chosen.share(epoch, done)
        windows = window_blocks(self._samples, self._window, self._spec.seed, epoch, self._chosen.mask())
        return self._chosen.share_of(skip(windows, done), done)

    def _begin(self, keys: npt.NDArray[np.int64], epoch: int) -> _Pending:
        """Start to fill a batch; without threads, fill it."""
        size, indexes = self._spec.image_size or 0, indexes_of(keys)
        samples = indexes.tolist()
        images = _buffer((len(samples), size, size, 3), self._spec.device)
        draws = _draws(keys, epoch, self._spec)
        plans, labels, holds = self._plan(indexes)
        own = self._own(keys, epoch)
        rows, step = images.numpy(), self._chunk if self._pool else len(samples)
        chunks = [
            Chunk(
                part.start, rows[part], samples[part], draws[part], None if plans is None else plans[part], holds, own
            )
            for part in (slice(first, first + step) for first in range(0, len(samples), step))
        ]
        if self._pool is None:
            with one_core():
                return _Pending(images, own, indexes, labels, draws, [self._chunks.fill(chunk) for chunk in chunks], [])
        return _Pending(
            images, own, indexes, labels, draws, [], [self._pool.submit(self._chunks.fill, chunk) for chunk in chunks]
        )

    def _own(self, keys: npt.NDArray[np.int64], epoch: int) -> Own:
        whole = None if self._spec.image_size else [torch.empty((1, 1, 3), dtype=torch.uint8, device="cpu")] * len(keys)
        if self._sample_transform is None:
            return Own(whole, None, [])
        transform = self._sample_transform
        return Own(whole, transform.rows(len(keys)), transform.seeds(keys, epoch))

    def _plan(self, indexes: I64) -> tuple[I64 | None, I64, list[Any]]:
        """Return the plans of a batch, its labels and what must live until it is decoded.

        There are plans if the fused decoder can read the images where they lie.
        """
        if self._located and not self._located.lost and decodes(self._spec):
            with suppress(OSError):  # reading the images one by one then says which sample is lost
                located = self._located.locate(indexes)
                return plan_located(located), located.rows["label"].astype(np.int64), located.holds
        return None, self._samples.labels_of(indexes), []

    def _finish(self, batch: _Pending) -> Batch:
        cuts = dict[int, Cut]()
        for filled in (*batch.done, *(task.result() for task in batch.tasks)):
            self._damage.admit(filled.failures)
            cuts |= filled.cuts
        images: torch.Tensor | list[torch.Tensor] = batch.own.whole or batch.images
        if batch.own.results:
            images = batch.own.results.tensor()
        elif self._decoder and cuts:
            images = self._decode_on_gpu(self._decoder, batch, cuts)
        labels = torch.from_numpy(batch.labels)
        return self._to_batch(images, labels, torch.from_numpy(batch.indexes.copy()))

    def _decode_on_gpu(self, decoder: Decoder, batch: _Pending, cuts: dict[int, Cut]) -> torch.Tensor:
        """Return the batch's images on the device; images that the GPU rejects are decoded on the CPU."""
        with self._transfer.beside():
            samples = decode_cuts(list(cuts.values()), self._spec.side, decoder)
            for row, sample in zip(cuts, samples, strict=True):
                if sample is None:
                    self._decode_on_cpu(batch, row)
            images = batch.images.to(self._transfer.device, non_blocking=True)
            for row, sample in zip(cuts, samples, strict=True):
                if sample is not None:
                    images[row] = sample
        return images

    def _decode_on_cpu(self, batch: _Pending, row: int) -> None:
        index = batch.indexes.item(row)
        try:
            numbers = batch.draws[row].tolist()
            decode_into(batch.images[row].numpy(), self._samples.read(index), numbers, self._spec)
        except (SampleError, OSError) as error:
            self._damage.admit([self._chunks.damaged(index, error)])

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._samples.close()


def prepare() -> None:
    """Compile the fused decoder, or load it, before a measurement."""
    ready.prepare()


class ThreadedStages(Stages):
    """The stages of ``ThreadedLoader``, as its threads run them, always decoding on the CPU.

    The fused decoder, and Pillow for an image that libjpeg-turbo rejects, crop and resize too: that counts as decoding.
    """

    def __init__(self, spec: LoaderSpec, read: Callable[[int], EncodedImage] | None = None) -> None:
        self._spec = spec
        self._opened = ExitStack()
        if read is None:
            read = self._opened.enter_context(closing(open_samples(spec.root, spec.split))).read
        self._read = read
        ready.prepare()

    def fetch(self, index: int, /) -> EncodedImage:
        return self._read(index)

    def decode(self, encoded: EncodedImage, draws: Sequence[float]) -> tuple[U8, Cut] | U8:
        if decodes(self._spec):
            size = self._spec.side
            row, numbers = np.empty((1, size, size, 3), np.uint8), np.array([draws], np.float64)
            if not decode_rows(plan_images([encoded]), numbers, row, self._spec):
                return row[0]
        try:
            return decode_crop(encoded, draws, self._spec)
        except ValueError:
            return decode_by_pillow(encoded, draws, self._spec)

    def transform(self, decoded: tuple[U8, Cut] | U8, draws: Sequence[float], row: torch.Tensor) -> None:
        if isinstance(decoded, tuple):
            fit_into(row.numpy(), *decoded)
        else:
            row.numpy()[:] = decoded

    def collate(self, samples: Sequence[None], images: torch.Tensor) -> torch.Tensor:
        return images

    def close(self) -> None:
        self._opened.close()


def _draws(keys: npt.NDArray[np.int64], epoch: int, spec: LoaderSpec) -> npt.NDArray[np.float64]:
    """Return the random numbers of the crops of a batch, float64 (N, DRAWS), or (N, 0) if there are none."""
    if not spec.crops_at_random:
        return np.empty((len(keys), 0))
    return draw_crops(keys, seed=spec.seed, epoch=epoch)


def _buffer(shape: tuple[int, ...], device: str) -> torch.Tensor:
    """Return uninitialised memory for a batch, uint8 of ``shape``."""
    if device.startswith("cuda"):  # from torch's pool: the pinned memory of a dropped batch is used for the next
        return torch.empty(shape, dtype=torch.uint8, device="cpu", pin_memory=True)
    # numpy requests huge pages from Linux, torch does not: first touching them takes 4 us per image, instead of 26.
    return torch.from_numpy(np.empty(shape, np.uint8))
