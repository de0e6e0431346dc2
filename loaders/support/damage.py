"""Damaged samples: a sample that cannot be decoded is an error or, with ``on_error="skip"``, skipped and logged.

Workers do not decide between the two. They return a DamagedSample to the loader, and the loader raises or skips in the
caller's thread. A skipped sample makes its batch one smaller and changes nothing else. The number of batches, the
order and the position to resume from stay the same, so that all ranks still take the same number of steps.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch

from ...prep import LoaderError, SampleError
from ...prep.base.errors import StoreError
from ...prep.base.shell import shell_word
from ...prep.limits.reached import limit_reached
from ..spec import LoaderSpec
from ..transforms.calls import Raised

# Without any configuration, logging writes a warning's text to stderr only.
log = logging.getLogger("feedline.loaders")


@dataclass(frozen=True)
class DamagedSample:
    """A sample that cannot be decoded, which a worker returns in addition to its batch or in place of it.

    The worker does not raise: the user would see an exception of a DataLoader worker as a traceback inside a message.
    """

    name: str
    reason: str
    index: int | None
    """The sample's index, or None if more than one sample is lost; such damage is never skipped."""
    intact: bool = False
    """Whether a limit of the system, or the store, is the reason, and not the sample."""

    @classmethod
    def of(cls, name: str, error: Exception, index: int | None) -> Self:
        """Return the damage that ``error`` is; if it is not the sample's, that is never skipped."""
        limit = str(error) if isinstance(error, StoreError) else limit_reached(error)
        # webdataset adds the shard and the member to the error's arguments, of which the first is the text or an errno.
        first = error.args[0] if index is None and error.args else error
        reason = limit or str(error if isinstance(first, int) else first)
        return cls(name, reason, None if limit else index, intact=limit is not None)


class Damage:
    """Raises or skips, as ``spec.on_error`` says, and keeps a list of the skipped samples."""

    def __init__(self, spec: LoaderSpec) -> None:
        self._spec = spec
        self.skipped: dict[int, str] = {}
        """Name and reason by sample index; each sample is listed once, however many epochs are loaded."""

    def admit(self, failures: Iterable[DamagedSample | Raised]) -> None:
        """Store each failure and log it once.

        Raises SampleError for the first that must not be skipped, TransformError for what a transform raised, which is
        never skipped, and LoaderError if a limit of the system was reached.
        """
        for failure in failures:
            if isinstance(failure, Raised):
                raise failure.error()
            if failure.intact:
                raise LoaderError(f"cannot read {failure.name}: {failure.reason}")
            if failure.index is None or self._spec.on_error == "raise":
                raise SampleError(
                    f"cannot decode {failure.name}: {failure.reason}; "
                    f"check the data with: feedline verify {shell_word(self._spec.root)} --decode"
                )
            if failure.index not in self.skipped:
                self.skipped[failure.index] = f"{failure.name}: {failure.reason}"
                log.warning("skipped %s", self.skipped[failure.index])

    def without_skipped(
        self, images: torch.Tensor | list[torch.Tensor], labels: torch.Tensor, indexes: torch.Tensor
    ) -> tuple[torch.Tensor | list[torch.Tensor], torch.Tensor, torch.Tensor]:
        """Return the rows of a batch that were not skipped. Raises SampleError if none is left, unless they may."""
        if not self.skipped:
            return images, labels, indexes
        kept = [row for row, index in enumerate(indexes.tolist()) if index not in self.skipped]
        if not kept and not self._spec.empty_batches:
            raise SampleError(
                f"all {len(indexes)} samples of a batch are damaged, and none is left to load; "
                f"check the data with: feedline verify {shell_word(self._spec.root)} --decode"
            )
        if len(kept) < len(indexes):
            images = [images[row] for row in kept] if isinstance(images, list) else images[kept]
            labels, indexes = labels[kept], indexes[kept]
        return images, labels, indexes
