"""The loops that ``claims.loops`` measures, each with torchvision's ImageFolder and DataLoader, and with feedline.

The model is next to nothing, so that the data decides. It counts the images and takes the times, in every loop alike.
"""

import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import normalize

from ...loaders import Batch, Loader, LoaderSpec, open_loader
from ...loaders.adapters.torch import TorchDataLoader

Kind = Literal["before", "after"]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all loops do."""

    root: Path
    loader: str
    batch_size: int
    image_size: int
    workers: int
    epochs: int
    """Including the first, which is not measured."""


@dataclass
class Meter:
    """The images and the times of a loop's batches."""

    counts: list[int] = field(default_factory=list[int])
    times: list[float] = field(default_factory=list[float])

    def take(self, images: torch.Tensor) -> None:
        self.counts.append(len(images))
        self.times.append(time.perf_counter())


class Model(nn.Module):
    """A linear layer over the mean colour."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1000)
        self.meter = meter

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        self.meter.take(pixel_values)
        logits = self.layer(pixel_values[:, :, ::16, ::16].float().mean((2, 3)))
        return logits if labels is None else {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def folder_of(setting: Setting) -> ImageFolder:
    """Return the data set of torchvision's documentation and of pytorch/examples."""
    steps = [
        transforms.RandomResizedCrop(setting.image_size),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    return ImageFolder(setting.root / "train", transforms.Compose(steps))


def data_loader_of(setting: Setting) -> DataLoader[Any]:
    return DataLoader(
        folder_of(setting),
        setting.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=setting.workers,
        persistent_workers=setting.workers > 0,
    )


def opened(setting: Setting) -> AbstractContextManager[Loader]:
    spec = LoaderSpec.train(
        setting.root, batch_size=setting.batch_size, image_size=setting.image_size, workers=setting.workers
    )
    return open_loader(setting.loader, spec)


def normalised(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    return normalize(batch.images / 255, [*MEAN], [*STD]), batch.labels


def _train(model: nn.Module, batches: Any, epochs: int, backward: Callable[[torch.Tensor], Any]) -> None:
    optimiser = torch.optim.SGD(model.parameters(), 0.01)
    for _ in range(epochs):
        for images, labels in batches:
            loss = nn.functional.cross_entropy(model(images), labels)
            optimiser.zero_grad()
            backward(loss)
            optimiser.step()


def in_torch(setting: Setting, kind: Kind, meter: Meter) -> None:
    """Run the loop of pytorch/examples."""
    if kind == "before":
        _train(Model(meter), data_loader_of(setting), setting.epochs, torch.Tensor.backward)
        return
    with opened(setting) as loader:
        _train(Model(meter), TorchDataLoader(loader, form=normalised), setting.epochs, torch.Tensor.backward)


def in_accelerate(setting: Setting, kind: Kind, meter: Meter) -> None:
    """Run the loop of Accelerate's examples."""
    from accelerate import Accelerator

    from ...loaders.adapters.accelerate import AccelerateDataLoader

    accelerator = Accelerator(cpu=True)
    model: Any = accelerator.prepare(Model(meter))
    if kind == "before":
        _train(model, accelerator.prepare(data_loader_of(setting)), setting.epochs, accelerator.backward)
        return
    with opened(setting) as loader:
        batches: Any = accelerator.prepare(AccelerateDataLoader(loader, form=normalised))
        _train(model, batches, setting.epochs, accelerator.backward)


def in_timm(setting: Setting, kind: Kind, meter: Meter) -> None:
    """Run the loaders of timm's train.py."""
    from timm.data.dataset_factory import create_dataset
    from timm.data.loader import create_loader

    from ...loaders.adapters import timm as ours

    makes: Any = (create_dataset, create_loader) if kind == "before" else (ours.create_dataset, ours.create_loader)
    name = f"feedline/{setting.loader}" if kind == "after" else ""
    batches = makes[1](
        makes[0](name, root=str(setting.root), split="train", is_training=True),
        input_size=(3, setting.image_size, setting.image_size),
        batch_size=setting.batch_size,
        is_training=True,
        color_jitter=0.0,
        interpolation="bilinear",
        num_workers=setting.workers,
        device=torch.device("cpu"),
    )
    if kind == "before":
        _train(Model(meter), batches, setting.epochs, torch.Tensor.backward)
        return
    with closing(batches.loader):
        _train(Model(meter), batches, setting.epochs, torch.Tensor.backward)


def in_lightning(setting: Setting, kind: Kind, meter: Meter) -> None:
    """Run Lightning's Trainer."""
    from lightning.pytorch import LightningModule, Trainer

    from ...loaders.adapters.lightning import FeedlineDataModule

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = Model(meter)

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            images, labels = batch
            if images.dtype == torch.uint8:
                images = normalize(images / 255, [*MEAN], [*STD])
            return nn.functional.cross_entropy(self.model(images), labels)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.01)

    with tempfile.TemporaryDirectory() as place:
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=setting.epochs,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=place,
        )
        if kind == "before":
            trainer.fit(Module(), data_loader_of(setting))
            return
        data = FeedlineDataModule(
            setting.root,
            loader=setting.loader,
            batch_size=setting.batch_size,
            image_size=setting.image_size,
            workers=setting.workers,
        )
        trainer.fit(Module(), datamodule=data)


def in_transformers(setting: Setting, kind: Kind, meter: Meter) -> None:
    """Run Transformers' Trainer."""
    from transformers import Trainer, TrainingArguments

    from ...loaders.adapters.transformers import FeedlineTrainer

    def collate(samples: list[Any]) -> dict[str, torch.Tensor]:
        images, labels = zip(*samples, strict=True)
        return {"pixel_values": torch.stack(images), "labels": torch.tensor(labels)}

    def inputs(batch: Batch) -> dict[str, torch.Tensor]:
        images, labels = normalised(batch)
        return {"pixel_values": images, "labels": labels}

    with tempfile.TemporaryDirectory() as place:
        arguments = TrainingArguments(
            place,
            use_cpu=True,
            disable_tqdm=True,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            num_train_epochs=setting.epochs,
            per_device_train_batch_size=setting.batch_size,
            dataloader_drop_last=True,
            dataloader_num_workers=setting.workers,
            dataloader_persistent_workers=setting.workers > 0,
            dataloader_pin_memory=False,
        )
        if kind == "before":
            Trainer(Model(meter), arguments, data_collator=collate, train_dataset=folder_of(setting)).train()
            return
        with opened(setting) as loader:
            FeedlineTrainer(Model(meter), arguments, train_loader=loader, form=inputs).train()


LOOPS: dict[str, Callable[[Setting, Kind, Meter], None]] = {
    "pytorch/examples": in_torch,
    "timm": in_timm,
    "Lightning": in_lightning,
    "Accelerate": in_accelerate,
    "Transformers": in_transformers,
}


def run_loop(name: str, setting: Setting, kind: Kind) -> Meter:
    """Return what the model of a loop counted."""
    meter = Meter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' own, about settings that make no difference here
        LOOPS[name](setting, kind, meter)
    return meter
