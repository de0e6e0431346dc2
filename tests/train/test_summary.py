"""`feedline summary`: its totals are those that torchvision publishes, its layers those of the model."""

import json

import pytest
import torch
import torchvision
from click.testing import CliRunner

from feedline.cli.main import cli
from feedline.prep import TrainingError
from feedline.train import MODELS, summarise_model


@pytest.mark.parametrize("name", MODELS)
def test_the_totals_are_those_that_torchvision_publishes(name: str) -> None:
    """Parameters exactly, and multiply-accumulates to the digits of the published weights' table."""
    published = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta
    found = summarise_model(name)
    assert found.parameters == published["num_params"]
    assert found.macs / 1e9 == pytest.approx(published["_ops"], abs=0.001)


@pytest.mark.parametrize(("size", "stem"), [(64, "small"), (65, "imagenet")])
def test_the_output_shapes_are_those_of_the_model(size: int, stem: str) -> None:
    """Each layer's shape is what a real image gets there; the stem follows from the size."""
    found = summarise_model("resnet18", image_size=size, classes=7)
    assert found.stem == stem
    shapes = {layer.name: layer.output for layer in found.layers}
    assert shapes["conv1"] == (64, size, size) if stem == "small" else (64, (size + 1) // 2, (size + 1) // 2)
    assert shapes["layer4.1.conv2"] == (512, 8, 8) if stem == "small" else (512, 3, 3)
    assert shapes["fc"] == (7,)


def test_macs_and_memory_follow_from_the_shapes() -> None:
    """The first convolution by hand: 3 x 7 x 7 products for each of 64 x 32 x 32 values of 4 bytes."""
    layer = summarise_model("resnet18", image_size=64, stem="imagenet").layers[0]
    assert (layer.name, layer.kind, layer.parameters) == ("conv1", "Conv2d", 64 * 3 * 7 * 7)
    assert layer.macs == 64 * 32 * 32 * 3 * 7 * 7
    assert layer.activation_bytes == 64 * 32 * 32 * 4


def test_the_small_stem_costs_fifteen_times_the_compute() -> None:
    """What the help and the documentation say of it, at Tiny-ImageNet's size."""
    small, imagenet = (summarise_model("resnet18", image_size=64, stem=stem).macs for stem in ("small", "imagenet"))
    assert 14.5 < small / imagenet < 15.5


def test_nothing_random_is_touched() -> None:
    """torch's generator is where it was."""
    before = torch.get_rng_state()
    summarise_model("resnet18")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_command_prints_json_and_a_table() -> None:
    """Programs read stdout: one object; people read stderr."""
    result = CliRunner().invoke(cli, ["summary", "--model", "resnet50", "--json"], catch_exceptions=False)
    printed = json.loads(result.stdout)
    assert printed["parameters"] == 25_557_032
    assert {"name", "kind", "output", "parameters", "macs", "activation_bytes"} == printed["layers"][0].keys()
    assert "layer4.2.conv3" in result.stderr
    with pytest.raises(TrainingError, match="'vgg'"):
        summarise_model("vgg")
