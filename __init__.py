"""feedline: prepare, shard, load and measure images, so that a training run never waits for data.

This is the front door. Each name below is imported when it is first used, so that ``import feedline`` and
``feedline -h`` load neither torch nor numpy. The folders beside this file are the subpackages: ``./prep`` is
``feedline.prep``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import train as train
    from .benchmarks import bench as bench, read_records as read_records, write_report as write_report
    from .loaders import (
        LOADERS as LOADERS,
        Batch as Batch,
        Loader as Loader,
        LoaderSpec as LoaderSpec,
        Normalise as Normalise,
        open_loader as open_loader,
        readable_loaders as readable_loaders,
    )
    from .prep import (
        FeedlineError as FeedlineError,
        ListOptions as ListOptions,
        Manifest as Manifest,
        ShardManifest as ShardManifest,
        ShardSpec as ShardSpec,
        SyntheticSpec as SyntheticSpec,
        prepare_imagefolder as prepare_imagefolder,
        prepare_imagenet as prepare_imagenet,
        prepare_parquet as prepare_parquet,
        prepare_tiny_imagenet as prepare_tiny_imagenet,
        prepare_webdataset as prepare_webdataset,
        read_manifest as read_manifest,
        read_shard_manifest as read_shard_manifest,
        verify as verify,
        write_shards as write_shards,
        write_synthetic as write_synthetic,
    )
    from .train import (
        EvaluateConfig as EvaluateConfig,
        TrainConfig as TrainConfig,
        compare as compare,
        evaluate as evaluate,
        export_weights as export_weights,
    )

__version__ = "0.1.0"  # the one place: pyproject.toml reads it here

_HOMES = {
    "prep": (
        "FeedlineError",
        "ListOptions",
        "Manifest",
        "ShardManifest",
        "ShardSpec",
        "SyntheticSpec",
        "prepare_imagefolder",
        "prepare_imagenet",
        "prepare_parquet",
        "prepare_tiny_imagenet",
        "prepare_webdataset",
        "read_manifest",
        "read_shard_manifest",
        "verify",
        "write_shards",
        "write_synthetic",
    ),
    "loaders": ("LOADERS", "Batch", "Loader", "LoaderSpec", "Normalise", "open_loader", "readable_loaders"),
    "train": ("EvaluateConfig", "TrainConfig", "compare", "evaluate", "export_weights"),
    "benchmarks": ("bench", "read_records", "write_report"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", "train", *_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a public name on its first use (PEP 562)."""
    if name in _HOMES:
        return import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return sorted({*globals(), *__all__, *_HOMES})
