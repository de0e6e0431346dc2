"""The `dali` loader: NVIDIA DALI decodes only the crop and resizes it, on its own threads or on a CUDA device.

DALI's readers shuffle within a buffer, pad the last batch and resume at whole shards. So this loader feeds the files
to DALI in the order of the epoch, without a copy (``external_source`` on the pages that the shards are mapped to).
``decoders.image_slice`` cuts the boxes that all loaders share. On the CPU, DALI's decoder returns Pillow's pixels,
bit for bit. DALI's resize repeats the border, and Pillow averages over the pixels that exist. One row or column of
pixels on each side differs by some grey levels, the others by one at most.

Of raw shards, DALI gets the pixels where they are mapped and cuts the boxes with ``fn.slice``: nothing is decoded.

Pillow decodes every file that is not a plain JPEG (a PNG named .JPEG, CMYK), in evaluation every image that is much
longer than wide, and every image of a batch that DALI rejects. A damaged image ends DALI's pipeline, and DALI's message
does not name the image.
"""

from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import nvidia.dali.fn
import nvidia.dali.types
import simplejpeg
import torch
from nvidia.dali.pipeline import Pipeline
from PIL import Image

from ..prep import LoaderError
from ..prep.archives import npy
from ..prep.images.opening import UNREADABLE
from .batch import Batch
from .pixels.crops import frame, framing_of
from .pixels.reference import draws_of, read_pixels
from .pixels.thin import is_thin
from .resumable import ResumableLoader
from .sampling.chosen import in_batches
from .sampling.draw_keys import indexes_of
from .spec import LoaderSpec
from .support.damage import DamagedSample, log
from .support.encoded import EncodedSamples, LocatedSamples, bytes_of
from .support.held import Held
from .support.samples import open_samples
from .support.shard_samples import ShardSamples
from .transforms.samples import SampleTransform

# Batches under way in addition to the one yielded: DALI decodes one while the next waits, so its threads never wait.
AHEAD = 2

# DALI adds its operators and their options when it is imported; its stubs contain only some of them.
fn: Any = nvidia.dali.fn
types: Any = nvidia.dali.types

# These options follow Pillow: EXIF rotates nothing, and chroma is interpolated (on the GPU too) and not repeated.
DECODING: dict[str, Any] = {
    "output_type": types.RGB,
    "adjust_orientation": False,
    "jpeg_fancy_upsampling": True,
}
RESIZING: dict[str, Any] = {"antialias": True, "subpixel_scale": False}
INTERPOLATIONS: dict[str, Any] = {"bilinear": types.INTERP_LINEAR, "bicubic": types.INTERP_CUBIC}

BLACK_PIXELS = np.zeros((8, 8, 3), np.uint8)
BLACK = np.frombuffer(simplejpeg.encode_jpeg(BLACK_PIXELS), np.uint8)  # replaces an odd file
EXAMINED = 16  # images of a split that say whether it is raw; a few may have passed through when it was written


class _Pending(NamedTuple):
    epoch: int
    keys: npt.NDArray[np.int64]
    """The draw keys of the samples."""
    indexes: npt.NDArray[np.int64]
    draws: list[list[float]]
    images: list[npt.NDArray[np.uint8]]
    """The memory that DALI reads: it must stay alive until the batch is done."""
    boxes: npt.NDArray[np.int32]
    odd: list[int]
    """The rows that Pillow decodes."""
    mapped: bool
    """Whether ``images`` may be pages of shards."""


