"""How many bytes the crops of an epoch touch, if only their rows are fetched, against whole shards.

The box of each crop is the one that a training draws, and the rows that it touches come from the index of the shard.
Nothing is estimated. An image without restart markers is fetched whole.
"""

from contextlib import closing
from pathlib import Path

import numpy as np

from ...loaders.pixels.crops import draw_crops, train_crop
from ...loaders.support.shard_samples import ShardSamples
from ...prep import SHARDS, read_shard_manifest
from ...prep.images.tiles import Tiles
from .record import RowBytes

MOST = 4000  # images


def row_bytes(root: Path, most: int = MOST, *, seed: int = 0, epoch: int = 0) -> RowBytes:
    """Return the mean bytes per image of the first ``most`` train samples of an epoch's crops."""
    held = read_shard_manifest(root / SHARDS).splits["train"]
    with closing(ShardSamples(root, "train")) as samples:
        images = min(most, len(samples.labels))
        draws = draw_crops(np.arange(images, dtype=np.int64), seed=seed, epoch=epoch).tolist()
        touched = up_to = whole = 0
        for index in range(images):
            image = samples.read(index)
            whole += len(image.data)
            least, last = (len(image.data),) * 2 if image.tiles is None else _touched(image.tiles, draws[index])
            touched, up_to = touched + least, up_to + last
    return RowBytes(
        images=images,
        shard=sum(shard.bytes for shard in held.shards) / held.samples,
        whole=whole / images,
        up_to_last_row=up_to / images,
        rows=touched / images,
    )


def _touched(tiles: Tiles, draws: list[float]) -> tuple[int, int]:
    """Return the bytes of the header and of the rows that a crop touches, and the bytes up to the last of them."""
    crop = train_crop(draws, tiles.width, tiles.height)
    margin = tiles.mcu_height // 8 if tiles.mcu_height > 8 else 0  # as in prep.images.splice
    first = max(crop.top - margin, 0) // tiles.mcu_height
    last = min(crop.top + crop.height - 1 + margin, tiles.height - 1) // tiles.mcu_height
    lengths = tiles.row_lengths.astype(int)
    return tiles.scan + int(lengths[first : last + 1].sum()), tiles.scan + int(lengths[: last + 1].sum())
