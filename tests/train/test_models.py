"""Any classification model of torchvision or timm trains, and weights of both are read."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from feedline.prep import TrainingError
from feedline.train import EvaluateConfig, TrainConfig, evaluate, train
from feedline.train.models import build_model

from .runs import CLASSES, last


@pytest.mark.parametrize(
    ("name", "size"),
    [("mobilenet_v3_small", 64), ("googlenet", 64), ("vit_b_32", 64), ("resnext50_32x4d", 32)],
)
def test_torchvision_models_are_built_by_name(name: str, size: int) -> None:
    """Scores of the data's classes at the run's image size; the seed decides the weights."""
    model = build_model(name, 7, stem="imagenet", seed=3, image_size=size)
    assert model.training
    with torch.inference_mode():
        assert model.eval()(torch.zeros(2, 3, size, size)).shape == (2, 7)
    again = build_model(name, 7, stem="imagenet", seed=3, image_size=size).state_dict()
    assert all(torch.equal(tensor, again[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize(("name", "size"), [("timm:resnet10t", 64), ("timm:vit_tiny_patch16_224", 96)])
def test_timm_models_are_built_by_name(name: str, size: int) -> None:
    """Models that need their image size get it, the others take any."""
    pytest.importorskip("timm")
    model = build_model(name, 5, stem="imagenet", seed=0, image_size=size)
    with torch.inference_mode():
        assert model.eval()(torch.zeros(1, 3, size, size)).shape == (1, 5)


@pytest.mark.parametrize(
    ("name", "stem", "size", "message"),
    [
        ("resnet19", "imagenet", 32, "unknown model 'resnet19'; choose one such as resnet18"),
        ("timm:resnet10x", "imagenet", 32, "unknown model 'timm:resnet10x'; choose one such as .*resnet10t.* of timm"),
        ("vgg11", "small", 32, "vgg11 has no small stem, only resnet18"),
        ("alexnet", "imagenet", 32, "alexnet cannot compute images of 32 px .*--image-size"),
        ("vit_b_16", "imagenet", 50, "vit_b_16 cannot compute images of 50 px .*--image-size"),
    ],
)
def test_what_cannot_be_built_is_named(name: str, stem: str, size: int, message: str) -> None:
    """An unknown name, a stem or an image size that the model does not have: one sentence with what to use."""
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    with pytest.raises(TrainingError, match=message):
        build_model(name, 5, stem=stem, seed=0, image_size=size)  # type: ignore[arg-type]


def test_another_model_trains_and_is_evaluated(config: TrainConfig) -> None:
    """The small stem of the image size is left to the ResNets; the checkpoint evaluates as the run reported."""
    result = train(replace(config, model="mobilenet_v3_small", stem="auto", epochs=1))
    found = evaluate(last(config), EvaluateConfig(root=config.root, loader="imagefolder", device="cpu"))
    assert result.val is not None
    assert (found.model, found.top1) == ("mobilenet_v3_small", result.val.top1)
    assert 0 <= found.calibration_error <= 1


def wrap(weights: dict[str, torch.Tensor], how: str) -> object:
    """Return the weights as other programs write them."""
    prefixed = {f"module.{name}": tensor for name, tensor in weights.items()}
    broken = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    return {
        "bare": weights,
        "torchvision": {"model": weights, "epoch": 3, "args": "x"},
        "ddp": {"state_dict": prefixed, "epoch": 3},
        "timm, averaged": {"state_dict": broken, "state_dict_ema": prefixed, "arch": "resnet18"},
        "compiled": {f"_orig_mod.{name}": tensor for name, tensor in weights.items()},
        "torch's average": {"model_ema": {"n_averaged": torch.tensor(3), **prefixed}},
    }[how]


@pytest.mark.parametrize("how", ["bare", "torchvision", "ddp", "timm, averaged", "compiled", "torch's average"])
def test_weights_of_other_programs_are_evaluated(how: str, finished: TrainConfig, tmp_path: Path) -> None:
    """Wrapped and prefixed as they come, they give the figures of the run that made them."""
    weights = torch.load(last(finished), weights_only=True)["model"]
    torch.save(wrap(weights, how), tmp_path / "weights.pth")
    settings = EvaluateConfig(root=finished.root, loader="imagefolder", device="cpu")
    ours = evaluate(last(finished), settings)
    theirs = evaluate(tmp_path / "weights.pth", replace(settings, model="resnet18", stem="imagenet", image_size=32))
    assert (theirs.loss, theirs.top1, theirs.epoch) == (ours.loss, ours.top1, None)


def test_weights_that_do_not_fit_are_refused(finished: TrainConfig, tmp_path: Path) -> None:
    """Another architecture, other classes, no weights, code in the file: each has its sentence."""
    settings = EvaluateConfig(root=finished.root, loader="imagefolder", device="cpu", model="resnet18", image_size=32)
    path = tmp_path / "weights.pth"
    torch.save(torchvision.models.resnet34(num_classes=CLASSES).state_dict(), path)
    with pytest.raises(TrainingError, match=r"they have .* too; choose the --model"):
        evaluate(path, replace(settings, stem="imagenet"))
    torch.save(torchvision.models.resnet18(num_classes=10).state_dict(), path)
    with pytest.raises(TrainingError, match=r"fc\.weight has the shape \(10, 512\) instead of \(6, 512\)"):
        evaluate(path, replace(settings, stem="imagenet"))
    torch.save({"epoch": 3}, path)
    with pytest.raises(TrainingError, match="holds no state dict"):
        evaluate(path, settings)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:  # which would expand in memory
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    with pytest.raises(TrainingError, match=r"weights\.pth is not a checkpoint: its members have 10000000 bytes"):
        evaluate(path, settings)
    torch.save(nn.Linear(2, 2), path)  # a pickled module
    with pytest.raises(TrainingError, match="no weights that torch reads without running code"):
        evaluate(path, settings)


def test_a_run_begins_with_the_weights_of_another_data_set(config: TrainConfig, tmp_path: Path) -> None:
    """--init: all layers but the head are those of the file; a head of the same classes is kept too."""
    source = torchvision.models.resnet18(num_classes=1000)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    said: list[str] = []
    train(replace(config, epochs=1, lr=1e-12, init=tmp_path / "weights.pth"), notice=said.append)
    assert said[1:] == [
        f"the weights are those of {tmp_path / 'weights.pth'}; the layer fc is new, because it has other classes there"
    ]
    trained = torch.load(last(config), weights_only=True)["model"]
    torch.testing.assert_close(trained["layer4.1.conv2.weight"], source.layer4[1].conv2.weight.detach())
    assert trained["fc.weight"].shape == (CLASSES, 512)
    torch.save({"state_dict": trained}, tmp_path / "same.pth")
    again = replace(config, epochs=1, lr=1e-12, init=tmp_path / "same.pth", out=config.out.with_name("again"))
    train(again, notice=said.append)
    assert said[-1] == f"the weights are those of {tmp_path / 'same.pth'}"
    torch.testing.assert_close(torch.load(last(again), weights_only=True)["model"]["fc.weight"], trained["fc.weight"])
