"""The types of settings: what is unambiguous is converted, and what a checkpoint could not hold is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feedline.prep import TrainingError
from feedline.train import EvaluateConfig, TrainConfig, evaluate, read_recipe, recipe_config, train
from feedline.train.checkpoint import read_about

from .runs import last

LEAST: dict[str, Any] = {"root": "data", "out": "run", "device": "cpu"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"lr": np.float64(0.1), "momentum": np.float32(0.5)}, {"lr": 0.1, "momentum": 0.5}),
        ({"epochs": np.int64(3), "seed": np.uint32(7)}, {"epochs": 3, "seed": 7}),
        ({"clip": torch.tensor(1.5), "mixup": 1}, {"clip": 1.5, "mixup": 1.0}),
        ({"scale": np.array([0.1, 1.0]), "size_ramp": [0, 1]}, {"scale": (0.1, 1.0), "size_ramp": (0.0, 1.0)}),
        ({"out": "a/b", "init": "w.pt", "root": "d"}, {"out": Path("a/b"), "init": Path("w.pt"), "root": Path("d")}),
        ({"device": torch.device("cpu")}, {"device": "cpu"}),
        ({"blurpool": np.True_}, {"blurpool": True}),
    ],
)
def test_what_is_unambiguous_is_converted(given: dict[str, Any], kept: dict[str, Any]) -> None:
    """To the types of Python, which a checkpoint keeps."""
    config = TrainConfig(**(LEAST | given))
    for name, value in kept.items():
        assert getattr(config, name) == value and type(getattr(config, name)) is type(value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 1.5}, "epochs must be an integer, got 1.5"),
        ({"save_steps": 2.5}, "save_steps must be an integer, got 2.5"),
        ({"batch_size": "8"}, "batch_size must be an integer, got '8'"),
        ({"workers": True}, "workers must be an integer, got True"),
        ({"channels_last": None}, "channels_last must be a boolean, got None"),
        ({"blurpool": "no"}, "blurpool must be a boolean, got 'no'"),
        ({"lr": True}, "lr must be a number, got True"),
        ({"lr": np.array([0.1, 0.2])}, r"lr must be a number, got \(0.1, 0.2\)"),
        ({"mixup": None}, "mixup must be a number, got None"),
        ({"augment": None}, "augment must be a string, got None"),
        ({"model": None}, "model must be a string, got None"),
        ({"scale": (0.1, 0.2, 0.3)}, "scale must have at most 2 items, got"),
        ({"root": None}, "root must be a path or a URL, got None"),
        ({"out": ""}, "out must be a path, got ''"),
        ({"init": 5}, "init must be a path, got 5"),
        ({"device": None}, "device must be a string, got None"),
        ({"device": "tpu"}, "device must be a device of torch, such as 'cpu' or 'cuda:0', got 'tpu'"),
        ({"recipe": "tiny-64-plain"}, r"recipe must be .* got 'tiny-64-plain'; make the settings with recipe_config\("),
        ({"on_error": "ignore"}, "on_error must be one of raise, skip, got 'ignore'"),
        ({"image_size": 10**9}, "image_size must be at most 65500"),
        ({"epochs": 10**11}, "epochs must be at most 1000000"),
        ({"mixup": 1e308}, "mixup must be from 0 to 1000000"),
        ({"augment": "rand-0-30"}, "augment 'rand-0-30' is not within rand-1-0 and rand-16-30"),
        ({"augment": "rand-m7-n0-inc1"}, "augment 'rand-m7-n0-inc1' is not within"),
    ],
)
def test_other_types_and_values_are_refused(wrong: dict[str, Any], message: str) -> None:
    """When the settings are made, before anything is trained."""
    with pytest.raises(TrainingError, match=message):
        TrainConfig(**(LEAST | wrong))


def test_a_run_with_numbers_of_numpy_is_evaluated_and_continued(config: TrainConfig) -> None:
    """A rate from ``np.logspace`` was kept in the optimiser, and no checkpoint of the run could be read."""
    rates = {name: np.float64(value) for name, value in (("lr", 0.01), ("momentum", 0.8), ("weight_decay", 1e-4))}
    swept = replace(config, epochs=1, **rates)
    train(swept)
    assert read_about(last(swept)).config.lr == 0.01
    evaluate(last(swept), EvaluateConfig(root=config.root, loader="imagefolder", device="cpu", workers=0))
    assert train(replace(swept, epochs=2, resume=last(swept))).epochs == 2


def test_a_device_without_contents_is_refused(config: TrainConfig) -> None:
    """``meta`` is a device of torch, and computes nothing."""
    with pytest.raises(TrainingError, match="device 'meta' is not available here; use --device cpu"):
        train(replace(config, device="meta"))


def test_a_value_out_of_range_names_the_recipe_that_has_it(tmp_path: Path) -> None:
    """And not the recipe if an option has replaced the value."""
    path = tmp_path / "own.toml"
    path.write_text("[settings]\ntotal_batch_size = 64\nlr = nan\n")
    recipe = read_recipe(str(path))
    with pytest.raises(TrainingError, match=r"own\.toml: lr must be a positive number, got nan"):
        recipe_config(recipe, root=Path("data"), out=Path("run"))
    with pytest.raises(TrainingError, match=r"^lr must be a positive number, got -1"):
        recipe_config(recipe, root=Path("data"), out=Path("run"), lr=-1.0)
