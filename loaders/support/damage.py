"""What becomes of a sample that cannot be decoded: a clear error or, with ``on_error="skip"``, a report.

Workers do not decide: they hand a Failure to the loader, and the loader, in the caller's thread, raises or skips.
A skipped sample makes its batch one smaller and moves nothing else: the number of batches, the order and the place
to resume from stay as they were, so that all ranks still take the same number of steps.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from ...prep import SampleError
from ..base import LoaderSpec

# Without any set-up, logging writes a warning's text to stderr, and to nothing else.
log = logging.getLogger("feedline.loaders")


@dataclass(frozen=True)
class DamagedSample:
    """A sample that cannot be decoded: what a worker sends beside its batch, or in place of it.

    An exception raised in a DataLoader worker reaches the user as a traceback inside a message.
    """

    name: str
    reason: str
    index: int | None
    """The sample's index; None where more is lost than one sample, which is never skipped."""


class Damage:
    """Raises or skips, as ``spec.on_error`` says, and remembers what was skipped."""

    def __init__(self, spec: LoaderSpec) -> None:
        self._spec = spec
        self.skipped: dict[int, str] = {}
        """Name and reason by sample index, each sample once, however many epochs."""

    def admit(self, failures: Iterable[DamagedSample]) -> None:
        """Note each failure and log it once. Raises SampleError for the first that must not be skipped."""
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
        """Return the rows of a batch that were not skipped. Raises SampleError when none is left."""
        kept = [row for row, index in enumerate(indexes.tolist()) if index not in self.skipped]
        if not kept:
            raise SampleError(
                f"all {len(indexes)} samples of a batch are damaged, nothing is left to hand out; "
                f"check the data with: feedline verify {self._spec.root} --decode"
            )
        if len(kept) < len(indexes):
            images, labels, indexes = images[kept], labels[kept], indexes[kept]
        return images, labels, indexes
