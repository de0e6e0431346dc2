"""A training run from its settings to its result: it joins the ranks, chooses a loader, opens the data and trains."""

import json
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..loaders.launch import alone_among_tasks, torchrun_start, training_program, was_started_again
from ..loaders.store.roots import open_root
from ..prep import Progress, TrainingError, silent
from ..prep.base.lock import claimed
from ..prep.base.origins import is_url, shown
from ..prep.base.shell import shell_word
from ..prep.limits.memory import failed_allocation, memory_ran_out
from ..prep.processes.parent import stop_with
from ..prep.processes.stop_signals import stops_interrupt
from .checkpoint import FREE_SETTINGS, read_about
from .choose import Choice, choose_loader
from .config import TrainConfig, check_device, resolved
from .data import OpenData, open_data
from .journal import RunDirectory
from .ranks import DeadRank, Ranks, joined_ranks
from .result import TrainResult
from .schedule import image_size
from .trainer import Trainer


def train(
    config: TrainConfig, progress: Progress = silent, notice: Callable[[str], None] = lambda _: None
) -> TrainResult:
    """Train, and write the run directory ``config.out``. Under torchrun, train together with the other ranks.

    ``notice`` is called with a sentence on the chosen loader and on what else was decided, before the first step.

    Raises TrainingError for settings, a loss, a rank or a checkpoint that cannot be used, OutputError for the
    directory, DatasetError and LoaderError for the data. Before it raises an error or KeyboardInterrupt (Ctrl-C,
    SIGTERM and SIGHUP), it saves ``last.pt``, unless the error is a loss that is not finite or a write that failed.
    """
    check_device(config.device)
    open_root(config.root)
    if "TORCHELASTIC_RUN_ID" in os.environ:  # ranks would train on without the torchrun that was killed
        stop_with(os.getppid())
    with (
        stops_interrupt(),
        joined_ranks(config.device) as ranks,
        _next_step_added(config),
        _seeded_generators(config, ranks),
    ):
        config = _after_restart(config, ranks, notice)
        config = _with_saved_settings(_with_chosen_loader(config, ranks, progress, notice), ranks, notice)
        config = resolved(config, ranks.size)
        with (
            open_data(config, ranks) as data,
            _torch_errors_explained(config),
            _gpu_arithmetic(config),
            _each_size_compiled(config),
        ):
            if ranks.rank != 0:
                progress, notice = silent, lambda _: None
            return _run_trainer(config, data, ranks, progress, notice)


def _run_trainer(
    config: TrainConfig, data: OpenData, ranks: Ranks, progress: Progress, notice: Callable[[str], None]
) -> TrainResult:
    """Train to the end. Only this function holds the model, which must be freed before the ranks disconnect."""
    with claimed(config.out, "train") if ranks.rank == 0 else nullcontext():
        trainer = Trainer(config, data, ranks, progress, notice)
        try:
            trainer.train()
        finally:
            trainer.close()
        return trainer.result()


def resumed_config(path: Path, **changes: Any) -> TrainConfig:
    """Return the settings with which the run of the checkpoint at ``path`` continues, with ``changes`` to them.

    If the run followed a recipe, it records that these changes replace the recipe's settings. Raises TrainingError if
    the checkpoint cannot be read, or if its data set is gone and ``changes`` have no other ``root``.
    """
    saved = read_about(path).config
    if "root" not in changes and not is_url(shown(saved.root)) and not saved.root.exists():
        command = f"{training_program()} ROOT --resume {shell_word(path)}"
        raise TrainingError(
            f"the run's data set {saved.root} is not there; put it back, or say where it is now with: {command}"
        )
    new = {name for name in changes.keys() - FREE_SETTINGS if changes[name] != getattr(saved, name)}
    if saved.recipe is not None and new:
        changes["recipe"] = replace(saved.recipe, replaced=tuple(sorted(new.union(saved.recipe.replaced))))
    return replace(saved, **{"resume": path, "out": path.absolute().parent.parent, **changes})


def _after_restart(config: TrainConfig, ranks: Ranks, notice: Callable[[str], None]) -> TrainConfig:
    """Return the settings of ranks that torchrun starts again after one was lost: they continue what the run saved.

    Rank 0 decides for all, because it has written the checkpoint.
    """
    saved = json.loads(ranks.made_by_rank_0("resume", lambda: json.dumps(_saved_by_this_torchrun(config))))
    if saved is None:
        return config
    if ranks.rank == 0:
        notice(f"torchrun started the ranks again; they continue from {saved}")
    return replace(config, resume=Path(saved))


