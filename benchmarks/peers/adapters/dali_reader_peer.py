"""NVIDIA DALI on the CPU, as its ImageNet examples build it: its file reader, partial decoding, its resize.

feedline's ``dali`` loader passes images to DALI in the contract's order; here DALI reads in its own order. The reader
yields one number with each image, which is the sample's index here. The label is looked up.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nvidia.dali.fn
import nvidia.dali.types
import torch
from nvidia.dali.pipeline import Pipeline
from nvidia.dali.plugin.base_iterator import LastBatchPolicy
from nvidia.dali.plugin.pytorch import DALIGenericIterator

from ....loaders import LoaderSpec
from ....prep.roots.samples import Sample
from .epochs import Item, PeerEpochs

# DALI adds its operators and their options when it is imported; its stubs have only some of them.
fn: Any = nvidia.dali.fn
types: Any = nvidia.dali.types


def open_peer(spec: LoaderSpec, samples: Sequence[Sample], place: Path) -> PeerEpochs:
    """Return DALI's epochs over the images' files."""
    pipeline = Pipeline(spec.batch_size, spec.workers, device_id=None, seed=spec.seed, prefetch_queue_depth=2)
    with pipeline:
        pipeline.set_outputs(*_graph(spec, [str(sample.path) for sample in samples]))
    batches: Any = DALIGenericIterator(
        pipeline,
        ["images", "indexes"],
        reader_name="Reader",
        last_batch_policy=LastBatchPolicy.PARTIAL,
        auto_reset=True,
    )
    labels = torch.tensor([sample.label for sample in samples])

    def begin(epoch: int) -> Iterator[Item]:
        for (batch,) in batches:
            indexes = batch["indexes"].flatten().long()
            yield batch["images"], labels[indexes], indexes

    return PeerEpochs(begin)


def _graph(spec: LoaderSpec, files: list[str]) -> tuple[Any, Any]:
    images, indexes = fn.readers.file(
        files=files, labels=list(range(len(files))), random_shuffle=True, pad_last_batch=True, name="Reader"
    )
    crops = fn.decoders.image_random_crop(
        images, output_type=types.RGB, random_area=[0.08, 1.0], random_aspect_ratio=[3 / 4, 4 / 3], num_attempts=100
    )
    size = [spec.side, spec.image_size]
    resized = fn.resize(crops, size=size, interp_type=types.INTERP_LINEAR, antialias=True)
    return fn.flip(resized, horizontal=fn.random.coin_flip()), indexes
