"""Checkpoints: everything that a run needs to go on as if it had never stopped, in one file.

A checkpoint is what ``torch.save`` makes of plain values and tensors: ``model`` holds the state dict of a plain
torchvision ResNet, ``about`` says which one, trained how, and how far. Reading trusts nothing. No pickled code
runs (``weights_only``), a compressed member cannot swell up in memory, and every member's CRC is checked, which
torch leaves out: without it a flipped bit in the weights goes unnoticed.
"""

import io
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import TypeAdapter, ValidationError
from torchvision.models import ResNet

from ..prep import OutputError, TrainingError, to_json, write_atomically
from .config import TrainConfig
from .engine import Learner
from .history import EpochRecord, Running
from .models import build_model

# A ResNet-101 with its momentum is 0.4 GB.
MAX_BYTES = 4 * 1024**3

# Settings that may differ on resuming: they say where and how fast, not what is computed.
FREE_SETTINGS = frozenset(
    {"root", "out", "workers", "device", "resume", "compile", "channels_last", "save_epochs", "save_steps"}
)


@dataclass(frozen=True, kw_only=True)
class About:
    """What a checkpoint is of, and the place in the run where it was made."""

    format: Literal["feedline-checkpoint"] = "feedline-checkpoint"
    version: Literal[1] = 1
    config: TrainConfig
    classes: tuple[str, ...]
    """The wnid of each class, in the order of the model's outputs."""
    epoch_steps: int
    """Training steps per epoch."""
    ranks: int = 1
    """Processes that trained together."""
    running: Running
    """The epoch that was not finished, as far as it went."""
    history: tuple[EpochRecord, ...]
    """The finished epochs."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint in memory; the dicts are state dicts."""

    about: About
    model: dict[str, Any]
    optimiser: dict[str, Any]
    schedule: dict[str, Any]
    loader: dict[str, Any]
    scaler: dict[str, Any]
    """Empty unless the run computes in fp16."""
    ema: dict[str, Any] | None
    """The moving average of the weights, where the run keeps one."""
    rng: dict[str, Any]
    """uint8 tensors: the states of torch's generators, "cpu" and "cuda"."""

    def to_bytes(self) -> bytes:
        """Return the content of the checkpoint's file."""
        file = io.BytesIO()
        torch.save({**vars(self), "about": to_json(self.about)}, file)
        return file.getvalue()


def write_checkpoint(path: Path, data: bytes) -> None:
    """Make ``path`` hold a checkpoint's bytes, or leave it as it was. Raises OutputError when that fails."""
    try:
        write_atomically(path, data)
    except OSError as error:
        raise OutputError(
            f"cannot write {path} ({len(data)} bytes): {error.strerror}; make room there, then continue the run "
            "with --resume"
        ) from error


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint at ``path``, on the CPU. Raises TrainingError when it is missing, damaged or foreign."""
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return TypeAdapter(Checkpoint).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the top level"
        raise TrainingError(f"{path} is not a feedline checkpoint: {first['msg']} at {where}") from error
    # A hostile pickle can make torch's reader raise anything: KeyError, AttributeError, RecursionError, ...
    except Exception as error:
        raise TrainingError(f"{path} is not a feedline checkpoint: torch refuses to read it") from error


def _check_archive(path: Path) -> None:
    """Raise TrainingError unless ``path`` is a whole zip archive of stored members, as torch writes it."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > min(MAX_BYTES, path.stat().st_size):
                raise TrainingError(f"{path} is not a checkpoint: it claims to hold {size} bytes")
            damaged = archive.testzip()
    except OSError as error:
        raise TrainingError(f"cannot read the checkpoint {path}: {error.strerror}") from error
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError, EOFError) as error:
        raise TrainingError(f"{path} is damaged or not a checkpoint: {error}") from error
    if damaged is not None:
        raise TrainingError(f"{path} is damaged: its member {damaged} has a wrong CRC; use another checkpoint")


