"""Interchangeable loaders behind one interface: choose by name, change nothing else."""

from .base import Batch, Decode, Loader, LoaderSpec
from .table import LOADERS, LoaderEntry, honours, loader_versions, most_workers, open_loader, readable_loaders

__all__ = [
    "LOADERS",
    "Batch",
    "Decode",
    "Loader",
    "LoaderEntry",
    "LoaderSpec",
    "honours",
    "loader_versions",
    "most_workers",
    "open_loader",
    "readable_loaders",
]
