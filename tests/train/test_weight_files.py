"""Files of weights as they are found: of training scripts, of older versions, with other heads, damaged or hostile."""

import re
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from feedline.prep import TrainingError
from feedline.train.models import build_model
from feedline.train.models.weights import load_weights

CLASSES = 4


def model_of(name: str, classes: int = CLASSES, size: int = 224) -> nn.Module:
    return build_model(name, classes, stem="imagenet", seed=0, image_size=size)


def saved(content: Any, tmp_path: Path) -> Path:
    torch.save(content, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


@pytest.mark.parametrize("wrap", ["model", "state_dict", "model_ema"])
def test_what_training_scripts_write_is_read(wrap: str, tmp_path: Path) -> None:
    """timm's and torchvision's keep the arguments of the command line next to the weights."""
    model = model_of("resnet18")
    theirs = {wrap: model.state_dict(), "epoch": 3, "args": Namespace(lr=0.1, device="cuda", aug=["a"], n=None)}
    assert load_weights(model_of("resnet18"), saved(theirs, tmp_path), any_head=False) is None


def test_what_timm_saves_is_read(tmp_path: Path) -> None:
    """By its own class, with the average of the weights."""
    saver = pytest.importorskip("timm.utils").CheckpointSaver
    model = model_of("timm:test_resnet", size=32)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    args = Namespace(model="test_resnet", lr=0.1)
    saver(model, optimiser, args=args, checkpoint_dir=str(tmp_path), recovery_dir=str(tmp_path)).save_checkpoint(0, 1.0)
    assert load_weights(model, tmp_path / "last.pth.tar", any_head=False) is None


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_left_out(name: str, tmp_path: Path) -> None:
    """torchvision's files have them, and a model that returns scores alone does not use them."""
    theirs = get_model(name, aux_logits=True, init_weights=False, num_classes=CLASSES)
    path = saved(theirs.state_dict(), tmp_path)
    model = model_of(name, size=299)
    load_weights(model, path, any_head=False)
    assert torch.equal(model.get_parameter("fc.weight"), theirs.get_parameter("fc.weight"))


def test_the_names_of_old_files_are_read(tmp_path: Path) -> None:
    """torchvision's DenseNet files, without counts of batches, and with points in the names of layers."""
    theirs = get_model("densenet121", num_classes=CLASSES).state_dict()
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|relu|conv))([12]\.)", r"\1.\2", name): tensor
        for name, tensor in theirs.items()
        if not name.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    model = model_of("densenet121")
    load_weights(model, saved(old, tmp_path), any_head=False)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in theirs.items() if tensor.ndim)


@pytest.mark.parametrize(
    ("name", "size", "heads"),
    [
        ("timm:deit_tiny_distilled_patch16_224", 64, "head and head_dist"),
        ("timm:repvit_m0_9", 64, "head.head.l and head.head_dist.l"),
        ("timm:levit_128s", 224, "head.linear and head_dist.linear"),
        ("squeezenet1_1", 64, "classifier.1"),
        ("vit_b_32", 64, "heads.head"),
    ],
)
def test_all_heads_of_other_classes_stay_fresh(name: str, size: int, heads: str, tmp_path: Path) -> None:
    """Distilled models have two; everything else has the file's weights."""
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    theirs = model_of(name, 10, size)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.fill_(0.25)
    path = saved(theirs.state_dict(), tmp_path)
    model = model_of(name, CLASSES, size)
    assert load_weights(model, path, any_head=True) == heads
    fresh = tuple(f"{head}." for head in heads.split(" and "))
    for key, weight in model.named_parameters():
        assert key.startswith(fresh) or bool((weight == 0.25).all()), key
    with pytest.raises(TrainingError, match=r"shape \(10, .*instead of \(4, "):
        load_weights(model_of(name, CLASSES, size), path, any_head=False)


def test_another_width_is_no_other_head(tmp_path: Path) -> None:
    """Only the last layers may differ."""
    path = saved(model_of("wide_resnet50_2", 10).state_dict(), tmp_path)
    with pytest.raises(TrainingError, match="not those of the model"):
        load_weights(model_of("resnet50"), path, any_head=True)


def holding_itself() -> dict[str, Any]:
    content: dict[str, Any] = {}
    content["state_dict"] = content
    return content


@pytest.mark.parametrize("content", [{1: torch.zeros(1)}, holding_itself(), {}, [torch.zeros(1)], {"model": 3}])
def test_what_is_no_state_dict_is_refused(content: Any, tmp_path: Path) -> None:
    """In one sentence, whatever the file holds."""
    with pytest.raises(TrainingError, match="holds no state dict; use a file that"):
        load_weights(model_of("resnet18"), saved(content, tmp_path), any_head=True)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_torchscript_file_is_named_as_one(tmp_path: Path) -> None:
    """Its weights need its code."""
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "a.pt")
    with pytest.raises(TrainingError, match=r"is a TorchScript model.*save its state_dict\(\) instead"):
        load_weights(model_of("resnet18"), tmp_path / "a.pt", any_head=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    """Before training blames its learning rate."""
    weights = model_of("resnet18").state_dict()
    weights["layer1.0.conv1.weight"][0, 0] = value
    with pytest.raises(TrainingError, match=r"layer1\.0\.conv1\.weight in .* not finite"):
        load_weights(model_of("resnet18"), saved(weights, tmp_path), any_head=False)


def test_a_tag_of_weights_that_timm_does_not_have_is_named() -> None:
    """And not taken for a wrong image size."""
    pytest.importorskip("timm")
    model_of("timm:resnet18.a1_in1k")
    with pytest.raises(TrainingError, match=r"timm's resnet18 has no weights 'bogus'; .*such as a1_in1k"):
        model_of("timm:resnet18.bogus")


def test_a_huge_image_size_is_tried_without_its_memory() -> None:
    """51 GB of pixels; the plan of a run says then what it needs."""
    model_of("mobilenet_v3_small", size=65_500)
