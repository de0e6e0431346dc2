"""Recipes against their sources: the learning rate step by step, the image size of each epoch, and the settings.

The comparison is with the schedulers of torch, timm and torchvision themselves, with the two formulas of FFCV's
training script (libffcv/ffcv-imagenet, train_imagenet.py, commit 4dd291a), and with the numbers that the sources'
files give. These numbers are written here a second time, from the source and not from the recipe.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR
from torchvision.ops._utils import split_normalization_params

from feedline.train import TrainConfig, read_recipe, recipe_config, recipe_names
from feedline.train.engine import build_learner
from feedline.train.models import model_of
from feedline.train.ranks import Ranks
from feedline.train.schedule import image_size, learning_rate

# epochs: (the last epoch of 160 px, the first of 192 px), as start_ramp and end_ramp in FFCV's files
FFCV_RAMPS = {16: (11, 13), 24: (17, 20), 32: (23, 27), 40: (29, 34), 56: (41, 48), 88: (65, 76)}
FFCV = [f"ffcv-rn{depth}-{epochs}" for depth in (18, 50) for epochs in FFCV_RAMPS]
LENGTH = 7  # steps of an epoch


def config_of(name: str, **changes: object) -> TrainConfig:
    return recipe_config(read_recipe(name), root=Path("data"), out=Path("run"), device="cpu", **changes)


def rates(config: TrainConfig, length: int) -> list[float]:
    """Return the learning rate of every step."""
    steps = config.epochs * length
    return [learning_rate(config, step, steps) for step in range(steps)]


def per_epoch(config: TrainConfig) -> list[float]:
    """Return the learning rate of every epoch, which all its steps have."""
    found = np.array(rates(config, LENGTH)).reshape(config.epochs, LENGTH)
    assert (found == found[:, :1]).all()
    return found[:, 0].tolist()


def stepped(scheduler: LRScheduler, epochs: int) -> Iterator[float]:
    """Yield a scheduler's rate of each epoch."""
    for _ in range(epochs):
        yield scheduler.get_last_lr()[0]
        scheduler.optimizer.step()
        scheduler.step()


def optimiser_of(lr: float) -> SGD:
    return SGD([nn.Parameter(torch.zeros(1))], lr=lr)


@pytest.mark.parametrize("name", FFCV)
def test_ffcv_steps_have_the_rates_of_its_formula(name: str) -> None:
    """The rate is interpolated between the epochs' ends, which lie on a line up to epoch 2 and on one down to zero."""
    config = config_of(name)
    peak_rate = 0.5 if "rn18" in name else 1.7
    ends = np.interp(range(config.epochs + 1), [0, 2, config.epochs], [1e-4 * peak_rate, peak_rate, 0])
    expected = [
        np.interp(step, [0, LENGTH], [ends[epoch], ends[epoch + 1]])
        for epoch in range(config.epochs)
        for step in range(LENGTH)
    ]

    assert rates(config, LENGTH) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", FFCV)
def test_ffcv_epochs_have_the_sizes_of_its_formula(name: str) -> None:
    config = config_of(name)
    start, end = FFCV_RAMPS[config.epochs]

    def expected(epoch: int) -> int:
        if epoch <= start or epoch >= end:
            return 160 if epoch <= start else 192
        return int(np.round(np.interp([epoch], [start, end], [160, 192])[0] / 32)) * 32

    epochs = range(config.epochs)
    assert [image_size(config, epoch) for epoch in epochs] == [expected(epoch) for epoch in epochs]


@pytest.mark.parametrize(("name", "lr"), [("rsb-a1", 5e-3), ("rsb-a2", 5e-3), ("rsb-a3", 8e-3)])
def test_rsb_epochs_have_the_rates_of_timm(name: str, lr: float) -> None:
    """timm's train.py steps its scheduler once per epoch, and the warm-up replaces the cosine's first epochs."""
    scheduler_of: Callable[..., object] = pytest.importorskip("timm.scheduler").CosineLRScheduler
    config = config_of(name)
    timm: object = scheduler_of(
        optimiser_of(lr), t_initial=config.epochs, lr_min=1e-6, warmup_t=5, warmup_lr_init=1e-4, warmup_prefix=False
    )

    assert per_epoch(config) == pytest.approx([timm._get_lr(epoch)[0] for epoch in range(config.epochs)], rel=1e-9)


