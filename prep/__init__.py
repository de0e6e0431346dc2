"""Preparation of data sets, from archives to class folders to shards, in Python without a shell or a network."""

from .base.documents import read_document, to_json, write_atomically, write_document
from .base.errors import (
    DatasetError,
    FeedlineError,
    LoaderError,
    LoaderUnavailable,
    MeasurementError,
    OutputError,
    SampleError,
    SourceError,
    StoreError,
    TrainingError,
    TransformError,
    WorkerLost,
)
from .base.manifest import (
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
from .base.order import key_of, permutation, uniforms
from .base.progress import Progress, silent
from .checking.verify import Verification, verify
from .folders.imagefolder import prepare_imagefolder
from .folders.imagenet import SPLITS, prepare_imagenet
from .folders.parquet import prepare_parquet
from .folders.tiny_imagenet import prepare_tiny_imagenet
from .foreign.prepare import prepare_webdataset
from .labelled.lists import ListOptions
from .labels.imagenet import class_names, validation_labels, wnids
from .limits.cpus import usable_cpus
from .roots.samples import list_samples
from .shards.order import sample_order
from .shards.reindex import index_shards
from .shards.writing.listing import find_samples
from .shards.writing.plan import ShardSpec
from .shards.writing.write import default_place, write_shards
from .synthetic.archives import SyntheticSpec, write_synthetic

__all__ = [
    "MANIFEST",
    "SHARDS",
    "SPLITS",
    "ClassEntry",
    "DatasetError",
    "FeedlineError",
    "ListOptions",
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
    "StoreError",
    "SyntheticSpec",
    "TrainingError",
    "TransformError",
    "Verification",
    "WorkerLost",
    "class_names",
    "default_place",
    "find_samples",
    "index_shards",
    "key_of",
    "list_samples",
    "permutation",
    "prepare_imagefolder",
    "prepare_imagenet",
    "prepare_parquet",
    "prepare_tiny_imagenet",
    "prepare_webdataset",
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