def _saved_by_this_torchrun(config: TrainConfig) -> str | None:
    """Return the path of the checkpoint that ranks of this torchrun have written, None without one.

    A checkpoint of another run, or of this run before it was resumed, is not what the ranks continue.
    """
    saved = RunDirectory(config.out).saved
    start = torchrun_start() if was_started_again() else None
    if saved is None or start is None or read_about(saved).torchrun != start:
        return None
    return str(saved)


@contextmanager
def _next_step_added(config: TrainConfig) -> Generator[None, None, None]:
    """Add the command that continues the run to the error of a rank that died."""
    try:
        yield
    except DeadRank as error:
        raise DeadRank(f"{error}; {RunDirectory(config.out).next_command}") from error


def _with_saved_settings(config: TrainConfig, ranks: Ranks, notice: Callable[[str], None]) -> TrainConfig:
    """Return the config of a resumed run with what only its checkpoint can say, and its rates where it has none.

    Raises TrainingError for other weights to begin from, which a resumed run does not use.
    """
    if config.resume is None:
        return config
    about = read_about(config.resume)
    saved = about.config
    if config.init not in (None, saved.init):
        raise TrainingError(f"{config.resume} has the weights of its run; leave out --init {config.init}, or --resume")
    kept = config.lr in (None, saved.lr)
    config = replace(
        config,
        init=saved.init,
        recipe=config.recipe or saved.recipe,
        lr=saved.lr if kept else config.lr,
        weight_decay=saved.weight_decay if config.weight_decay is None else config.weight_decay,
    )
    before, now = saved.batch_size * about.ranks, config.batch_size * ranks.size
    if kept and before != now and ranks.rank == 0:
        notice(f"a step now takes {now} images instead of {before}; the learning rate stays at {config.lr:g} (--lr)")
    return config


def _with_chosen_loader(
    config: TrainConfig, ranks: Ranks, progress: Progress, notice: Callable[[str], None]
) -> TrainConfig:
    """Return the config with a loader and its workers, the same on all ranks."""
    chosen = ranks.made_by_rank_0("loader", lambda: json.dumps(vars(choose_loader(config, ranks, progress))))
    choice = Choice(**json.loads(chosen))
    if ranks.rank == 0:
        notice(choice.sentence)
        if alone := alone_among_tasks():
            notice(alone)
    return replace(config, loader=choice.loader, workers=choice.workers)


@contextmanager
def _seeded_generators(config: TrainConfig, ranks: Ranks) -> Generator[None, None, None]:
    """Seed torch's generators inside the block, and restore their states after it."""
    with torch.random.fork_rng(devices=[ranks.device] if ranks.device.startswith("cuda") else []):
        torch.manual_seed(config.seed)
        yield


@contextmanager
def _gpu_arithmetic(config: TrainConfig) -> Generator[None, None, None]:
    """Choose TF32 and cuDNN's search for the fastest algorithm inside the block. Both change nothing on the CPU."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    _set_gpu_arithmetic("high" if config.tf32 else "highest", config.tf32, config.cudnn_benchmark)
    try:
        yield
    finally:
        _set_gpu_arithmetic(*before)


def _set_gpu_arithmetic(matmul: str, cudnn_tf32: bool, cudnn_benchmark: bool) -> None:
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = cudnn_tf32
    torch.backends.cudnn.benchmark = cudnn_benchmark


@contextmanager
def _each_size_compiled(config: TrainConfig) -> Generator[None, None, None]:
    """Let torch.compile make as many graphs inside the block as the run needs. Behind its limit it compiles nothing.

    A size of images may need three: for whole batches, for others, and for a single image.
    """
    if not config.compile:
        yield
        return
    from torch._dynamo import config as limits

    name = "recompile_limit" if hasattr(limits, "recompile_limit") else "cache_size_limit"  # before torch 2.6
    sizes = {image_size(config, epoch) for epoch in range(config.epochs)}
    with limits.patch(**{name: max(getattr(limits, name), 3 * len(sizes))}):
        yield


@contextmanager
def _torch_errors_explained(config: TrainConfig) -> Generator[None, None, None]:
    """Turn two errors of torch, out of memory and a failed compilation, into a TrainingError of one sentence."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if failed_allocation(error):
            fewer = "" if config.device.startswith("cuda") else ", or fewer --workers"
            way_out = f"use a larger --accumulate or a smaller --batch-size{fewer}"
            raise TrainingError(f"in training, {memory_ran_out(error, way_out)}") from error
        if config.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = str(error).strip().partition("\n")[0]
            raise TrainingError(f"torch.compile failed ({reason}); train without --compile") from error
        raise
