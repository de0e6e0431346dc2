"""Losses, optimisers, moving averages and teachers do what their sources do."""

import copy
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from feedline.loaders import Batch
from feedline.prep import TrainingError
from feedline.train import TrainConfig
from feedline.train.config import resolved
from feedline.train.engine import build_learner, mean_scores
from feedline.train.metrics import Sums, batch_sums
from feedline.train.models import build_model
from feedline.train.models.changes import BlurredConv2d, DroppedNorm
from feedline.train.objective.losses import distillation, loss_of
from feedline.train.objective.optimisers import build_optimiser, weight_groups
from feedline.train.ranks import Ranks


def make_config(**settings: object) -> TrainConfig:
    return resolved(TrainConfig(root=Path("data"), out=Path("run"), device="cpu", **settings))


def scores_and_labels() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return scores (6, 4), class indexes (6,) and shares (6, 4)."""
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(6, 4, generator=generator),
        torch.randint(4, (6,), generator=generator),
        torch.rand(6, 4, generator=generator).softmax(1),
    )


@pytest.mark.parametrize("threshold", [None, 0.2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_cross_entropy_is_that_of_timm(threshold: float | None, smoothing: float) -> None:
    """For class indexes; timm's mix smooths before, so that dense labels are smoothed here by hand."""
    timm = pytest.importorskip("timm.loss")
    scores, labels, shares = scores_and_labels()
    mine = loss_of(make_config(loss="bce", bce_threshold=threshold, label_smoothing=smoothing))
    theirs = timm.BinaryCrossEntropy(smoothing=smoothing, target_threshold=threshold)
    torch.testing.assert_close(mine(scores, labels), theirs(scores, labels))
    torch.testing.assert_close(mine(scores, shares), theirs(scores, shares * (1 - smoothing) + smoothing / 4))


def test_cross_entropy_takes_shares_with_its_smoothing() -> None:
    """As torch defines it for both kinds of labels."""
    scores, labels, shares = scores_and_labels()
    loss = loss_of(make_config(label_smoothing=0.1))
    torch.testing.assert_close(loss(scores, labels), functional.cross_entropy(scores, labels, label_smoothing=0.1))
    smooth = 0.9 * shares + 0.1 / 4
    torch.testing.assert_close(loss(scores, shares), -(smooth * scores.log_softmax(1)).sum(1).mean())


def test_metrics_of_mixed_labels_count_the_stronger_one() -> None:
    """The loss is that of the shares; a hit is the class with the largest share."""
    scores, _, shares = scores_and_labels()
    sums = Sums.from_values(batch_sums(scores, shares).tolist())
    assert sums.images == 6
    assert sums.top1 == int((scores.argmax(1) == shares.argmax(1)).sum())
    assert sums.loss == pytest.approx(float(-(shares * scores.log_softmax(1)).sum()))


def test_distillation_is_the_divergence_of_hinton() -> None:
    """T squared times the Kullback-Leibler divergence of the softened probabilities."""
    scores, _, taught = scores_and_labels()
    own, theirs = (scores / 3).softmax(1), (taught / 3).softmax(1)
    expected = 9 * (theirs * (theirs / own).log()).sum(1).mean()
    torch.testing.assert_close(distillation(scores, taught, 3.0), expected)
    assert float(distillation(scores, scores, 3.0)) == pytest.approx(0, abs=1e-6)


def test_lamb_is_that_of_timm() -> None:
    """Three steps with decay on matrices only equal timm's own optimiser."""
    timm = pytest.importorskip("timm.optim")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 3))
    other = copy.deepcopy(net)
    mine = build_optimiser(net, make_config(optimiser="lamb", lr=0.01, weight_decay=0.1), fused=False)
    decayed = [weight for weight in other.parameters() if weight.ndim > 1]
    spared = [weight for weight in other.parameters() if weight.ndim == 1]
    theirs = timm.Lamb([{"params": decayed, "weight_decay": 0.1}, {"params": spared, "weight_decay": 0.0}], lr=0.01)
    for _ in range(3):
        inputs = torch.randn(5, 6)
        for model, optimiser in ((net, mine), (other, theirs)):
            optimiser.zero_grad()
            model(inputs).square().mean().backward()
            optimiser.step()
    for weight, expected in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(weight, expected)


