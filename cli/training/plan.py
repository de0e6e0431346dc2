"""``feedline train --dry-run``: the plan of a run as a table, with the time that bench records predict."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ...prep import to_json
from ...prep.base.origins import shown
from ...prep.base.plurals import counted
from ..console import echo_json, plain_cell, say, stderr_console
from .config import is_rank_0, number_of_ranks

if TYPE_CHECKING:
    from ...train import RunPlan, TrainConfig
    from .predicted import Prediction

# Settings that change train images, labels or the loss, in the order in which they act.
AUGMENTATION = (
    *("scale", "ratio", "flip", "interpolation", "repeat", "colour_jitter", "augment", "erase", "mixup", "cutmix"),
    *("mix_probability", "mix_switch", "mix_mode", "label_smoothing", "loss", "bce_threshold", "drop_path", "teacher"),
)


def records_near(root: Path, records: Path | None) -> list[Path]:
    """Return the directories in which bench records are looked for: ``records``, or those of ROOT and of here."""
    return [records] if records else [place for place in (root / "bench", Path("bench")) if place.is_dir()]


def show_plan(config: "TrainConfig", places: list[Path], as_json: bool) -> None:
    """Print what a training would do. Under torchrun, only the first process prints."""
    from ...prep import OutputError
    from ...train import plan_run
    from ...train.journal import RunDirectory
    from .predicted import predict

    if not is_rank_0():
        return
    plan = plan_run(config, number_of_ranks())
    predicted = predict(plan, places)
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows(plan):
        table.add_row(name, plain_cell(text))
    stderr_console().print(table)
    say(predicted.sentence)
    try:
        RunDirectory(config.out).check(config)
    except OutputError as error:
        say(f"the run would end at its start: {error}")
    say("nothing was trained; leave out --dry-run to train")
    if as_json:
        echo_json(_document(plan, predicted))


def rows(plan: "RunPlan") -> list[tuple[str, str]]:
    """Return the table's rows."""
    config, memory = plan.config, plan.memory
    recipe = [] if config.recipe is None else [("recipe", _recipe(config))]
    val = "no labelled val split" if plan.val_images is None else f"{plan.val_images:,} val"
    parts = f", in {config.accumulate} parts of {plan.part}" if config.accumulate > 1 else ""
    ranks = f" on {plan.ranks} ranks, {config.batch_size} each" if plan.ranks > 1 else ""
    return [
        *recipe,
        ("data", f"{shown(config.root)}: {plan.classes} classes, {plan.images:,} train images, {val}"),
        ("model", f"{config.model}, {config.stem} stem, {memory.parameters:,} parameters"),
        ("steps", f"{counted(config.epochs, 'epoch')} of {plan.steps_per_epoch:,} = {counted(plan.steps, 'step')}"),
        ("batch", f"{counted(plan.batch, 'image')} a step{ranks}{parts}"),
        ("image size", _sizes(plan)),
        ("evaluation", _evaluation(config)),
        ("optimiser", _optimiser(config)),
        ("learning rate", "; ".join(f"{p.place} step ({p.step:,}, epoch {p.epoch}) {p.lr:.4g}" for p in plan.rates)),
        ("augmentation", _augmentation(config)),
        ("memory", _memory(plan)),
        ("disk", _disk(plan)),
    ]


def _recipe(config: "TrainConfig") -> str:
    assert config.recipe is not None
    replaced = f"; replaced: {', '.join(config.recipe.replaced)}" if config.recipe.replaced else ""
    return f"{config.recipe.name} (SHA-256 {config.recipe.sha256[:12]}){replaced}"


def _sizes(plan: "RunPlan") -> str:
    if len(plan.sizes) == 1:
        return f"{plan.sizes[0].image_size} px"
    return "; ".join(f"{s.image_size} px in epochs {s.first_epoch} to {s.last_epoch}" for s in plan.sizes)


def _evaluation(config: "TrainConfig") -> str:
    size = config.eval_image_size or config.image_size
    flip = ", the mean with the mirror image" if config.eval_flip else ""
    return f"{size} px from the centre of a short side of {config.eval_resize or round(size * 256 / 224)} px{flip}"


def _optimiser(config: "TrainConfig") -> str:
    momentum = f", {'Nesterov ' * config.nesterov}momentum {config.momentum:g}" if config.optimiser == "sgd" else ""
    average = "" if config.ema is None else f", averaged by {config.ema:g} every {config.ema_steps} steps"
    decays = (config.weight_decay or 0.0, config.norm_weight_decay, config.bias_weight_decay)
    return "{}{}, weight decay {:g} (norms {:g}, biases {:g}){}".format(config.optimiser, momentum, *decays, average)


def _augmentation(config: "TrainConfig") -> str:
    """Return the settings that are not the defaults; the default is a random crop and a flip."""
    defaults = {part.name: part.default for part in fields(config)}
    changed = [name for name in AUGMENTATION if getattr(config, name) != defaults[name]]
    return ", ".join(["random crop, flip", *(f"{name} {getattr(config, name)}" for name in changed)])


def _memory(plan: "RunPlan") -> str:
    memory = plan.memory
    known = (("weights", memory.weights), ("gradients", memory.gradients), ("optimiser", memory.optimiser))
    more = (("average", memory.average), ("teacher", memory.teacher))
    listed = [f"{name} {_size(count)}" for name, count in (*known, *(pair for pair in more if pair[1]))]
    if memory.activations is None:
        return f"{', '.join(listed)}; the activations of this model cannot be estimated"
    activations = f"activations of {plan.part} images {_size(memory.activations)} (estimate)"
    return f"{', '.join([*listed, activations])}: {_size(memory.total)} on each device, without what libraries need"


def _disk(plan: "RunPlan") -> str:
    disk = plan.disk
    short = "" if disk.most <= disk.free else "; this is too little: make room, or choose another --out"
    return (
        f"{disk.kept} checkpoints of {_size(disk.checkpoint)}, {_size(disk.most)} while one is written; "
        f"{_size(disk.free)} free for {plan.config.out}{short}"
    )


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _document(plan: "RunPlan", predicted: "Prediction") -> dict[str, Any]:
    memory = {**to_json(plan.memory), "total": plan.memory.total}
    return {**to_json(plan), "memory": memory, "predicted": to_json(predicted)}
