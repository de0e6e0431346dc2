"""Lightning's Trainer on a root: its epochs, its checkpoints in mid-epoch, its limits and its ranks."""

import itertools
import json
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from feedline.loaders import LoaderSpec, open_loader

from ...processes import finished

pytestmark = [
    pytest.mark.slow,  # importing Lightning takes seconds
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # of Lightning's own imports
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),  # the resumed training saves nothing
]

FIELDS: dict[str, Any] = {"batch_size": 10, "image_size": 16, "seed": 5}


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def library(request: pytest.FixtureRequest) -> Any:
    """Both distributions of Lightning."""
    return pytest.importorskip(request.param)


@pytest.fixture
def data_module(library: Any, root: Path) -> Callable[..., Any]:
    """Makes data modules of the root."""
    from feedline.loaders.adapters.lightning import FeedlineData, FeedlineDataModule

    if library.__name__ == "pytorch_lightning":

        class OwnDataModule(FeedlineData, library.LightningDataModule):
            pass

        return lambda **fields: OwnDataModule(root, **{**FIELDS, **fields})
    return lambda **fields: FeedlineDataModule(root, **{**FIELDS, **fields})


@pytest.fixture
def training(library: Any, tmp_path: Path) -> Callable[..., Any]:
    """Trains a model that keeps a sum over the pixels of each batch; returns the model."""

    class Model(library.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 4)
            self.seen: list[int] = []
            self.validated: list[int] = []

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            images, labels = batch
            self.seen.append(int(images.sum()))
            return torch.nn.functional.cross_entropy(self.layer(images.float().mean((2, 3)) / 255), labels)

        def validation_step(self, batch: Any, _: int) -> None:
            self.validated.append(len(batch[1]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.01)

    def trains(data: Any, resume: str | None = None, **options: Any) -> Any:
        model = Model()
        trainer = library.Trainer(
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            **{"enable_checkpointing": False, **options},
        )
        arguments = {"datamodule": data} if hasattr(data, "prepare_data") else {"train_dataloaders": data}
        trainer.fit(model, ckpt_path=resume, **arguments)
        return model

    return trains


@pytest.fixture(scope="module")
def epochs(root: Path) -> list[list[int]]:
    """The sums over the pixels of the batches of epochs 0 to 3."""
    with open_loader("threaded", LoaderSpec.train(root, **FIELDS)) as loader:
        return [[int(batch.images.sum()) for batch in loader] for _ in range(4)]


def test_epochs_are_those_of_the_loader(data_module: Any, training: Any, epochs: list[list[int]]) -> None:
    """Several, each another; the sanity check takes batches of the validation only."""
    model = training(data_module(), max_epochs=3)
    assert model.seen == list(itertools.chain(*epochs[:3]))
    with open_loader("threaded", LoaderSpec.eval(data_module()._root, **FIELDS)) as loader:
        sizes = [len(batch.labels) for batch in loader]
    assert model.validated == sizes[:2] + sizes * 3


def test_limit_train_batches_gives_other_batches_each_epoch(
    data_module: Any, training: Any, epochs: list[list[int]]
) -> None:
    """The first of each epoch; also if Lightning reloads the loaders."""
    first = [total for epoch in epochs[:3] for total in epoch[:2]]
    assert training(data_module(), max_epochs=3, limit_train_batches=2).seen == first
    reloaded = training(data_module(), max_epochs=3, limit_train_batches=2, reload_dataloaders_every_n_epochs=1)
    assert reloaded.seen == first


@pytest.mark.parametrize("step", [3, 8, 11])
def test_a_checkpoint_in_mid_epoch_goes_on_with_the_very_next_batch(
    step: int, library: Any, data_module: Any, training: Any, epochs: list[list[int]], tmp_path: Path
) -> None:
    """The public complaint is that it begins the epoch again. 8 steps are one epoch."""
    saving = library.callbacks.ModelCheckpoint(tmp_path, every_n_train_steps=step, save_top_k=-1, filename="{step}")
    whole = training(data_module(), max_epochs=3, callbacks=[saving], enable_checkpointing=True)
    resumed = training(data_module(), max_epochs=3, resume=str(tmp_path / f"step={step}.ckpt"))
    assert whole.seen == list(itertools.chain(*epochs[:3]))
    assert resumed.seen == whole.seen[step:]


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*no `val_dataloader`")
def test_the_stand_in_of_a_data_loader_works_too(root: Path, training: Any, epochs: list[list[int]]) -> None:
    """Lightning adds no sampler to it."""
    from feedline.loaders.adapters.torch import TorchDataLoader

    with open_loader("threaded", LoaderSpec.train(root, **FIELDS)) as loader:
        assert training(TorchDataLoader(loader), max_epochs=2).seen == list(itertools.chain(*epochs[:2]))


SCRIPT = """
import json, sys, torch
from lightning.pytorch import LightningModule, Trainer
from feedline.loaders.adapters.lightning import FeedlineDataModule

class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer, self.seen, self.validated = torch.nn.Linear(3, 4), [], []
    def training_step(self, batch, _):
        self.seen.append(int(batch[0].sum()))
        return torch.nn.functional.cross_entropy(self.layer(batch[0].float().mean((2, 3))), batch[1])
    def validation_step(self, batch, _):
        self.validated.append(len(batch[1]))
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)

root, out = sys.argv[1:]
trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, logger=False, enable_checkpointing=False,
                  enable_progress_bar=False, num_sanity_val_steps=0, default_root_dir=out)
model = Model()
trainer.fit(model, datamodule=FeedlineDataModule(root, batch_size=10, image_size=16, seed=5))
with open(f"{out}/{trainer.global_rank}.json", "w") as file:
    json.dump([model.seen, model.validated], file)
"""


def test_two_processes_share_an_epoch(root: Path, tmp_path: Path) -> None:
    """DDP over gloo: each process has the share of its rank, although the data module is made before the ranks are."""
    pytest.importorskip("lightning")
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    script = tmp_path / "train.py"
    script.write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, str(script), str(root), str(tmp_path)]
    done = finished(command, environment={"MASTER_PORT": str(port)})
    assert done.returncode == 0, done.stderr
    validated: list[int] = []
    for rank in range(2):
        seen, sizes = json.loads((tmp_path / f"{rank}.json").read_text("utf-8"))
        validated += sizes
        spec = LoaderSpec.train(root, **FIELDS, rank=rank, world_size=2)
        with open_loader("threaded", spec) as loader:
            assert seen == [int(batch.images.sum()) for _ in range(2) for batch in loader]
    with open_loader("threaded", LoaderSpec.eval(root, **FIELDS)) as loader:
        assert sum(validated) == 2 * len(loader.dataset)