def test_lamb_without_timm_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence is the same as for timm's models."""
    monkeypatch.setitem(__import__("sys").modules, "timm.optim", None)
    with pytest.raises(TrainingError, match="lamb needs timm; install it with: pip install timm"):
        build_optimiser(nn.Linear(2, 2), make_config(optimiser="lamb"), fused=False)


def test_norms_and_biases_have_their_own_decay() -> None:
    """Three groups as torchvision's reference training makes them with --norm-weight-decay, two by default."""
    model = torchvision.models.resnet18(num_classes=3)
    assert len(weight_groups(model, make_config())) == 2
    groups = weight_groups(model, make_config(weight_decay=0.5, norm_weight_decay=0.0, bias_weight_decay=0.5))
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0, 0.5]
    norms = [
        weight for module in model.modules() if isinstance(module, nn.BatchNorm2d) for weight in module.parameters()
    ]
    assert {id(weight) for weight in groups[1]["params"]} == {id(weight) for weight in norms}
    assert [weight.shape for weight in groups[2]["params"]] == [(3,)]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_momentum_can_be_plain() -> None:
    """FFCV and torchvision use momentum without Nesterov."""
    model = nn.Linear(2, 2)
    assert build_optimiser(model, make_config(), fused=False).defaults["nesterov"]
    assert not build_optimiser(model, make_config(nesterov=False), fused=False).defaults["nesterov"]


def batches(count: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    made = []
    for _ in range(count):
        images = torch.randint(0, 256, (6, 3, 9, 9), dtype=torch.uint8, generator=generator)
        labels = torch.randint(0, 5, (6,), generator=generator)
        made.append(Batch(images.contiguous(memory_format=torch.channels_last), labels, torch.arange(6)))
    return made


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


def test_the_average_waits_and_skips_steps() -> None:
    """A copy while ``copied``, as torchvision's reference training does in its warm-up; then every other step."""
    learner = build_learner(net(), make_config(ema=0.5), ranks=Ranks())
    expected = None
    for number, batch in enumerate(batches(6)):
        learner.step(batch, 0.05, averaged=number % 2 == 0, copied=number < 2)
        fresh = learner.model[0].weight.detach().clone()
        if number in (0, 2):  # the first is a copy, and so is the one after the last copy
            expected = fresh
        elif number == 4:
            assert expected is not None
            expected = 0.5 * expected + 0.5 * fresh
        torch.testing.assert_close(learner.evaluated[0].weight, expected)


def test_the_scores_of_the_mirror_image_are_averaged() -> None:
    """The mean of two passes, in any order."""
    model, images = net(), torch.randn(4, 3, 9, 9)
    expected = (model(images) + model(images.flip(3))) / 2
    assert torch.equal(mean_scores(model, images, flip=True), expected)
    assert torch.equal(mean_scores(model, images, flip=False), model(images))


def test_a_blurred_convolution_is_that_of_ffcv() -> None:
    """The kernel (1 2 1; 2 4 2; 1 2 1) / 16 for each channel, before the strided convolution; the stem stays."""
    settings = {"stem": "imagenet", "seed": 0, "image_size": 64}
    plain, blurred = (build_model("resnet18", 4, **settings, blurpool=blur) for blur in (False, True))
    changed = [name for name, module in blurred.named_modules() if isinstance(module, BlurredConv2d)]
    assert changed == [f"layer{n}.0.{part}" for n in (2, 3, 4) for part in ("conv1", "downsample.0")]
    old, new = plain.state_dict(), blurred.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old)
    conv, images = blurred.layer2[0].conv1, torch.randn(2, 64, 9, 9)
    kernel = (torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16).repeat(64, 1, 1, 1)
    expected = functional.conv2d(
        functional.conv2d(images, kernel, padding=1, groups=64), conv.weight, stride=2, padding=1
    )
    torch.testing.assert_close(conv(images), expected)
    with pytest.raises(RuntimeError, match="blur"):  # plain torchvision must not take these weights for its own
        plain.load_state_dict(new)