def check_fit(path: Path, saved: About, now: About) -> None:
    """Raise TrainingError unless the run that ``now`` describes can go on from the checkpoint ``saved`` at ``path``."""
    if saved.ranks != now.ranks:
        raise TrainingError(
            f"{path} was trained by {saved.ranks} ranks, not {now.ranks}; resume with torchrun "
            f"--nproc-per-node={saved.ranks}"
        )
    if (saved.classes, saved.epoch_steps) != (now.classes, now.epoch_steps):
        raise TrainingError(
            f"{path} was trained on {len(saved.classes)} classes in {saved.epoch_steps} steps an epoch, and "
            f"{now.config.root} has {len(now.classes)}{'' if saved.classes == now.classes else ' others'} in "
            f"{now.epoch_steps}; resume on the data set that the run began with"
        )
    before, after = to_json(saved.config), to_json(now.config)
    for name in before.keys() - FREE_SETTINGS:
        if before[name] != after[name]:
            raise TrainingError(
                f"{path} was trained with {name} {before[name]}, not {after[name]}; resume with the run's own settings"
            )


def save_state(about: About, learner: Learner, loader: dict[str, Any]) -> Checkpoint:
    """Return the checkpoint of this moment. ``loader`` is the state of the train loader, empty between epochs."""
    return Checkpoint(
        about=about,
        model=learner.model.state_dict(),
        optimiser=learner.optimiser.state_dict(),
        schedule=learner.schedule.state_dict(),
        loader=loader,
        scaler=learner.scaler.state_dict(),
        ema=None if learner.ema is None else learner.ema.state_dict(),
        rng=_rng_states(learner.ranks.device),
    )


def restore(path: Path, checkpoint: Checkpoint, learner: Learner) -> None:
    """Put the checkpoint's state into ``learner``. Raises TrainingError when it does not fit the model."""
    device = learner.ranks.device
    with _foreign_state(path, checkpoint):
        learner.model.load_state_dict(checkpoint.model)
        learner.optimiser.load_state_dict(checkpoint.optimiser)
        learner.schedule.load_state_dict(checkpoint.schedule)
        for weight, state in learner.optimiser.state.items():
            for name, value in state.items():  # momentum and the like; Adam's step counts are scalars
                if value.ndim and value.shape != weight.shape:
                    raise ValueError(f"{name} has the shape {tuple(value.shape)}")
        if checkpoint.scaler:
            learner.scaler.load_state_dict(checkpoint.scaler)
        if learner.ema is not None and checkpoint.ema is not None:
            learner.ema.load_state_dict(checkpoint.ema)
        torch.set_rng_state(checkpoint.rng["cpu"])
        if device.startswith("cuda") and "cuda" in checkpoint.rng:
            torch.cuda.set_rng_state(checkpoint.rng["cuda"], device)


def load_model(path: Path, checkpoint: Checkpoint) -> ResNet:
    """Return the checkpoint's model on the CPU, with the averaged weights where it has them.

    Raises TrainingError when the weights do not fit the model.
    """
    about = checkpoint.about
    model = build_model(about.config.model, len(about.classes), stem=about.config.stem, seed=about.config.seed)
    weights = checkpoint.model
    if checkpoint.ema is not None:
        named = {name: value for name, value in checkpoint.ema.items() if name != "n_averaged"}
        weights = {name.removeprefix("module."): value for name, value in named.items()}
    with _foreign_state(path, checkpoint):
        model.load_state_dict(weights)
    return model


def _rng_states(device: str) -> dict[str, torch.Tensor]:
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.startswith("cuda") else {})


def export_weights(path: Path, out: Path) -> None:
    """Write the weights of the checkpoint at ``path`` alone, as torchvision's own models load them.

    The file is a state dict, of the averaged weights where there are any, for
    ``model.load_state_dict(torch.load(out, weights_only=True))``. Raises TrainingError for a checkpoint that cannot
    be used, OutputError when ``out`` cannot be written.
    """
    file = io.BytesIO()
    torch.save(load_model(path, read_checkpoint(path)).state_dict(), file)
    try:
        write_atomically(out, file.getvalue())
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror}; choose another --weights-out") from error


@contextmanager
def _foreign_state(path: Path, checkpoint: Checkpoint) -> Generator[None, None, None]:
    """Turn whatever a state that does not fit makes torch raise into one TrainingError."""
    try:
        yield
    # The states are foreign data that torch does not validate: a wrong type surfaces as any of these.
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        name = checkpoint.about.config.model
        raise TrainingError(f"{path} does not hold the state of a {name}: its tensors do not fit") from error
