"""The learning rate as a function of the place in the run.

It has no state. A run that is resumed with another batch size, another number of ranks or more epochs has other steps,
and its rate is that of its place among them.
"""

import math

from .config import TrainConfig

WARMUP_START = 0.01  # of the learning rate, as in torchvision's reference training


def learning_rate(config: TrainConfig, step: float, steps: int) -> float:
    """Return the learning rate of the step after ``step`` steps of ``steps``. ``config`` must be resolved.

    A linear warm-up is followed by the config's schedule: the values are those of torch's LinearLR and then
    CosineAnnealingLR, MultiStepLR or ConstantLR, in a SequentialLR.
    """
    assert config.lr is not None
    warmup = int(config.warmup * steps)
    if step < warmup:
        return config.lr * (WARMUP_START + (1 - WARMUP_START) * step / warmup)
    if config.schedule == "cosine":
        return config.lr * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2
    if config.schedule == "step":
        return config.lr * 0.1 ** sum(step >= steps * third // 3 for third in (1, 2))
    return config.lr