def test_stochastic_depth_leaves_out_blocks_in_training_only() -> None:
    """From 0 in the first block to the given probability in the last, as timm's ResNets."""
    settings = {"stem": "imagenet", "seed": 0, "image_size": 32}
    model = build_model("resnet18", 4, **settings, drop_path=0.7)
    rates = [module.probability for module in model.modules() if isinstance(module, DroppedNorm)]
    assert rates == pytest.approx([0.1 * number for number in range(8)])
    plain = build_model("resnet18", 4, **settings)
    assert model.state_dict().keys() == plain.state_dict().keys()
    norm, values = model.layer4[1].bn2, torch.randn(400, 512, 1, 1)
    nn.init.ones_(norm.weight)
    left = (norm(values).flatten(1) == 0).all(1)
    assert left.float().mean() == pytest.approx(0.7, abs=0.1)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(build_model("resnet18", 4, **settings, drop_path=0.7).eval()(images), plain.eval()(images))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("mobilenet_v2", {"drop_path": 0.1}, "mobilenet_v2 has no stochastic depth; use --drop-path 0, or"),
        ("vit_b_16", {"blurpool": True}, "vit_b_16 has no strided convolution to blur; use --no-blurpool"),
    ],
)
def test_models_without_these_parts_refuse_them(name: str, change: dict, message: str) -> None:
    """A setting is never ignored."""
    with pytest.raises(TrainingError, match=message), torch.device("meta"):
        build_model(name, 4, stem="imagenet", seed=0, image_size=32, **change)


def test_a_student_learns_from_its_teacher_alone() -> None:
    """With weight 1 the labels count for nothing: the student's probabilities approach those of the teacher."""
    torch.manual_seed(3)
    teacher = net()
    nn.init.normal_(teacher[4].weight, std=3.0)
    config = make_config(distill_weight=1.0, distill_temperature=2.0, momentum=0.9)
    learner = build_learner(net(), config, Ranks(), teacher)
    before = copy.deepcopy(teacher.state_dict())
    (batch,) = batches(1)
    floats = learner.normalise(batch.images)
    gaps = []
    for _ in range(60):
        with torch.no_grad():
            gaps.append(float(distillation(learner.model(floats), teacher(floats), 1.0)))
        learner.step(batch, 0.05)
    assert gaps[-1] < 0.3 * gaps[0]
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())


def test_labels_and_teacher_share_the_loss() -> None:
    """One step equals a step by hand on (1 - w) cross-entropy + w divergence."""
    torch.manual_seed(3)
    teacher, student = net(), net()
    nn.init.normal_(teacher[4].weight, std=3.0)
    plain = copy.deepcopy(student)
    learner = build_learner(student, make_config(distill_weight=0.3, momentum=0.0, weight_decay=0.0), Ranks(), teacher)
    (batch,) = batches(1)
    learner.step(batch, 0.1)
    floats = learner.normalise(batch.images)
    scores, taught = plain(floats), teacher(floats).detach().softmax(1)
    divergence = (taught * (taught.log() - scores.log_softmax(1))).sum(1).mean()
    (0.7 * functional.cross_entropy(scores, batch.labels) + 0.3 * divergence).backward()
    for weight, expected in zip(student.parameters(), plain.parameters(), strict=True):
        assert expected.grad is not None
        torch.testing.assert_close(weight, expected - 0.1 * expected.grad)
