"""From archives to class folders to shards: pure Python, no shell, no network."""

from .cpus import usable_cpus
from .documents import read_document, to_json, write_atomically, write_document
from .errors import (
    DatasetError,
    FeedlineError,
    LoaderError,
    LoaderUnavailable,
    MeasurementError,
    OutputError,
    SampleError,
    SourceError,
    TrainingError,
)
from .imagenet import SPLITS, find_archives, prepare_imagenet
from .labels import class_names, validation_labels, wnids
from .manifest import (
    MANIFEST,
    SHARDS,
    ClassEntry,
    Manifest,
    Order,
    Shard,
    ShardManifest,
    ShardSplit,
    Source,
    Split,
    read_manifest,
    read_shard_manifest,
)
from .order import key_of, permutation, uniforms
from .progress import Progress, silent
from .reindex import index_shards
from .samples import find_samples, list_samples
from .shard_order import sample_order
from .shard_plan import ShardSpec
from .shards import default_place, write_shards
from .synthetic import SyntheticSpec, write_synthetic
from .tiny_imagenet import prepare_tiny_imagenet
from .verify import Verification, verify

__all__ = [
    "MANIFEST",
    "SHARDS",
    "SPLITS",
    "ClassEntry",
    "DatasetError",
    "FeedlineError",
    "LoaderError",
    "LoaderUnavailable",
    "Manifest",
    "MeasurementError",
    "Order",
    "OutputError",
    "Progress",
    "SampleError",
    "Shard",
    "ShardManifest",
    "ShardSpec",
    "ShardSplit",
    "Source",
    "SourceError",
    "Split",
    "SyntheticSpec",
    "TrainingError",
    "Verification",
    "class_names",
    "default_place",
    "find_archives",
    "find_samples",
    "index_shards",
    "key_of",
    "list_samples",
    "permutation",
    "prepare_imagenet",
    "prepare_tiny_imagenet",
    "read_document",
    "read_manifest",
    "read_shard_manifest",
    "sample_order",
    "silent",
    "to_json",
    "uniforms",
    "usable_cpus",
    "validation_labels",
    "verify",
    "wnids",
    "write_atomically",
    "write_document",
    "write_shards",
    "write_synthetic",
]
