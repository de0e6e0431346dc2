"""A chunk of samples, decoded into rows of a batch by one thread: together in one compiled call, the others one by one.

The fused decoder takes all images of a chunk in one call. It says which it did not take: of formats that it does not
decode, damaged, or, while it is being compiled, all. Those go to libjpeg-turbo and Pillow, with the same pixels.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ...prep import SampleError
from ..spec import LoaderSpec
from ..support.damage import DamagedSample
from ..support.encoded import EncodedImage, EncodedSamples, FileSamples, LocatedSamples
from ..transforms.samples import Rows, SampleTransform
from .crop_decoding import U8, decode_into, decode_whole
from .cuts import Cut
from .fused.plan import SIZE
from .fused_calls import decode_rows, decodes, plan_images, plan_read
from .gpu_decoding import cut_for_gpu

NOTHING = EncodedImage(np.empty(0, np.uint8), None)


class Filled(NamedTuple):
    """The rows of a chunk that do not hold their sample yet."""

    failures: list[DamagedSample]
    cuts: dict[int, Cut]
    """The cuts that the GPU must decode, by row in the batch."""


class Own(NamedTuple):
    """What becomes of the images of a batch that the spec transforms, or leaves at their own size."""

    whole: list[torch.Tensor] | None
    """Images (H, W, 3) of their own size, by row, instead of rows of one tensor."""
    results: Rows | None
    """What the sample transform makes."""
    seeds: list[int]
    """The seed of each sample for its transform, by row."""


class Chunk(NamedTuple):
    """Samples to decode, and where to."""

    first: int
    """The row of the batch where they begin."""
    rows: U8
    """(n, H, W, 3): these rows of the batch."""
    samples: list[int]
    draws: npt.NDArray[np.float64]
    """(n, DRAWS), or (n, 0) for eval."""
    plans: npt.NDArray[np.int64] | None
    """(n, FIELDS), or None for images that must be read first."""
    holds: list[Any]
    """What must live until they are decoded."""
    own: Own


class ChunkDecoder:
    """Decodes chunks of samples. Many threads can use it."""

    def __init__(
        self, spec: LoaderSpec, samples: EncodedSamples, transform: SampleTransform | None, *, on_gpu: bool
    ) -> None:
        """Decode ``samples`` as ``spec`` says; with ``on_gpu``, leave what the GPU can decode to the caller."""
        self._spec, self._samples, self._transform, self._on_gpu = spec, samples, transform, on_gpu
        self._located = samples if isinstance(samples, LocatedSamples) else None
        self._files = samples if isinstance(samples, FileSamples) else None

    def fill(self, chunk: Chunk) -> Filled:
        """Write samples to their rows, or return the cuts for the GPU."""
        was_lost = self._is_lost()
        filled = self._decode_chunk(chunk._replace(plans=None) if was_lost else chunk)
        if self._is_lost() and not was_lost:  # pages of a shard may have become zeros meanwhile
            filled = self._decode_chunk(chunk._replace(plans=None))
        if chunk.own.results:
            self._transform_rows(chunk, chunk.own.results, {failure.index for failure in filled.failures})
        return filled

    def _is_lost(self) -> bool:
        """Return whether images that are mapped may be zeros: see ``support.bus_errors``."""
        return self._located is not None and self._located.lost

    def _decode_chunk(self, chunk: Chunk) -> Filled:
        filled, read = Filled([], {}), dict[int, EncodedImage]()
        left, plans = list(range(len(chunk.samples))), chunk.plans
        if decodes(self._spec):
            files = self._files.read_many(chunk.samples) if self._files and plans is None else None
            if files is not None:
                failures = ((chunk.samples[row], error) for row, error in files.failures.items())
                filled.failures.extend(self.damaged(index, error) for index, error in failures)
                left = [row for row in left if row not in files.failures]
                plans = plan_read(files)
            elif plans is None:
                left = [row for row in left if self._read(chunk, row, read, filled)]
                plans = plan_images([read.get(row, NOTHING) for row in range(len(chunk.samples))])
            decoded = set(range(len(plans))).difference(decode_rows(plans, chunk.draws, chunk.rows, self._spec))
            if self._located and chunk.plans is not None:
                self._located.count_touched(np.asarray(chunk.samples, np.int64), int(plans[:, SIZE].sum()))
            left = [row for row in left if row not in decoded]
            if files is not None:
                read = {row: files.image(row) for row in left}
        for row in left:
            if row in read or self._read(chunk, row, read, filled):
                self._decode(chunk, row, read.pop(row), filled)
        return filled

    def _transform_rows(self, chunk: Chunk, results: Rows, damaged: set[int | None]) -> None:
        """Apply the sample transform to the decoded samples. Raises TransformError."""
        assert self._transform is not None
        for row, index in enumerate(chunk.samples):
            if index not in damaged:
                place, name = chunk.first + row, partial(self._samples.name, index)
                pixels = chunk.own.whole[place] if chunk.own.whole else chunk.rows[row]
                results.put(place, self._transform(pixels, chunk.own.seeds[place], name), name)

    def _read(self, chunk: Chunk, row: int, read: dict[int, EncodedImage], filled: Filled) -> bool:
        try:
            read[row] = self._samples.read(chunk.samples[row])
        except (SampleError, OSError) as error:
            filled.failures.append(self.damaged(chunk.samples[row], error))
        return row in read

    def _decode(self, chunk: Chunk, row: int, encoded: EncodedImage, filled: Filled) -> None:
        """Decode one image that the fused decoder does not take."""
        try:
            numbers = chunk.draws[row].tolist()
            cut = cut_for_gpu(encoded, numbers, self._spec) if self._on_gpu else None
            if chunk.own.whole:
                chunk.own.whole[chunk.first + row] = torch.from_numpy(decode_whole(encoded, self._spec))
            elif cut is None:
                decode_into(chunk.rows[row], encoded, numbers, self._spec)
            else:
                filled.cuts[chunk.first + row] = cut._replace(data=cut.data.copy())  # which may be mapped
        except (SampleError, OSError) as error:
            filled.failures.append(self.damaged(chunk.samples[row], error))

    def damaged(self, index: int, error: Exception) -> DamagedSample:
        """Return what is reported of a sample that cannot be read or decoded."""
        return DamagedSample.of(self._samples.name(index), error, index)
