"""The recipe: every option does what its plain torch equivalent does, and is recorded as it was used."""

import copy
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from feedline.loaders import Batch
from feedline.prep import TrainingError, read_document
from feedline.train import EvaluateConfig, TrainConfig, evaluate, export_weights, train
from feedline.train.checkpoint import read_checkpoint
from feedline.train.config import resolved
from feedline.train.engine import build_learner
from feedline.train.models import build_model
from feedline.train.ranks import Ranks
from feedline.train.schedule import learning_rate


def make_config(**settings: object) -> TrainConfig:
    return resolved(TrainConfig(root=Path("data"), out=Path("run"), device="cpu", **settings))


def make_net() -> nn.Module:
    """Return a net without batch statistics, whose gradient is therefore the mean over any parts of a batch."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(32, 5))


def make_batches(count: int, size: int = 10) -> list[Batch]:
    torch.manual_seed(1)
    batches = []
    for _ in range(count):
        images = torch.randint(0, 256, (size, 3, 9, 9), dtype=torch.uint8).to(memory_format=torch.channels_last)
        batches.append(Batch(images, torch.randint(0, 5, (size,)), torch.arange(size)))
    return batches


def floats(images: torch.Tensor) -> torch.Tensor:
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    return (images / 255 - mean) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def grouped(net: nn.Module, decay: float) -> list[dict]:
    """Return the parameter groups of the recipe: no decay on the norm and the biases."""
    free = {"0.bias", "1.weight", "1.bias", "5.bias"}
    named = list(net.named_parameters())
    return [
        {"params": [weight for name, weight in named if name not in free], "weight_decay": decay},
        {"params": [weight for name, weight in named if name in free], "weight_decay": 0.0},
    ]


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_steps_with_every_option_equal_plain_torch(optimiser: str) -> None:
    """Smoothing, clipping, accumulation, weight decay and EMA: three steps against the loop everyone would write."""
    config = make_config(
        optimiser=optimiser,
        lr=0.05,
        schedule="constant",
        warmup=0,
        weight_decay=0.1,
        label_smoothing=0.1,
        clip=0.3,
        accumulate=3,
        ema=0.9,
    )
    net = make_net()
    learner = build_learner(copy.deepcopy(net), config, ranks=Ranks())
    average = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    if optimiser == "sgd":
        plain = torch.optim.SGD(grouped(net, 0.1), lr=0.05, momentum=0.9, nesterov=True)
    else:
        plain = torch.optim.AdamW(grouped(net, 0.1), lr=0.05)
    for number, batch in enumerate(make_batches(3)):
        learner.step(batch, 0.05)
        plain.zero_grad()
        functional.cross_entropy(net(floats(batch.images)), batch.labels, label_smoothing=0.1).backward()
        norm = nn.utils.clip_grad_norm_(net.parameters(), 0.3)
        assert norm > 0.3  # the clipping did something
        plain.step()
        for name, weight in net.named_parameters():
            fresh = weight.detach()
            average[name] = fresh.clone() if number == 0 else 0.9 * average[name] + 0.1 * fresh
    for name, weight in net.named_parameters():
        torch.testing.assert_close(learner.model.get_parameter(name), weight, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(learner.evaluated.get_parameter(name), average[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5] * 9),
        ("step", [0.5] + [0.05] * 4 + [0.005] * 4),
        ("cosine", [0.25 * (1 + math.cos(math.pi * step / 9)) for step in range(9)]),
    ],
)
def test_the_schedules_follow_their_definitions(schedule: str, expected: list[float]) -> None:
    """After three steps of warm-up: constant, a tenth after each third of the run, or falling to zero."""
    config = make_config(schedule=schedule, warmup=0.25, lr=0.5)
    rates = [learning_rate(config, step, 12) for step in range(12)]
    assert rates[:3] == pytest.approx([0.005, 0.17, 0.335])
    assert rates[3:] == pytest.approx(expected)


def test_the_stem_follows_the_image_size_and_can_be_chosen() -> None:
    """Small up to 64 px: no pixel is lost before the first block; above, torchvision's own."""
    assert make_config(image_size=64).stem == "small"
    assert make_config(image_size=65).stem == "imagenet"
    assert make_config(image_size=64, stem="imagenet").stem == "imagenet"
    seen = {}
    for stem in ("small", "imagenet"):
        model = build_model("resnet18", 3, stem=stem, seed=0, image_size=64).eval()
        hook = model.layer1.register_forward_hook(lambda _, __, output, stem=stem: seen.update({stem: output.shape}))
        with torch.inference_mode():
            model(torch.zeros(1, 3, 64, 64))
        hook.remove()
    assert seen["small"] == (1, 64, 64, 64)
    assert seen["imagenet"] == (1, 64, 16, 16)


@pytest.mark.parametrize(("optimiser", "lr", "decay"), [("sgd", 0.1, 1e-4), ("adamw", 2.5e-4, 0.05)])
def test_the_rate_grows_with_the_batch_of_all_ranks(optimiser: str, lr: float, decay: float) -> None:
    """The defaults are per 256 images; two ranks of 128 learn as fast as one of 256."""
    config = TrainConfig(root=Path("data"), out=Path("run"), optimiser=optimiser, batch_size=128)
    assert resolved(config).lr == pytest.approx(lr / 2)
    assert resolved(config, ranks=2).lr == pytest.approx(lr)
    assert resolved(config).weight_decay == decay
    assert resolved(replace(config, lr=0.3, weight_decay=0.0), ranks=8).lr == 0.3


