"""Interchangeable loaders behind one interface: choose by name, change nothing else."""

from .base import Batch, Loader, LoaderSpec
from .table import LOADERS, LoaderEntry, loader_versions, most_workers, open_loader, readable_loaders

__all__ = [
    "LOADERS",
    "Batch",
    "Loader",
    "LoaderEntry",
    "LoaderSpec",
    "loader_versions",
    "most_workers",
    "open_loader",
    "readable_loaders",
]
