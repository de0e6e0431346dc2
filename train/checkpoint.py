"""Checkpoints: one file with everything that a run needs to continue as if it had not stopped.

A checkpoint is a dict of plain values and tensors, written by ``torch.save``. ``model`` holds the state dict of the
plain model, as torchvision or timm makes it. ``about`` holds the settings, the classes and the epochs so far.

Reading does not trust the file. No pickled code runs (``weights_only``), and a compressed member cannot expand in
memory. The CRC of every member is checked, which torch does not do: without the check a flipped bit in the weights
stays undetected.
"""

import io
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from ..loaders.launch import training_program
from ..prep import OutputError, TrainingError, to_json, write_atomically
from ..prep.base.disks import reason_of
from ..prep.base.names import is_text
from ..prep.base.paths import GivenPath
from ..prep.base.plurals import counted
from ..prep.base.shell import shell_word
from .config import TrainConfig
from .engine import Learner
from .history import EpochRecord, UnfinishedEpoch
from .models import model_of
from .models.weights import check_archive

# Settings that may differ when a run is resumed: those of paths, speed, memory, damaged images and what is saved.
# Some change a little of what is computed: accumulate cuts the batches of BatchNorm, and tf32 rounds.
FREE_SETTINGS = frozenset(
    {"root", "out", "workers", "device", "resume", "compile", "channels_last", "save_epochs", "save_steps", "on_error"}
    | {"tf32", "cudnn_benchmark", "accumulate", "init", "recipe"}
)
# These change the rest of the run as the user asks: each sample of the epoch under way is still used once.
CHANGEABLE_SETTINGS = frozenset({"epochs", "batch_size", "lr"})
# A path to a file that may have moved, but not appear or disappear.
MOVABLE_SETTINGS = frozenset({"teacher"})


@dataclass(frozen=True, kw_only=True)
class About:
    """The run that a checkpoint belongs to, and the place in the run where it was saved."""

    format: Literal["feedline-checkpoint"] = "feedline-checkpoint"
    version: Literal[1] = 1
    config: TrainConfig
    classes: tuple[str, ...]
    """The id of each class, in the order of the model's outputs."""
    epoch_steps: int
    """Training steps per epoch."""
    images: int | None = None
    """Images in the train split; None in checkpoints of version 0.1."""
    ranks: int = 1
    """Number of processes that trained together."""
    torchrun: str | None = None
    """What ``torchrun_start`` returned to rank 0; None without torchrun, and in checkpoints of version 0.1."""
    running: UnfinishedEpoch
    """The epoch under way; it has no batches at the end of an epoch."""
    history: tuple[EpochRecord, ...]
    """The finished epochs."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint in memory; the dicts are state dicts."""

    about: About
    model: dict[str, Any]
    optimiser: dict[str, Any]
    loader: dict[str, Any]
    scaler: dict[str, Any]
    """Empty unless the run computes in fp16."""
    ema: dict[str, Any] | None
    """The moving average of the weights; None if the run keeps none."""
    rng: dict[str, Any]
    """The states of torch's generators, "cpu" and "cuda": uint8 tensors."""

    def to_bytes(self) -> bytes:
        """Return the content of the checkpoint's file."""
        file = io.BytesIO()
        torch.save({**vars(self), "about": to_json(self.about)}, file)
        return file.getvalue()


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint at ``path``, on the CPU. Raises TrainingError if it is missing, damaged or foreign."""
    check_archive(path)
    return _load(path, mapped=False)


def read_about(path: Path) -> About:
    """Return what the checkpoint at ``path`` says about its run, without reading its tensors.

    Raises TrainingError if it is missing, foreign, or damaged in another place than a tensor.
    """
    check_archive(path, tensors=False)
    return _load(path, mapped=is_text(path)).about  # torch cannot map a file whose path is not UTF-8


def _load(path: Path, *, mapped: bool) -> Checkpoint:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        return TypeAdapter(Checkpoint).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["loc"] in ((), ("about",)) and first["type"] != "value_error":
            raise TrainingError(
                f"{path} is not a feedline checkpoint: it has no settings of a run; weights of another program begin "
                "a run with --init, and are evaluated with --model"
            ) from error
        where = ".".join(str(part) for part in first["loc"]) or "the top level"
        raise TrainingError(
            f"{path} is not a feedline checkpoint: {first['msg']} at {where}; use another checkpoint"
        ) from error
    # A hostile pickle can make torch.load raise any exception: KeyError, AttributeError, RecursionError, ...
    except Exception as error:
        raise TrainingError(
            f"{path} is not a feedline checkpoint: torch cannot read it; use another checkpoint"
        ) from error


def resume_command(path: Path) -> str:
    """Return the command that continues the run of the checkpoint at ``path``, with as many ranks as this process.

    With several nodes, it is the command for each of them.
    """
    return f"{training_program()} --resume {shell_word(path)}"


def check_fit(path: Path, saved: About, now: About) -> None:
    """Raise TrainingError unless the run ``now`` can continue from the checkpoint at ``path``, which has ``saved``."""
    as_large = saved.epoch_steps == now.epoch_steps if saved.images is None else saved.images == now.images
    if saved.classes != now.classes or not as_large:
        raise TrainingError(
            f"{path} was trained on {_size_of(saved)}, and {now.config.root} has {_size_of(now)}"
            f"{' of other classes' * (saved.classes != now.classes and len(saved.classes) == len(now.classes))}; "
            f"resume with the data set that the run began with: {saved.config.root}"
        )
    if now.config.epochs < len(saved.history):
        raise TrainingError(
            f"{path} has {counted(len(saved.history), 'finished epoch')}, more than {now.config.epochs}; "
            "use a larger --epochs"
        )
    before, after = to_json(saved.config), to_json(now.config)
    for name in before.keys() - FREE_SETTINGS - CHANGEABLE_SETTINGS:
        moved = name in MOVABLE_SETTINGS and None not in (before[name], after[name])
        if before[name] != after[name] and not moved:
            raise TrainingError(
                f"{path} was trained with {name} {before[name]}, not {after[name]}; resume with the run's own "
                f"settings: {resume_command(path)}"
            )


def _size_of(about: About) -> str:
    images = counted(about.epoch_steps, "step") if about.images is None else counted(about.images, "image")
    return f"{counted(len(about.classes), 'class', 'classes')} and {images}"


def save_state(about: About, learner: Learner, loader: dict[str, Any]) -> Checkpoint:
    """Return a checkpoint of the learner's state. ``loader`` is the state of the train loader, empty between epochs."""
    return Checkpoint(
        about=about,
        model=learner.model.state_dict(),
        optimiser=learner.optimiser.state_dict(),
        loader=loader,
        scaler=learner.scaler.state_dict(),
        ema=None if learner.ema is None else learner.ema.state_dict(),
        rng=_rng_states(learner.ranks.device),
    )