@pytest.mark.parametrize(("amp", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_amp_computes_in_half_precision_and_keeps_the_weights(amp: str, dtype: torch.dtype) -> None:
    """Convolutions hand out halves, weights and their average stay float32, and a step changes them."""
    learner = build_learner(make_net(), make_config(amp=amp, ema=0.5, clip=1.0), ranks=Ranks())
    seen = []
    learner.model[0].register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    before = learner.model[0].weight.detach().clone()
    for batch in make_batches(4):
        learner.step(batch, 0.01)
    assert set(seen) == {dtype}
    assert {weight.dtype for weight in learner.evaluated.parameters()} == {torch.float32}
    assert not torch.equal(learner.model[0].weight, before)


def test_an_overflow_in_fp16_skips_the_step() -> None:
    """Gradients beyond fp16 change nothing but the loss scale; the next smaller scale trains on."""
    learner = build_learner(make_net(), make_config(amp="fp16", lr=0.01, warmup=0), ranks=Ranks())
    (batch,) = make_batches(1)
    learner.step(batch, 0.01)  # the scaler makes its tensors in the first step
    scale = 2.0**40
    learner.scaler.update(scale)
    before = learner.model[0].weight.detach().clone()
    learner.step(batch, 0.01)
    assert torch.equal(learner.model[0].weight, before)
    assert learner.scaler.get_scale() < scale


def test_the_memory_format_can_be_switched() -> None:
    """channels_last in weights and images, or neither."""
    for last in (True, False):
        learner = build_learner(make_net(), make_config(channels_last=last), ranks=Ranks())
        shown: list[torch.Tensor] = []
        learner.model[0].register_forward_pre_hook(lambda _, inputs, shown=shown: shown.append(inputs[0]))
        learner.step(make_batches(1)[0], 0.01)
        assert shown[0].is_contiguous(memory_format=torch.channels_last) == last
        assert learner.model[0].weight.is_contiguous(memory_format=torch.channels_last) == last


@pytest.fixture
def config(root: Path, tmp_path: Path) -> TrainConfig:
    """Return an epoch of a few steps, small enough to take a second."""
    size = {"epochs": 1, "batch_size": 28, "image_size": 32, "stem": "imagenet"}
    return TrainConfig(root=root, out=tmp_path / "run", loader="imagefolder", workers=0, device="cpu", **size)


def test_the_averaged_weights_are_what_is_evaluated_and_exported(config: TrainConfig, tmp_path: Path) -> None:
    """val in the run, `evaluate` and the exported file all speak of the moving average."""
    result = train(replace(config, ema=0.5))
    found = evaluate(result.checkpoint, EvaluateConfig(root=config.root, loader="imagefolder", device="cpu"))
    assert result.val is not None
    assert found.loss == pytest.approx(result.val.loss, rel=1e-5)
    export_weights(result.checkpoint, tmp_path / "weights.pt")
    exported = torch.load(tmp_path / "weights.pt", weights_only=True)
    saved = read_checkpoint(result.checkpoint)
    assert saved.ema is not None
    assert torch.equal(exported["conv1.weight"], saved.ema["module.conv1.weight"])
    assert not torch.equal(exported["conv1.weight"], saved.model["conv1.weight"])
    torchvision.models.resnet18(num_classes=4).load_state_dict(exported)


def test_the_settings_are_recorded_as_they_were_used(config: TrainConfig) -> None:
    """config.json has every option, and every choice that was left open."""
    used = replace(config, optimiser="adamw", schedule="step", label_smoothing=0.1, clip=2.0, accumulate=2, amp="bf16")
    train(used)
    saved = read_document(config.out / "config.json", TrainConfig)
    assert saved == replace(used, lr=2.5e-4 * 28 / 256, weight_decay=0.05)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32" and not shutil.which("cl"), reason="torch.compile needs cl, of Visual C++")
def test_a_compiled_run_trains_to_the_same_weights(config: TrainConfig) -> None:
    """torch.compile changes speed and the last digits, and the checkpoint stays a plain one."""
    plain = train(config).checkpoint
    compiled = train(replace(config, compile=True, out=config.out.with_name("compiled"))).checkpoint
    mine, theirs = read_checkpoint(compiled).model, read_checkpoint(plain).model
    for name, tensor in theirs.items():
        torch.testing.assert_close(mine[name], tensor, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    "wrong",
    [{"accumulate": 0}, {"clip": 0.0}, {"ema": 1.0}, {"label_smoothing": -0.1}, {"save_steps": 0}, {"weight_decay": 2}],
)
def test_options_that_make_no_sense_are_refused(wrong: dict) -> None:
    """Each is named with its value before any work begins."""
    (name,) = wrong
    with pytest.raises(TrainingError, match=f"{name} must be .*, got"):
        make_config(**wrong)
    with pytest.raises(TrainingError, match="accumulate must be at most the batch size 2, got 3"):
        make_config(batch_size=2, accumulate=3)
