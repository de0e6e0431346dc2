"""The settings of the run that a command line requests: those of a new run, of a recipe, or of a resumed run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..console import say

if TYPE_CHECKING:
    from ...train import Recipe, TrainConfig

NEW_RUN = Path("run")
"""The run directory of a new run without --out."""
BELONGS_TO = {
    "size_ramp": ("size_from",),
    "mix_probability": ("mixup", "cutmix"),
    "mix_mode": ("mixup", "cutmix"),
    "mix_switch": ("mixup", "cutmix"),
    "distill_weight": ("teacher",),
    "distill_temperature": ("teacher",),
    "ema_steps": ("ema",),
    "ema_start": ("ema",),
}
"""Settings, and those of which one must be on."""


def requested_config(ctx: click.Context, settings: dict[str, Any]) -> "TrainConfig":
    """Return the settings of a training from the values of its options. Options that were given replace others."""
    given = {name: value for name, value in settings.items() if _was_given(ctx, name)}
    if settings["resume"] is None and settings["root"] is None:
        raise click.UsageError("missing argument ROOT", ctx)
    if settings["resume"] is not None:
        config = _resumed(given)
    elif settings["recipe"] is not None:
        config = _by_recipe(settings["root"], given)
    else:
        config = _of_options(settings)
    _require_meaning(given, config)
    return config


def _of_options(settings: dict[str, Any]) -> "TrainConfig":
    from ...train import TrainConfig, default_device

    new: dict[str, Any] = {"out": settings["out"] or NEW_RUN, "device": settings["device"] or default_device()}
    return TrainConfig(**(settings | new))


def _require_meaning(given: dict[str, Any], config: "TrainConfig") -> None:
    """Raise UsageError for an option that was given and changes nothing, because what it belongs to is off."""
    for name, others in BELONGS_TO.items():
        if name in given and not any(getattr(config, other) for other in others):
            option, needed = _option(name), " or ".join(map(_option, others))
            raise click.UsageError(f"{option} means nothing without {needed}; add it, or leave {option} out")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def is_rank_0() -> bool:
    """Return whether this process prints: the only one, or the first of torchrun's."""
    from ...loaders.launch import is_first

    return is_first()


def number_of_ranks() -> int:
    """Return the number of processes that torchrun started for this training; 1 without torchrun."""
    from ...loaders.launch import world_size

    return world_size()


def _was_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _resumed(given: dict[str, Any]) -> "TrainConfig":
    from ...train import resumed_config

    if "recipe" in given:
        raise click.UsageError("a resumed run keeps its recipe; leave out --recipe")
    if "init" in given:
        raise click.UsageError("a resumed run has its own weights; leave out --init, or --resume for a new run")
    return resumed_config(given.pop("resume"), **given)


def _by_recipe(root: Path, given: dict[str, Any]) -> "TrainConfig":
    from ...train import read_recipe, recipe_config

    recipe = read_recipe(given["recipe"])
    changes = {name: value for name, value in given.items() if name not in ("root", "out", "recipe")}
    config = recipe_config(recipe, root=root, out=given.get("out", NEW_RUN), ranks=number_of_ranks(), **changes)
    if is_rank_0():
        for sentence in recipe_sentences(recipe, config, number_of_ranks()):
            say(sentence)
    return config


def recipe_sentences(recipe: "Recipe", config: "TrainConfig", ranks: int) -> list[str]:
    """Return what the user should know before a run by a recipe: its claim, what replaces it, and its batch."""
    published = recipe.published
    claim = "" if published is None else f"; its source reports {published.top1:g} % top-1 on {published.data}"
    sentences = [f"recipe {recipe.name}{': ' * bool(recipe.summary)}{recipe.summary}{claim}"]
    assert config.recipe is not None
    if config.recipe.replaced:
        listed = ", ".join(f"{name} {getattr(config, name)}" for name in config.recipe.replaced)
        sentences.append(f"options replace the recipe's values: {listed}")
    step, own = config.batch_size * ranks, recipe.settings.get("lr")
    if step != recipe.total_batch_size and config.lr is not None and "lr" not in config.recipe.replaced:
        sentences.append(
            f"a step takes {step} images instead of {recipe.total_batch_size}, so the learning rate is {config.lr:g} "
            f"instead of {own:g} (the {recipe.lr_rule} rule; another one with --lr)"
        )
    elif step == recipe.total_batch_size and config.accumulate == 1:
        sentences.append(
            f"a step takes {config.batch_size} images on each device; if they do not fit into its memory, use "
            "--accumulate, which keeps the learning rate"
        )
    return sentences
