"""Checks of the settings of a run: each value alone, then those that mean something only together."""

import math
from collections.abc import Sequence
from typing import Any, cast, get_args

from ...loaders import Decode, Interpolation, OnError, PixelOrder
from ...loaders.fields import device_of
from ...loaders.transform_fields import probability_of, range_of
from ...prep import LoaderError, TrainingError
from .names import LossName, MixMode, OptimiserName, Precision, RatePer, ScheduleName, Stem
from .policy import parse_policy

NAMES: dict[str, Any] = {
    "optimiser": OptimiserName,
    "schedule": ScheduleName,
    "lr_per": RatePer,
    "loss": LossName,
    "mix_mode": MixMode,
    "amp": Precision,
    "stem": Stem,
    "interpolation": Interpolation,
    "decode": Decode,
    "pixels": PixelOrder,
    "on_error": OnError,
}
COUNTS = (
    *("epochs", "batch_size", "image_size", "accumulate", "save_epochs", "save_steps"),
    *("repeat", "size_from", "eval_image_size", "eval_resize", "ema_steps"),
)
SIZES = ("image_size", "size_from", "eval_image_size", "eval_resize")
LONGEST_SIDE = 65_500
"""The largest side of a JPEG, in pixels, as libjpeg writes it."""
MOST_EPOCHS = 1_000_000
POSITIVE = ("lr", "clip", "distill_temperature")
SHARES = (
    *("momentum", "weight_decay", "norm_weight_decay", "bias_weight_decay", "warmup", "label_smoothing", "ema"),
    *("ema_start", "drop_path", "lr_end"),
)
"""From 0 to less than 1."""
PROBABILITIES = ("flip", "mix_probability", "mix_switch", "colour_jitter", "erase", "distill_weight", "warmup_start")
"""From 0 to 1."""
SEEDS = 2**63
"""Torch takes 64 bits, of which C++ counts the last as the sign."""
MIXING = ("mixup", "cutmix")
MOST_ALPHA = 1_000_000
"""Of a Beta distribution: all shares are then within 0.2 % of a half, and numpy still computes."""


def check_names(config: Any) -> None:
    """Raise TrainingError for a setting that is not one of its words."""
    for name, choices in NAMES.items():
        if getattr(config, name) not in get_args(choices):
            known = ", ".join(get_args(choices))
            raise TrainingError(f"{name} must be one of {known}, got {getattr(config, name)!r}")
    if isinstance(config.recipe, str):
        raise TrainingError(
            f"recipe must be what recipe_config notes there, got {config.recipe!r}; make the settings with "
            "recipe_config(read_recipe(NAME), root=..., out=...)"
        )


def check_values(config: Any) -> None:
    """Raise TrainingError for a number that is out of range, or a policy that there is not."""
    for name, least in (*((name, 1) for name in COUNTS), ("workers", 0)):
        if getattr(config, name) is not None and getattr(config, name) < least:
            raise TrainingError(f"{name} must be at least {least}, got {getattr(config, name)}")
    for name, most in (*((name, LONGEST_SIDE) for name in SIZES), ("epochs", MOST_EPOCHS)):
        if getattr(config, name) is not None and getattr(config, name) > most:
            raise TrainingError(f"{name} must be at most {most}, got {getattr(config, name)}")
    if not 0 <= config.seed < SEEDS:
        raise TrainingError(f"seed must be at least 0 and less than 2**63, got {config.seed}")
    for name in POSITIVE:
        if getattr(config, name) is not None and not 0 < getattr(config, name) < math.inf:
            raise TrainingError(f"{name} must be a positive number, got {getattr(config, name)}")
    for name in SHARES:
        if getattr(config, name) is not None and not 0 <= getattr(config, name) < 1:
            raise TrainingError(f"{name} must be at least 0 and less than 1, got {getattr(config, name)}")
    for name in MIXING:
        if not 0 <= getattr(config, name) <= MOST_ALPHA:
            raise TrainingError(f"{name} must be from 0 to {MOST_ALPHA}, got {getattr(config, name)}")
    _check_as_loaders_do(config)
    parse_policy(config.augment)


def _check_as_loaders_do(config: Any) -> None:
    """Raise TrainingError for what no loader takes: a value of ``LoaderSpec``, before any loader is opened."""
    try:
        device_of(config.device)
        range_of("scale", config.scale, 1.0)
        range_of("ratio", config.ratio)
        for name in PROBABILITIES:
            probability_of(name, getattr(config, name))
    except LoaderError as error:
        raise TrainingError(str(error)) from error


def check_together(config: Any) -> None:
    """Raise TrainingError for settings that contradict each other."""
    if config.accumulate > config.batch_size:
        raise TrainingError(f"accumulate must be at most the batch size {config.batch_size}, got {config.accumulate}")
    if config.size_from is not None and config.size_from > config.image_size:
        raise TrainingError(f"size_from must be at most the image size {config.image_size}, got {config.size_from}")
    _check_ramp(config.size_ramp)
    size = config.eval_image_size or config.image_size
    if config.eval_resize is not None and config.eval_resize < size:
        raise TrainingError(
            f"eval_resize {config.eval_resize} is smaller than the {size} px that are evaluated, and the centre crop "
            "would lie outside the image; make it at least as large"
        )
    if config.bce_threshold is not None and config.loss != "bce":
        raise TrainingError(f"bce_threshold means nothing with loss {config.loss!r}; use --loss bce, or leave it out")
    if config.bce_threshold is not None and not 0 < config.bce_threshold < 1:
        raise TrainingError(f"bce_threshold must be between 0 and 1, got {config.bce_threshold}")


def _check_ramp(ramp: Any) -> None:
    pair = list(cast(Sequence[float], ramp)) if isinstance(ramp, (tuple, list)) else []
    if len(pair) != 2 or not 0 <= pair[0] <= pair[1] <= 1:
        raise TrainingError(f"size_ramp must be two shares of the run, the smaller one first, got {ramp!r}")