def test_torchvision_epochs_have_the_rates_of_its_schedulers() -> None:
    """LinearLR over 5 epochs from a hundredth, then CosineAnnealingLR over the other 595, once per epoch."""
    optimiser = optimiser_of(0.5)
    parts = [LinearLR(optimiser, start_factor=0.01, total_iters=5), CosineAnnealingLR(optimiser, T_max=595)]
    scheduler = SequentialLR(optimiser, parts, milestones=[5])

    assert per_epoch(config_of("torchvision-v2")) == pytest.approx(list(stepped(scheduler, 600)), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("name", ["tiny-64-plain", "tiny-64-cutmix"])
def test_tiny_imagenet_epochs_have_the_rates_of_a_cosine(name: str) -> None:
    scheduler = CosineAnnealingLR(optimiser_of(0.2), T_max=400)

    assert per_epoch(config_of(name)) == pytest.approx(list(stepped(scheduler, 400)), rel=1e-7, abs=1e-9)


def decays(name: str) -> tuple[nn.Module, dict[str, float]]:
    """Return a ResNet-18 and the weight decay of each of its weights in a training by the recipe."""
    config = config_of(name, model="resnet18", image_size=32)
    model = model_of(config, 10)
    learner = build_learner(model, config, Ranks())
    of_weight = {id(w): group["weight_decay"] for group in learner.optimiser.param_groups for w in group["params"]}
    return model, {name: of_weight[id(weight)] for name, weight in model.named_parameters()}


@pytest.mark.parametrize(("name", "decay"), [("ffcv-rn18-16", 5e-5), ("ffcv-rn50-88", 1e-4)])
def test_ffcv_decays_what_its_script_decays_except_the_norms_of_shortcuts(name: str, decay: float) -> None:
    """The script spares weights with bn in their name, which those of the shortcuts have not; the file says so."""
    _, found = decays(name)
    source = {weight: 0.0 if "bn" in weight else decay for weight in found}
    other = {weight for weight in found if found[weight] != source[weight]}

    assert other == {weight for weight in found if ".downsample.1." in weight}
    assert all(found[weight] == 0 for weight in other)


def test_torchvision_decays_all_but_normalisations() -> None:
    model, found = decays("torchvision-v2")
    norms, others = ({id(weight) for weight in group} for group in split_normalization_params(model))

    for name, weight in model.named_parameters():
        assert (id(weight) in norms) != (id(weight) in others)
        assert found[name] == (0.0 if id(weight) in norms else 2e-5)


@pytest.mark.parametrize(("name", "decay"), [("rsb-a1", 0.01), ("rsb-a2", 0.02), ("rsb-a3", 0.02)])
def test_rsb_decays_what_timm_decays(name: str, decay: float) -> None:
    groups_of: Callable[..., list[dict]] = pytest.importorskip("timm.optim").param_groups_weight_decay
    model, found = decays(name)
    source = {id(weight): group["weight_decay"] for group in groups_of(model, decay) for weight in group["params"]}

    assert found == {name: source[id(weight)] for name, weight in model.named_parameters()}
    assert set(found.values()) == {0.0, decay}


def test_tiny_imagenet_decays_every_weight() -> None:
    assert set(decays("tiny-64-plain")[1].values()) == {1e-4}


# What the sources' files give, beyond rates, sizes and decays.
FFCV_SETTINGS = {
    "optimiser": "sgd",
    "momentum": 0.9,
    "nesterov": False,
    "label_smoothing": 0.1,
    "amp": "fp16",
    "blurpool": True,
    "eval_image_size": 256,
    "eval_flip": True,
    "flip": 0.5,
    "scale": (0.08, 1.0),
}
TINY_SETTINGS = {
    "optimiser": "sgd",
    "momentum": 0.9,
    "nesterov": False,
    "label_smoothing": 0.0,
    "mixup": 0.0,
    "stem": "small",
    "image_size": 64,
    "eval_resize": 64,
    "batch_size": 100,
    "loss": "ce",
}
RSB_SETTINGS = {
    "optimiser": "lamb",
    "batch_size": 2048,
    "loss": "bce",
    "bce_threshold": 0.2,
    "cutmix": 1.0,
    "mix_switch": 0.5,
    "mix_probability": 1.0,
    "interpolation": "bicubic",
    "eval_image_size": 224,
    "erase": 0.0,
    "ema": None,
    "eval_resize": math.floor(224 / 0.95),
    "colour_jitter": 0.0,
    "clip": None,
}
SOURCES = {
    **{name: {**FFCV_SETTINGS, "model": "resnet18", "batch_size": 1024} for name in FFCV if "rn18" in name},
    **{name: {**FFCV_SETTINGS, "model": "resnet50", "batch_size": 8 * 512} for name in FFCV if "rn50" in name},
    "rsb-a1": {
        **RSB_SETTINGS,
        "image_size": 224,
        "mixup": 0.2,
        "label_smoothing": 0.1,
        "drop_path": 0.05,
        "repeat": 3,
        "augment": "rand-m7-mstd0.5-inc1",
    },
    "rsb-a2": {
        **RSB_SETTINGS,
        "image_size": 224,
        "mixup": 0.1,
        "label_smoothing": 0.0,
        "drop_path": 0.05,
        "repeat": 3,
        "augment": "rand-m7-mstd0.5-inc1",
    },
    "rsb-a3": {
        **RSB_SETTINGS,
        "image_size": 160,
        "mixup": 0.1,
        "label_smoothing": 0.0,
        "drop_path": 0.0,
        "repeat": 1,
        "augment": "rand-m6-mstd0.5-inc1",
    },
    "tiny-64-plain": {**TINY_SETTINGS, "cutmix": 0.0},
    "tiny-64-cutmix": {**TINY_SETTINGS, "cutmix": 0.2, "mix_probability": 1.0},
    "torchvision-v2": {
        "optimiser": "sgd",
        "momentum": 0.9,
        "nesterov": False,
        "batch_size": 8 * 128,
        "label_smoothing": 0.1,
        "image_size": 176,
        "eval_image_size": 224,
        "eval_resize": 232,
        "interpolation": "bilinear",
        "repeat": 4,
        "augment": "trivial",
        "erase": 0.1,
        "mixup": 0.2,
        "cutmix": 1.0,
        "mix_switch": 0.5,
        "amp": "none",
        "ema": 1 - (1 - 0.99998) * 1024 * 32 / 600,
        "ema_steps": 32,
        "ema_start": 5 / 600,
        "loss": "ce",
    },
}


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_has_the_settings_of_its_source(name: str) -> None:
    config = config_of(name)

    assert {key: getattr(config, key) for key in SOURCES[name]} == SOURCES[name]
