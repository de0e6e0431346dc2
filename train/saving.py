"""The checkpoints of one training: which files are written when, and which states are not saved.

All ranks hold the same state, and rank 0 writes it. Weights that are not finite are never written. DDP averages the
gradients of a loss that is not finite into the weights of all ranks, also of those that have not learned of this loss.
"""

import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..loaders.launch import torchrun_start
from ..prep import OutputError
from .checkpoint import About, save_state
from .config import TrainConfig
from .data import OpenData
from .engine import Learner
from .history import EpochRecord, UnfinishedEpoch, is_best
from .journal import RunDirectory
from .metrics import NotFinite
from .ranks import Ranks, diverged

OPTIMISERS = ("/torch/optim/", "/timm/optim/")
"""The code that changes the weights."""


@dataclass(frozen=True, kw_only=True)
class Saver:
    """Writes the state of a run into its directory."""

    config: TrainConfig
    data: OpenData
    ranks: Ranks
    learner: Learner
    directory: RunDirectory
    epoch_steps: int

    def about(self, running: UnfinishedEpoch, history: tuple[EpochRecord, ...]) -> About:
        """Return what a checkpoint says about the run at this place."""
        teacher = self.config.teacher
        return About(
            config=replace(
                self.config,
                root=self.config.root.absolute(),
                teacher=None if teacher is None else teacher.absolute(),
            ),
            classes=self.data.class_ids,
            epoch_steps=self.epoch_steps,
            images=len(self.data.train.loader.dataset),
            ranks=self.ranks.size,
            torchrun=torchrun_start(),
            running=running,
            history=history,
        )

    def require_finite(self, step: int) -> None:
        """Raise NotFinite if a weight is infinite or not a number. The loss shows it only in the next step."""
        finite = [torch.isfinite(weight).all() for weight in self.learner.model.parameters()]
        if not torch.stack(finite).all():  # waits for a GPU once
            raise NotFinite("the weights are no longer finite", step)

    def write(self, about: About, loader: dict[str, Any], *paths: Path) -> None:
        """Write a checkpoint of the current state to each path, on rank 0 only."""
        if self.ranks.rank == 0:
            data = save_state(about, self.learner, loader).to_bytes()
            for path in paths:
                self.directory.write(path, data)

    def paths_of_epoch(self, history: tuple[EpochRecord, ...]) -> list[Path]:
        """Return the files to write at the end of the last epoch of ``history``.

        ``last.pt`` is written last. A run that is killed between two writes resumes before the end of this epoch and
        writes all of them again.
        """
        epoch, paths = history[-1].epoch, [self.directory.last]
        if is_best(history):
            paths.insert(0, self.directory.best)
        if self.config.save_epochs and epoch % self.config.save_epochs == 0:
            paths.insert(0, self.directory.epoch(epoch))
        return paths


def leaves_state(error: Exception) -> bool:
    """Return whether the state is one to be saved after an error: neither the weights nor the disk are broken."""
    return not (diverged(error) or isinstance(error, OutputError) or _in_update(error))


def _in_update(error: Exception) -> bool:
    """Return whether an error came while the optimiser changed the weights, so that only some are changed."""
    places = traceback.walk_tb(error.__traceback__)
    files = (Path(frame.f_code.co_filename).as_posix() for frame, _ in places)
    return any(library in file for file in files for library in OPTIMISERS)