class DaliLoader(ResumableLoader):
    """A Loader over shards or class folders with ``spec.workers`` threads of DALI.

    DALI cannot work in the caller's own thread. With 0 workers, one thread of DALI works while the caller waits.
    A saved state may have another batch size or world size.
    """

    def __init__(self, spec: LoaderSpec) -> None:
        super().__init__(spec, elastic=True)
        self._samples = open_samples(spec.root, spec.split)
        self._held = Held(spec.root, spec.split, in_shards=isinstance(self._samples, ShardSamples))
        self._chosen = self._choose(len(self._samples), lambda: self._samples.labels)
        self._raw = _is_raw(self._samples)
        self._pipeline: Pipeline | None = None
        self._pending: deque[_Pending] = deque()

    def _remaining(self, done: int) -> int:
        return self._chosen.batches(done)

    def _batches(self, epoch: int, done: int) -> Iterator[Batch]:
        ahead, size = AHEAD if self._spec.workers else 0, self._spec.batch_size
        shards = None
        if isinstance(self._samples, ShardSamples):
            self._samples.require_unchanged()
            shards = self._samples.read_ahead(lambda: map(indexes_of, self._chosen.share(epoch, done)))
        try:
            for number, keys in enumerate(in_batches(self._chosen.share(epoch, done), size)):
                if shards:
                    shards.move(size * (number - len(self._pending)), size * (number + 1))
                self._begin(keys, epoch)
                if len(self._pending) > ahead:
                    yield self._finish()
            while self._pending:
                yield self._finish()
        finally:
            if self._pending:  # the caller left early; a new pipeline costs 5 ms
                self._stop()
            if shards:
                shards.close()

    def _begin(self, keys: npt.NDArray[np.int64], epoch: int) -> None:
        indexes, images, odd = indexes_of(keys), list[npt.NDArray[np.uint8]](), list[int]()
        mapped = not self._is_lost()
        draws, boxes = draws_of(keys.tolist(), epoch, self._spec), list[tuple[int, ...]]()
        for row, index in enumerate(indexes.tolist()):
            image = self._usual(index)
            if image is None or _is_thin(*image[1:], self._spec):
                odd.append(row)
                image = BLACK_PIXELS if self._raw else BLACK, 8, 8
            data, width, height = image
            images.append(data)
            boxes.append(_box(draws[row], width, height, self._spec))
        batch = _Pending(epoch, keys, indexes, draws, images, np.array(boxes, dtype=np.int32), odd, mapped)
        self._pending.append(batch)
        self._feed(batch)

    def _usual(self, index: int) -> tuple[npt.NDArray[np.uint8], int, int] | None:
        """Return a JPEG, or the pixels of a raw split, with width and height; None for an image that Pillow must read.

        Pillow decodes or rejects the others.
        """
        if index in self._damage.skipped:
            return None
        try:
            data = self._samples.read(index).data
            if self._raw:
                pixels = npy.pixels_of(data)
                return None if pixels is None else (pixels, pixels.shape[1], pixels.shape[0])
            height, width = map(int, simplejpeg.decode_jpeg_header(data)[:2])
        except (OSError, ValueError):
            return None
        bound = Image.MAX_IMAGE_PIXELS
        return None if bound and width * height > 2 * bound else (data, width, height)

    def _feed(self, batch: _Pending) -> None:
        pipeline = self._running()
        pipeline.feed_input("images", batch.images)
        pipeline.feed_input("boxes", batch.boxes)
        pipeline.schedule_run()

    def _running(self) -> Pipeline:
        if self._pipeline is None:
            self._pipeline = _build(self._spec, self._raw)
        return self._pipeline

    def _finish(self) -> Batch:
        batch, refusal = self._pending[0], ""
        everything = list(range(len(batch.indexes)))
        try:
            images = self._take()
            rows = everything if batch.mapped and self._is_lost() else batch.odd
        except RuntimeError as error:
            refusal = self._recover(error)
            size, rows = self._spec.side, everything
            images = torch.empty((len(rows), size, size, 3), dtype=torch.uint8, device="cpu")
        failures = [failure for row in rows if (failure := self._decode_by_pillow(images, batch, row))]
        if refusal and not failures:
            log.warning("DALI rejected a batch that Pillow decoded: %s", refusal)
        self._damage.admit(failures)
        if self._sample_transform:
            images = self._transformed_rows(self._sample_transform, images, batch)
        labels = torch.from_numpy(self._samples.labels_of(batch.indexes))
        return self._to_batch(images, labels, torch.from_numpy(batch.indexes.copy()))

    def _is_lost(self) -> bool:
        """Return whether DALI may have read zeros in place of a shard's pages: see ``support.bus_errors``."""
        return isinstance(self._samples, LocatedSamples) and self._samples.lost

    def _take(self) -> torch.Tensor:
        """Return the next images, uint8 (N, H, W, 3), in DALI's memory. Raises RuntimeError if DALI raises it.

        The batch is pending until then, so that an interrupt in between ends the pipeline: one that has outputs to be
        released never yields the next ones.
        """
        pipeline = self._running()
        (images,) = pipeline.share_outputs()
        pipeline.release_outputs()  # the dynamic executor frees the memory after its last use
        self._pending.popleft()
        return torch.from_dlpack(images.as_tensor())

    def _recover(self, error: RuntimeError) -> str:
        """Start a new pipeline on the batches under way, and return why an image ended the old one."""
        self._pipeline = None
        self._pending.popleft()
        reason = str(error).rpartition("encountered:")[2].strip().partition("\n")[0]
        if "fn.decoders" not in str(error):
            raise LoaderError(f"DALI stopped: {reason}; use another loader, such as threaded") from error
        for batch in self._pending:
            self._feed(batch)
        return reason

    def _decode_by_pillow(self, images: torch.Tensor, batch: _Pending, row: int) -> DamagedSample | None:
        index = batch.indexes.item(row)
        try:
            data = bytes_of(self._samples, index)
            images[row] = torch.from_numpy(read_pixels(data, batch.draws[row], self._spec))
        except UNREADABLE as error:
            return DamagedSample.of(self._samples.name(index), error, index)
        return None

    def _transformed_rows(self, transform: SampleTransform, images: torch.Tensor, batch: _Pending) -> torch.Tensor:
        """Return what the sample transform makes of a batch, in the caller's thread: DALI's threads run no Python."""
        rows = transform.rows(len(batch.indexes))
        for row, seed in enumerate(transform.seeds(batch.keys, batch.epoch)):
            index = batch.indexes.item(row)
            if index not in self._damage.skipped:
                name = partial(self._samples.name, index)
                rows.put(row, transform(images[row], seed, name), name)
        return rows.tensor()

    def _stop(self) -> None:
        self._pipeline = None  # its destructor waits for the batches under way, then ends the threads
        self._pending.clear()

    def _close(self) -> None:
        self._stop()
        self._samples.close()