def restore(path: Path, checkpoint: Checkpoint, learner: Learner) -> None:
    """Load the checkpoint's state into ``learner``. Raises TrainingError if it does not fit the model."""
    device, groups = learner.ranks.device, learner.optimiser.param_groups
    with _state_errors_explained(path, checkpoint):
        learner.model.load_state_dict(checkpoint.model)
        own = [{name: value for name, value in group.items() if name != "params"} for group in groups]
        learner.optimiser.load_state_dict(checkpoint.optimiser)
        for group, settings in zip(learner.optimiser.param_groups, own, strict=True):
            group.update(settings)  # such as fused, which depends on the device
        for weight, state in learner.optimiser.state.items():
            for name, value in state.items():  # such as momentum; Adam's step counts are scalars
                if value.ndim and value.shape != weight.shape:
                    raise ValueError(f"{name} has the shape {tuple(value.shape)}")
        if checkpoint.scaler:
            learner.scaler.load_state_dict(checkpoint.scaler)
        if learner.ema is not None and checkpoint.ema is not None:
            learner.ema.load_state_dict(checkpoint.ema)
        torch.set_rng_state(checkpoint.rng["cpu"])
        if device.startswith("cuda") and "cuda" in checkpoint.rng:
            torch.cuda.set_rng_state(checkpoint.rng["cuda"], device)


def load_model(path: Path, checkpoint: Checkpoint) -> nn.Module:
    """Return the checkpoint's model on the CPU, with the averaged weights if it has them.

    Raises TrainingError if the weights do not fit the model.
    """
    about = checkpoint.about
    model = model_of(about.config, len(about.classes))
    weights = checkpoint.model
    if checkpoint.ema is not None:
        named = {name: value for name, value in checkpoint.ema.items() if name != "n_averaged"}
        weights = {name.removeprefix("module."): value for name, value in named.items()}
    with _state_errors_explained(path, checkpoint):
        model.load_state_dict(weights)
    return model


def _rng_states(device: str) -> dict[str, torch.Tensor]:
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.startswith("cuda") else {})


def export_weights(path: GivenPath, out: GivenPath) -> None:
    """Write only the weights of the checkpoint at ``path`` to ``out``, in the form that torchvision's models load.

    The file is a state dict for ``model.load_state_dict(torch.load(out, weights_only=True))``, of the averaged weights
    if the checkpoint has them. Raises TrainingError for a checkpoint that cannot be used, OutputError if ``out``
    cannot be written.
    """
    path, out, file = Path(path), Path(out), io.BytesIO()
    torch.save(load_model(path, read_checkpoint(path)).state_dict(), file)
    try:
        write_atomically(out, file.getvalue())
    except OSError as error:
        raise OutputError(f"cannot write {out}: {reason_of(error, out)}; choose another --weights-out") from error


@contextmanager
def _state_errors_explained(path: Path, checkpoint: Checkpoint) -> Generator[None, None, None]:
    """Turn any error that torch raises for a state that does not fit into a TrainingError."""
    try:
        yield
    # The states are untrusted data that torch does not validate. A wrong type can raise any of these.
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        name = checkpoint.about.config.model
        raise TrainingError(
            f"{path} does not hold the state of a {name}: its tensors do not fit; use another checkpoint"
        ) from error
