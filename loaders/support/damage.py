"""Damaged samples: a sample that cannot be decoded is an error or, with ``on_error="skip"``, skipped and logged.

Workers do not decide between the two. They return a DamagedSample to the loader, and the loader raises or skips in the
caller's thread. A skipped sample makes its batch one smaller and changes nothing else. The number of batches, the
order and the position to resume from stay the same, so that all ranks still take the same number of steps.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from ...prep import SampleError
from ..spec import LoaderSpec

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


class Damage:
    """Raises or skips, as ``spec.on_error`` says, and keeps a list of the skipped samples."""

    def __init__(self, spec: LoaderSpec) -> None:
        self._spec = spec
        self.skipped: dict[int, str] = {}
        """Name and reason by sample index; each sample is listed once, however many epochs are loaded."""

    def admit(self, failures: Iterable[DamagedSample]) -> None:
        """Store each failure and log it once. Raises SampleError for the first that must not be skipped."""
        for failure in failures:
            if failure.index is None or self._spec.on_error == "raise":
                raise SampleError(
                    f"cannot decode {failure.name}: {failure.reason}; "
                    f"check the data with: feedline verify {self._spec.root} --decode"
                )
            if failure.index not in self.skipped:
                self.skipped[failure.index] = f"{failure.name}: {failure.reason}"
                log.warning("skipped %s", self.skipped[failure.index])

    def without_skipped(
        self, images: torch.Tensor, labels: torch.Tensor, indexes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the rows of a batch that were not skipped. Raises SampleError if none is left."""
        if not self.skipped:
            return images, labels, indexes
        kept = [row for row, index in enumerate(indexes.tolist()) if index not in self.skipped]
        if not kept:
            raise SampleError(
                f"all {len(indexes)} samples of a batch are damaged, and none is left to load; "
                f"check the data with: feedline verify {self._spec.root} --decode"
            )
        if len(kept) < len(indexes):
            images, labels, indexes = images[kept], labels[kept], indexes[kept]
        return images, labels, indexes