def _box(draws: list[float], width: int, height: int, spec: LoaderSpec) -> tuple[int, ...]:
    """Return the numbers that the pipeline needs for one image.

    For the train transform they are left, top, width and height of its crop, and whether it is flipped. For the others
    they are height and width after the resize, and the top and left of the sample within them.
    """
    box, (target_width, target_height), (x, y), flip = frame(draws, width, height, framing_of(spec))
    return (*box, flip) if spec.transform == "train" else (target_height, target_width, y, x)


def _is_thin(width: int, height: int, spec: LoaderSpec) -> bool:
    """Return whether Pillow must resize an image: DALI would make all of it, gigabytes if it is 20,000 x 2."""
    if spec.transform != "eval":
        return False
    return is_thin(frame((), width, height, framing_of(spec)).target, spec.side)


def _is_raw(samples: EncodedSamples) -> bool:
    """Return whether most images of a split are pixels as they are."""
    indexes = np.linspace(0, len(samples) - 1, min(EXAMINED, len(samples))).astype(np.int64)
    if isinstance(samples, ShardSamples) and samples.window:  # each further shard would be fetched before the epoch
        held = samples.in_window(next((shard for shard, count in enumerate(samples.windows()) if count), 0))
        indexes = held[np.linspace(0, len(held) - 1, min(EXAMINED, len(held))).astype(int)]
    found = [samples.read(index).data[: npy.HEADER].tobytes() for index in indexes.tolist()]
    raw = [npy.read_header(data) is not None for data in found]
    return sum(raw) * 2 > len(raw)


def _build(spec: LoaderSpec, raw: bool) -> Pipeline:
    """Return a pipeline from ("images", "boxes") to uint8 (N, H, W, 3) on the spec's device.

    The images are files, or pixels if the split is raw.
    """
    device = torch.device(spec.device)
    on_gpu = device.type == "cuda"
    pipeline = Pipeline(
        batch_size=spec.batch_size,
        num_threads=max(1, spec.workers),
        device_id=(device.index or 0) if on_gpu else None,
        prefetch_queue_depth=1,  # this loader schedules each batch; a deeper queue would request batches by itself
        exec_dynamic=True,
    )
    with pipeline:
        form = {"ndim": 3, "layout": "HWC"} if raw else {"ndim": 1}
        images = fn.external_source(name="images", dtype=types.UINT8, no_copy=True, **form)
        boxes = fn.external_source(name="boxes", dtype=types.INT32, ndim=1)
        if raw:
            graph = _raw_crops if spec.transform == "train" else _raw_whole
        else:
            graph = _crops if spec.transform == "train" else _whole
        resizing = {**RESIZING, "interp_type": INTERPOLATIONS[spec.interpolation]}
        pipeline.set_outputs(graph(images, boxes, spec.side, "mixed" if on_gpu else "cpu", resizing))
    pipeline.build()
    return pipeline


def _crops(images: Any, boxes: Any, size: int, device: str, resizing: dict[str, Any]) -> Any:
    crops = fn.decoders.image_slice(
        images, start=boxes[0:2], shape=boxes[2:4], axis_names="WH", device=device, **DECODING
    )
    return fn.flip(fn.resize(crops, size=[size, size], **resizing), horizontal=boxes[4])


def _whole(images: Any, boxes: Any, size: int, device: str, resizing: dict[str, Any]) -> Any:
    sizes = fn.cast(boxes[0:2], dtype=types.FLOAT)
    resized = fn.resize(fn.decoders.image(images, device=device, **DECODING), size=sizes, **resizing)
    return fn.slice(resized, start=boxes[2:4], shape=[size, size], axis_names="HW")


def _raw_crops(images: Any, boxes: Any, size: int, device: str, resizing: dict[str, Any]) -> Any:
    crops = fn.slice(images, start=boxes[0:2], shape=boxes[2:4], axis_names="WH")
    crops = crops if device == "cpu" else crops.gpu()
    return fn.flip(fn.resize(crops, size=[size, size], **resizing), horizontal=boxes[4])


def _raw_whole(images: Any, boxes: Any, size: int, device: str, resizing: dict[str, Any]) -> Any:
    sizes = fn.cast(boxes[0:2], dtype=types.FLOAT)
    resized = fn.resize(images if device == "cpu" else images.gpu(), size=sizes, **resizing)
    return fn.slice(resized, start=boxes[2:4], shape=[size, size], axis_names="HW")
