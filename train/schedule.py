"""The learning rate and the image size as functions of the place in the run.

They have no state. A run that is resumed with another batch size, another number of ranks or more epochs has other
steps, and its rate is that of its place among them.
"""

import math

from .config import TrainConfig

WARMUP_START = 0.01  # of the learning rate, as in torchvision's reference training


def learning_rate(config: TrainConfig, step: float, steps: int) -> float:
    """Return the learning rate of the step after ``step`` steps of ``steps``. ``config`` must be resolved.

    A linear warm-up is followed by the config's schedule: the values are those of torch's LinearLR and then
    CosineAnnealingLR, LinearLR, MultiStepLR or ConstantLR, in a SequentialLR. If the schedule begins with the run, they
    are those of timm's schedulers.
    """
    assert config.lr is not None
    if config.lr_per == "epoch":
        step, steps = _whole(step * config.epochs / steps), config.epochs
    warmup = _whole(config.warmup * steps)
    if step < warmup:
        return config.lr * (config.warmup_start + (1 - config.warmup_start) * step / warmup)
    if config.schedule == "step":
        return config.lr * 0.1 ** sum(step >= steps * third // 3 for third in (1, 2))
    if config.schedule == "constant":
        return config.lr
    began = warmup if config.schedule_after_warmup else 0
    done = (step - began) / (steps - began)
    left = (1 + math.cos(math.pi * done)) / 2 if config.schedule == "cosine" else 1 - done
    return config.lr * (config.lr_end + (1 - config.lr_end) * left)


def image_size(config: TrainConfig, epoch: int) -> int:
    """Return the height and width of the train images of an epoch, counted from 0, in pixels.

    The sizes between the first and the last are the nearest multiples of 32, and in the ranges of both.
    """
    first, last = config.size_from, config.image_size
    if first is None:
        return last
    begin, end = (share * config.epochs for share in config.size_ramp)
    if _rounded(epoch) <= _rounded(begin):
        return first
    if _rounded(epoch) >= _rounded(end):
        return last
    size = first + (last - first) * (epoch - begin) / (end - begin)
    return min(max(round(size / 32) * 32, first), last)


def _whole(value: float) -> int:
    """Return the whole part of a product with a share: 5/600 of 600 epochs are 5, not 4.999."""
    return math.floor(_rounded(value))


def _rounded(value: float) -> float:
    return round(value, 6)
