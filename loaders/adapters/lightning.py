"""A LightningDataModule over a root, for ``lightning`` and for ``pytorch_lightning``.

Lightning keeps the state of what ``train_dataloader`` returns in its checkpoints, and loads it before the first batch.
So a training that is resumed in the middle of an epoch goes on with the very next batch. Lightning also counts the
epochs and adds no DistributedSampler, because what it gets is no DataLoader: the loaders share the samples by rank.
"""

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from ..base import Loader
from ..spec import LoaderSpec
from ..table import open_loader
from .torch import IterableBatches

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule
else:
    try:
        from lightning.pytorch import LightningDataModule
    except ModuleNotFoundError:
        from pytorch_lightning import LightningDataModule

Kind = Literal["train", "val", "test"]


class FeedlineData:
    """The hooks of a data module. Combine it with the LightningDataModule of another package than ``lightning``."""

    def __init__(
        self,
        root: str | PathLike[str],
        *,
        loader: str = "threaded",
        train: Mapping[str, Any] | None = None,
        val: Mapping[str, Any] | None = None,
        test: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """Read ``root`` with the loader called ``loader``.

        ``fields`` are fields of all specs; ``train``, ``val`` and ``test`` replace them for one. Training begins with
        ``LoaderSpec.train``, the others with ``LoaderSpec.eval``, so validation and test both read ``val`` unless
        ``test`` names another split. Rank, world size and device are the trainer's.
        """
        super().__init__()
        self._root, self._loader, self._fields = root, loader, fields
        self._own: dict[Kind, Mapping[str, Any]] = {"train": train or {}, "val": val or {}, "test": test or {}}
        self._opened: dict[Kind, Loader] = {}

    def train_dataloader(self) -> IterableBatches:
        batches = self._batches("train")
        batches.set_epoch(_trainer_of(self).current_epoch)
        return batches

    def val_dataloader(self) -> IterableBatches:
        return self._batches("val")

    def test_dataloader(self) -> IterableBatches:
        return self._batches("test")

    def teardown(self, stage: str) -> None:
        """Close the loaders."""
        while self._opened:
            self._opened.popitem()[1].close()

    def _batches(self, kind: Kind) -> IterableBatches:
        if kind not in self._opened:  # Lightning may request it again for each epoch, which then goes on
            self._opened[kind] = open_loader(self._loader, self._spec(kind))
        return IterableBatches(self._opened[kind])

    def _spec(self, kind: Kind) -> LoaderSpec:
        trainer = _trainer_of(self)
        device = trainer.strategy.root_device
        of_trainer = {
            "rank": trainer.global_rank,
            "world_size": trainer.world_size,
            "device": device if device.type == "cuda" else "cpu",
        }
        preset = LoaderSpec.train if kind == "train" else LoaderSpec.eval
        return preset(self._root, **{**of_trainer, **self._fields, **self._own[kind]})


class FeedlineDataModule(FeedlineData, LightningDataModule):
    """The data module of ``lightning``, or of ``pytorch_lightning`` if ``lightning`` is not installed."""


def _trainer_of(module: Any) -> Any:
    return module.trainer
