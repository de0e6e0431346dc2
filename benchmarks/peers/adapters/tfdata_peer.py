"""tf.data as TensorFlow's ImageNet models use it: decode_and_crop_jpeg of a sampled box, resize, flip.

One map does all of it, in as many threads as there are workers. ``tfdata-aliased`` omits the antialiasing, as those
models do: it reads 4 pixels for each pixel of the result, however large the crop is.
"""

# pyright: reportMissingModuleSource=false
# The library is installed in this peer's own environment, and not where the code is checked.

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow
import torch

from ....loaders import LoaderSpec
from ....prep.roots.samples import Sample
from .epochs import Item, PeerEpochs

tf: Any = tensorflow


def open_peer(spec: LoaderSpec, samples: Sequence[Sample], place: Path, antialias: bool = True) -> PeerEpochs:
    """Return tf.data's epochs over the images' files."""

    def load(path: Any, label: Any, index: Any) -> Any:
        data = tf.io.read_file(path)
        image = tf.cond(tf.io.is_jpeg(data), lambda: _cropped_jpeg(data), lambda: _cropped(data))
        image = tf.image.resize(image, [spec.side, spec.image_size], antialias=antialias)
        image = tf.image.random_flip_left_right(image)
        return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8), label, index

    paths, labels = [str(sample.path) for sample in samples], [sample.label for sample in samples]
    options = tf.data.Options()
    options.threading.private_threadpool_size = spec.workers
    rows = tf.data.Dataset.from_tensor_slices(
        (paths, tf.constant(labels, tf.int64), tf.range(len(samples), dtype=tf.int64))
    )
    batches = (
        rows.shuffle(len(samples), seed=spec.seed)
        .map(load, num_parallel_calls=spec.workers, deterministic=False)
        .batch(spec.batch_size)
        .prefetch(2)
        .with_options(options)
    )

    def begin(epoch: int) -> Iterator[Item]:
        for images, labels, indexes in batches:
            yield torch.from_dlpack(images), torch.from_dlpack(labels), torch.from_dlpack(indexes)

    return PeerEpochs(begin)


def _cropped_jpeg(data: Any) -> Any:
    return tf.image.decode_and_crop_jpeg(data, _random_box(tf.io.extract_jpeg_shape(data)), channels=3)


def _cropped(data: Any) -> Any:
    """Decode and crop a file that is not a JPEG: ImageNet has one PNG."""
    image = tf.image.decode_image(data, channels=3, expand_animations=False)
    return tf.image.crop_to_bounding_box(image, *tf.unstack(_random_box(tf.shape(image))))


def _random_box(shape: Any) -> Any:
    """Return (top, left, height, width) of a crop, as torchvision's RandomResizedCrop draws it."""
    everything = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])
    begin, size, _ = tf.image.sample_distorted_bounding_box(
        shape,
        everything,
        min_object_covered=0.0,
        aspect_ratio_range=[3 / 4, 4 / 3],
        area_range=[0.08, 1.0],
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.stack([begin[0], begin[1], size[0], size[1]])
