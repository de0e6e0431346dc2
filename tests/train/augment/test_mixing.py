"""MixUp and CutMix mix images and labels in the same shares, and are what timm and torchvision do."""

import numpy as np
import pytest
import torch

from feedline.train.augment.mixing import Mix, draw_plan, mix

CLASSES, COUNT, SIZE = 5, 12, 32


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def how(**settings: object) -> Mix:
    return Mix(**{"mixup": 0.0, "cutmix": 0.0, "probability": 1.0, "switch": 0.5, "mode": "batch", **settings})


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Return images that have one value each, which tells them apart, and labels."""
    values = torch.arange(COUNT, dtype=torch.uint8) * 20
    images = values.view(-1, 1, 1, 1).repeat(1, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    return images, torch.arange(COUNT) % CLASSES


def expected_labels(labels: torch.Tensor, shares: np.ndarray, shift: int) -> torch.Tensor:
    dense = torch.nn.functional.one_hot(labels, CLASSES).double()
    own = torch.from_numpy(shares)[:, None]
    return own * dense + (1 - own) * dense.roll(shift, 0)


@pytest.mark.parametrize("mode", ["batch", "sample"])
def test_mixup_blends_images_and_labels_in_one_share(mode: str, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Pixels are rounded to bytes; the label has exactly the share."""
    images, labels = batch
    settings = how(mixup=0.8, mode=mode)
    plan = draw_plan(COUNT, SIZE, SIZE, settings, rng())
    mixed, dense = mix(images, labels, CLASSES, settings, rng())
    assert len(set(plan.shares)) == (1 if mode == "batch" else COUNT)
    torch.testing.assert_close(dense.double(), expected_labels(labels, plan.shares, plan.shift), atol=1e-6, rtol=0)
    own = torch.from_numpy(plan.shares).view(-1, 1, 1, 1)
    blended = own * images + (1 - own) * images.roll(plan.shift, 0)
    assert (mixed - blended).abs().max() <= 0.5001
    assert mixed.dtype == torch.uint8


@pytest.mark.parametrize("mode", ["batch", "sample"])
def test_cutmix_labels_have_the_shares_of_the_pixels(mode: str, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Boxes that the border cuts count as what is left of them."""
    images, labels = batch
    for seed in range(8):
        settings = how(cutmix=1.0, mode=mode)
        plan = draw_plan(COUNT, SIZE, SIZE, settings, rng(seed))
        mixed, dense = mix(images, labels, CLASSES, settings, rng(seed))
        kept = (mixed[:, 0] == images[:, 0]).double().mean(dim=(1, 2))
        assert kept.numpy() == pytest.approx(plan.shares)
        torch.testing.assert_close(dense.double(), expected_labels(labels, plan.shares, plan.shift), atol=1e-6, rtol=0)
        for image, own, other in zip(mixed, images, images.roll(plan.shift, 0), strict=True):
            assert set(image.unique().tolist()) <= {int(own[0, 0, 0]), int(other[0, 0, 0])}


def test_a_sample_mode_mixes_both_ways_in_one_batch(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Some images are blended, some cut and some left; labels stay shares that add up to one."""
    images, labels = batch
    settings = how(mixup=0.8, cutmix=1.0, probability=0.5, mode="sample")
    plan = draw_plan(COUNT, SIZE, SIZE, settings, rng(3))
    mixed, dense = mix(images, labels, CLASSES, settings, rng(3))
    assert {bool(cut) for cut in plan.cut} == {True, False}
    assert (plan.shares == 1).any()
    torch.testing.assert_close(dense.sum(1), torch.ones(COUNT))
    for row in np.flatnonzero(plan.shares == 1):
        assert torch.equal(mixed[row], images[row])
    torch.testing.assert_close(dense.double(), expected_labels(labels, plan.shares, plan.shift), atol=1e-6, rtol=0)


def test_probability_and_switch_are_kept() -> None:
    """How often a batch is mixed, and how often by CutMix; a partner is never the image itself."""
    plans = [
        draw_plan(4, SIZE, SIZE, how(mixup=1.0, cutmix=1.0, probability=0.6, switch=0.25), rng(seed))
        for seed in range(2000)
    ]
    mixed = [plan for plan in plans if plan.shares[0] < 1]
    assert len(mixed) / len(plans) == pytest.approx(0.6, abs=0.05)
    # A box of less than a pixel leaves a share of 1, so that a few of the cuts are not counted.
    assert sum(plan.cut[0] for plan in mixed) / len(mixed) == pytest.approx(0.25, abs=0.05)
    assert {plan.shift for plan in plans} == {1, 2, 3}


def test_shares_follow_the_beta_distribution_of_timm() -> None:
    """Mean 1/2, and the variance 1 / (4 (2 alpha + 1)) of Beta(alpha, alpha)."""
    for alpha in (0.2, 1.0):
        shares = draw_plan(20000, SIZE, SIZE, how(mixup=alpha, mode="sample"), rng()).shares
        assert shares.mean() == pytest.approx(0.5, abs=0.01)
        assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)


def test_the_labels_are_those_of_timm(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    """With the same share and the same partners, after the label smoothing of the loss."""
    timm = pytest.importorskip("timm.data.mixup")
    _, labels = batch
    share = 0.3
    theirs = timm.mixup_target(labels, CLASSES, lam=share, smoothing=0.1)
    dense = torch.nn.functional.one_hot(labels, CLASSES).float()
    mine = share * dense + (1 - share) * dense.flip(0)
    torch.testing.assert_close(mine * 0.9 + 0.1 / CLASSES, theirs)


def test_a_single_image_has_no_partner(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    """It keeps its label, in the form of the other batches."""
    images, labels = batch
    mixed, dense = mix(images[:1], labels[:1], CLASSES, how(mixup=1.0), rng())
    assert torch.equal(mixed, images[:1])
    assert dense.tolist() == [[1.0, 0.0, 0.0, 0.0, 0.0]]
