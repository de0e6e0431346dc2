"""The order of an epoch from a sampler of torch, or from another iterable of sample indexes.

A sampler is iterated once per epoch, in the caller's thread, and its indexes are kept. It can draw from generators
that other code moves. So while it is iterated, the global generators of torch, numpy and Python are seeded with (seed,
epoch), and afterwards they are put back. A sampler that draws from them, as torch's own do, then has the same order on
every rank and after a resume.
"""

import operator
import random
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from itertools import islice
from typing import Any

import numpy as np
import torch

from ...prep import LoaderError, key_of
from ..choice_fields import Numbers
from ..spec import LoaderSpec
from .draw_keys import I64, draw_keys

# The number of indexes after which a sampler without a length counts as endless: ten times the images of ImageNet-21K.
ENDLESS = 140_000_000


class SamplerOrder:
    """The order of ``spec.sampler``."""

    def __init__(self, spec: LoaderSpec, count: int) -> None:
        """Check the sampler, and count its indexes if it has no length. Raises LoaderError."""
        self._spec = spec
        self._count = count
        self._sampler: Any = spec.sampler
        self.of_rank = self._is_of_rank()
        self._kept: tuple[int, I64, str] | None = None
        try:
            self._length = len(self._sampler)
        except (TypeError, NotImplementedError):
            self._length = None
            self._length = len(self._draw(0))
        if not self._length:
            raise LoaderError(f"{self._name} yields no index; choose at least one sample")

    def __len__(self) -> int:
        return self._length or 0

    def keys(self, epoch: int) -> I64:
        """Return the draw keys of an epoch, of this rank or of all. Raises LoaderError for an index of no sample."""
        return self._of(epoch)[1]

    def blocks(self, epoch: int, first: int) -> Iterator[I64]:
        """Yield the draw keys from position ``first`` on."""
        yield self.keys(epoch)[first:]

    def marks(self, epoch: int, samples: int) -> dict[str, Any]:
        """Return a digest of the order under way, which a resume must repeat."""
        if isinstance(self._sampler, Numbers):
            return {"choice": f"sampler {self._sampler.digest}"}
        own: dict[str, Any] = {"choice": "sampler"}
        if self.of_rank:  # a state is loaded on all ranks, and their orders differ
            return own | {"world_size": self._spec.world_size}
        return own | ({"order": self._of(epoch)[2]} if samples else {})

    def _of(self, epoch: int) -> tuple[int, I64, str]:
        if self._kept is None or self._kept[0] != epoch:
            indexes = self._draw(epoch)
            spec = self._spec
            keys = draw_keys(indexes, **({"rank": spec.rank, "world_size": spec.world_size} if self.of_rank else {}))
            self._kept = epoch, keys, blake2b(indexes.tobytes(), digest_size=16).hexdigest()
        return self._kept

    def _draw(self, epoch: int) -> I64:
        """Return the indexes that the sampler yields in an epoch, int64."""
        if isinstance(self._sampler, Numbers):
            indexes = self._sampler.array
        else:
            if hasattr(self._sampler, "set_epoch"):
                self._sampler.set_epoch(epoch)
            with _seeded(int(key_of(self._spec.seed, epoch))):
                indexes = self._listed(epoch)
        if len(indexes) and not 0 <= indexes.min() <= indexes.max() < self._count:
            wrong = indexes.min() if indexes.min() < 0 else indexes.max()
            raise LoaderError(
                f"{self._name} yields {wrong}, and {self._spec.split} of {self._spec.root} has {self._count} samples; "
                f"use indexes from 0 to {self._count - 1}"
            )
        return indexes

    def _listed(self, epoch: int) -> I64:
        most = ENDLESS if self._length is None else self._length
        found = list(islice(self._sampler, most + 1))
        if self._length is None and len(found) > most:
            raise LoaderError(f"{self._name} has no length and yields more than {most} indexes; give it a length")
        if self._length not in (None, len(found)):
            amount = len(found) if len(found) < most else f"more than {most}"
            raise LoaderError(
                f"{self._name} yields {amount} indexes in epoch {epoch}, and its length was {self._length} when the "
                "loader was opened; make every epoch as long, or open a loader per epoch"
            )
        try:
            return np.fromiter(map(operator.index, found), np.int64, len(found))
        except TypeError as error:
            first = next(index for index in found if not hasattr(index, "__index__"))
            if isinstance(first, Iterable) and not isinstance(first, (str, bytes)):
                raise LoaderError(
                    f"{self._name} yields batches, such as {first!r}; pass the sampler of samples, and batch_size"
                ) from error
            raise LoaderError(f"{self._name} must yield the indexes of samples, got {first!r}") from error

    def _is_of_rank(self) -> bool:
        """Return whether the sampler yields the share of this rank only, as DistributedSampler does."""
        replicas, rank = (getattr(self._sampler, name, None) for name in ("num_replicas", "rank"))
        if not isinstance(replicas, int) or replicas == 1:
            return False
        if (rank, replicas) != (self._spec.rank, self._spec.world_size):
            raise LoaderError(
                f"{self._name} yields the share of rank {rank} of {replicas}, and the loader is rank "
                f"{self._spec.rank} of {self._spec.world_size}; make both for the same rank and world size"
            )
        return True

    @property
    def _name(self) -> str:
        return "sampler" if isinstance(self._sampler, Numbers) else f"the sampler {type(self._sampler).__name__}"


@contextmanager
def _seeded(seed: int) -> Generator[None, None, None]:
    """Seed the global generators on the CPU while the block runs, and make its tensors on the CPU."""
    pythons, numpys = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
            yield
    finally:
        random.setstate(pythons)
        np.random.set_state(numpys)
