"""What the tests of all loaders share: the names that the contract runs over, and loaders opened by them."""

from dataclasses import replace
from pathlib import Path

import pytest
import simplejpeg
import torch

from feedline.loaders import LOADERS, Loader, LoaderSpec, loader_versions, open_loader
from feedline.loaders.threaded import ThreadedLoader
from feedline.prep import MANIFEST, SHARDS, LoaderUnavailable, ShardSpec, write_shards

COVERING = [name for name, entry in LOADERS.items() if entry.covers_epoch]
SIZE = 32
# threaded with a decoding of its own is held to the same contract, as if it were another loader.
DCT, GPU, PLANAR = "threaded, DCT-scaled", "threaded, the GPU's way", "threaded, planar"
RAW = [f"{name}, raw" for name in COVERING if LOADERS[name].needs != "folders"]
"""Each loader that reads shards, on shards of pixels."""


def require_loader(name: str) -> str:
    """Skip the test where the loader's library is not installed."""
    try:
        loader_versions(name.partition(",")[0])
    except LoaderUnavailable as error:
        pytest.skip(str(error))
    return name


def spec_of(root: Path, **changes: object) -> LoaderSpec:
    return LoaderSpec(**{"root": root, "batch_size": 10, "image_size": SIZE, "seed": 5, **changes})  # type: ignore[arg-type]


def open_named(name: str, spec: LoaderSpec) -> Loader:
    """Open a loader of the table, or ``threaded`` with a decoding of its own, or a loader on raw shards."""
    if name in RAW:
        return open_loader(name.partition(",")[0], replace(spec, root=raw_root(spec.root)))
    if name == DCT:
        return open_loader("threaded", replace(spec, dct_scaling=True))
    if name == PLANAR:
        return open_loader("threaded", replace(spec, pixels="planar"))
    if name == GPU:  # what nvJPEG does there, libjpeg-turbo does here
        return ThreadedLoader(replace(spec, decode="gpu"), decoder=decode_on_the_cpu)
    return open_loader(name, spec)


def raw_root(root: Path) -> Path:
    """Return a root of nothing but raw shards of the images of ``root``, made once; an unfinished root as it is."""
    if not (root / MANIFEST).is_file():
        return root
    raw = root.with_name(f"{root.name}-raw")
    if not raw.exists():
        write_shards(root, ShardSpec(seed=3, encode="raw"), out=raw / SHARDS)
    return raw


def decode_on_the_cpu(jpegs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Decode as nvJPEG's wrapper does, which raises RuntimeError for all when it cannot decode one."""
    try:
        return [torch.from_numpy(simplejpeg.decode_jpeg(jpeg.numpy())).permute(2, 0, 1) for jpeg in jpegs]
    except ValueError as error:
        raise RuntimeError(str(error)) from error
