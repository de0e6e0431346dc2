"""Interchangeable loaders behind one interface: a caller changes the name and nothing else."""

from .base import Batch, Decode, Loader, LoaderSpec, PixelOrder, SampleView, Stages
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

__all__ = [
    "LOADERS",
    "Batch",
    "Decode",
    "Loader",
    "LoaderEntry",
    "LoaderSpec",
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
