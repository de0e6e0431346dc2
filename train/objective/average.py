"""The exponential moving average of the weights, and when it is updated."""

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..config import TrainConfig


def build_average(model: nn.Module, config: TrainConfig) -> AveragedModel | None:
    """Return the moving average of a model, or None if the run keeps none."""
    if config.ema is None:
        return None
    # The batch statistics are averaged too: those of the current weights do not belong to the averaged weights.
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)


def update_average(average: AveragedModel, model: nn.Module, *, copied: bool) -> None:
    """Move the average towards the model's weights; ``copied`` makes this update and the next one copies of them."""
    if copied:
        average.n_averaged.zero_()
    average.update_parameters(model)
    if copied:
        average.n_averaged.zero_()
