"""What a recipe's file says, and the settings of a run that follows it.

A recipe gives the images of a step over all ranks, because that is what its learning rate belongs to. A run divides
them among its ranks. If the user gives another batch, the learning rate is scaled by the recipe's rule: ``linear`` for
SGD (Goyal et al., 2017), ``sqrt`` for LAMB (You et al., 2020). If the user gives another image size, the other sizes
are scaled with it.
"""

import math
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from ...prep import TrainingError
from ..checkpoint import FREE_SETTINGS
from ..config import RecipeUse, TrainConfig, filled_in

Rule = Literal["linear", "sqrt"]

# Settings that a recipe leaves to the run, in addition to those that may change when a run is resumed.
OF_RUN = frozenset({"loader", "seed"})

ALL = frozenset(part.name for part in fields(TrainConfig))

# Settings that are units of one optimiser: another optimiser needs others.
OF_OPTIMISER = ("lr", "weight_decay")

# Sizes in pixels that belong to image_size.
SIZES = ("size_from", "eval_image_size", "eval_resize")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a recipe was published."""

    project: str
    files: tuple[str, ...]
    version: str
    """The commit or release of the files, or the date of a page."""
    paper: str | None = None


@dataclass(frozen=True, kw_only=True)
class Published:
    """What the source reports for the recipe."""

    data: str
    top1: float
    """On val, in percent."""
    hardware: str | None = None
    minutes: float | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training as a file gives it. Everything but the settings may be missing in a file of the user."""

    summary: str = ""
    """One line on what is trained, and how."""
    source: Source | None = None
    published: Published | None = None
    verified: dict[str, str] = field(default_factory=dict[str, str])
    """What this project has checked, as a word and a sentence."""
    unverified: tuple[str, ...] = ()
    """What it has not."""
    differences: tuple[str, ...] = ()
    """What is not as in the source, one sentence each."""
    total_batch_size: int
    """Images of a step over all ranks."""
    lr_rule: Rule = "linear"
    """How ``lr`` changes with the images of a step."""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    """Fields of TrainConfig with their values; fields that are not here have the defaults."""
    name: str = ""
    """The name of a recipe of feedline, or the path of the user's file."""
    sha256: str = ""
    text: str = ""
    """The file's text."""

    def scaled_lr(self, batch_size: int) -> float | None:
        """Return the learning rate for ``batch_size`` images of a step over all ranks; None if the recipe has none."""
        lr: float | None = self.settings.get("lr")
        if lr is None or batch_size == self.total_batch_size:
            return lr
        ratio = batch_size / self.total_batch_size
        return lr * (ratio if self.lr_rule == "linear" else math.sqrt(ratio))


def recipe_config(recipe: Recipe, *, root: Path, out: Path, ranks: int = 1, **changes: Any) -> TrainConfig:
    """Return the settings of a run by a recipe. ``changes`` are further fields of TrainConfig, and replace its own.

    Without ``batch_size`` among the changes, each of the ``ranks`` takes its share of the recipe's batch. With it and
    without ``lr``, the learning rate is scaled. With ``image_size``, the sizes of the recipe's first epochs and of its
    evaluation are scaled, unless they are among the changes too.

    Raises TrainingError if the ranks cannot share the batch equally, for another optimiser without its learning rate,
    and for values out of range.
    """
    _require_rates(recipe, changes)
    changes = {**_scaled_sizes(recipe, changes), **_dropped_threshold(recipe, changes), **changes}
    settings: dict[str, Any] = {**recipe.settings, **changes}
    if "batch_size" not in changes:
        settings["batch_size"] = _share(recipe, ranks)
    elif "lr" not in changes and "lr" in settings:
        settings["lr"] = recipe.scaled_lr(changes["batch_size"] * ranks)
    config = _checked(recipe, root, out, settings, changes)
    use = RecipeUse(name=recipe.name, sha256=recipe.sha256, replaced=_replaced(recipe, config, changes, ranks))
    return replace(config, recipe=use)


def _checked(recipe: Recipe, root: Path, out: Path, settings: dict[str, Any], changes: dict[str, Any]) -> TrainConfig:
    """Return the settings as a config; an error that the changes did not make names the recipe."""
    try:
        return TrainConfig(root=root, out=out, **settings)
    except TrainingError as error:
        name = str(error).partition(" ")[0]
        own = name in recipe.settings and name not in changes
        raise TrainingError(f"{recipe.name}: {error}" if own else str(error)) from error


def _replaced(recipe: Recipe, config: TrainConfig, changes: dict[str, Any], ranks: int) -> tuple[str, ...]:
    """Return the changes after which a run trains otherwise than by the recipe, and by the defaults for the rest."""
    counted = changes.keys() & (recipe.settings.keys() | (ALL - FREE_SETTINGS - OF_RUN) | {"init"})
    own = {part.name: part.default for part in fields(TrainConfig)} | recipe.settings
    own["lr"] = recipe.scaled_lr(config.batch_size * ranks)
    own["batch_size"] = recipe.total_batch_size / ranks
    # What is not given may mean the value that was: the stem of the image size, the rate of the optimiser.
    by_recipe = own | filled_in(own, config.batch_size * ranks)
    used = vars(config) | filled_in(vars(config), config.batch_size * ranks)
    return tuple(sorted(name for name in counted if used[name] != by_recipe[name]))


def _dropped_threshold(recipe: Recipe, changes: dict[str, Any]) -> dict[str, None]:
    """Return the change of a recipe's threshold to none, if another loss replaces the one that it belongs to."""
    drops = changes.get("loss", "bce") != "bce" and "bce_threshold" in recipe.settings
    return {"bce_threshold": None} if drops else {}


def _scaled_sizes(recipe: Recipe, changes: dict[str, Any]) -> dict[str, int]:
    if "image_size" not in changes or "image_size" not in recipe.settings:
        return {}
    ratio = changes["image_size"] / recipe.settings["image_size"]
    return {name: max(1, round(recipe.settings[name] * ratio)) for name in SIZES if name in recipe.settings}


def _share(recipe: Recipe, ranks: int) -> int:
    share, left = divmod(recipe.total_batch_size, ranks)
    if left:
        raise TrainingError(
            f"{ranks} ranks cannot share the {recipe.total_batch_size} images of a step of {recipe.name} equally; use "
            "another number of ranks, or --batch-size"
        )
    return share


def _require_rates(recipe: Recipe, changes: dict[str, Any]) -> None:
    """Raise TrainingError for an optimiser that is not the recipe's and has no learning rate of its own."""
    own, used = recipe.settings.get("optimiser", "sgd"), changes.get("optimiser")
    missing = [name for name in OF_OPTIMISER if name in recipe.settings and name not in changes]
    if used is not None and used != own and missing:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise TrainingError(f"{recipe.name} is a recipe for {own}, not {used}; give {options} of {used} too")
