"""Interchangeable loaders behind one interface: a caller changes the name and nothing else."""

from .base import Loader, SampleView, Stages
from .batch import Batch
from .spec import Decode, Interpolation, LoaderSpec, OnError, PixelOrder
from .table import (
    LOADERS,
    LoaderEntry,
    honours,
    loader_versions,
    most_workers,
    open_loader,
    open_stages,
    prepare_loader,
    readable_loaders,
)
from .transforms import Normalise

__all__ = [
    "LOADERS",
    "Batch",
    "Decode",
    "Interpolation",
    "Loader",
    "LoaderEntry",
    "LoaderSpec",
    "Normalise",
    "OnError",
    "PixelOrder",
    "SampleView",
    "Stages",
    "honours",
    "loader_versions",
    "most_workers",
    "open_loader",
    "open_stages",
    "prepare_loader",
    "readable_loaders",
]
