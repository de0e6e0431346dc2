"""feedline's own ``threaded`` over raw shards, converted from the images as the formats of the peers are.

It is no other project's loader. It stands among the peers so that it is interleaved with those that store pixels, next
to ``threaded`` over the shards of the root itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ....loaders import LoaderSpec, open_loader
from ....prep import MANIFEST, SHARDS, MeasurementError, ShardSpec, write_shards
from ....prep.roots.samples import Sample
from .epochs import Item, PeerEpochs

SPLIT = "train"


def convert(samples: Sequence[Sample], place: Path) -> None:
    """Write raw shards into ``place/shards``. Raises MeasurementError for a root whose images lie outside of it."""
    root = next((folder for folder in samples[0].path.parents if (folder / MANIFEST).is_file()), None)
    if root is None:
        raise MeasurementError(
            f"{samples[0].path} lies in no prepared root, which raw shards are written from; "
            "copy the images into one with: feedline prep imagefolder FOLDER --out ROOT"
        )
    write_shards(root, ShardSpec(encode="raw", splits=(SPLIT,)), out=place / SHARDS)


def open_peer(spec: LoaderSpec, samples: Sequence[Sample], place: Path) -> PeerEpochs:
    """Return the epochs of ``threaded`` over the raw shards."""
    loader = open_loader("threaded", replace(spec, root=place))

    def begin(epoch: int) -> Iterator[Item]:
        loader.set_epoch(epoch)
        for batch in loader:
            yield batch.images.permute(0, 2, 3, 1), batch.labels, batch.indexes

    return PeerEpochs(begin)
