"""Every operation on a batch equals torchvision's on single images with the same strengths."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode, RandAugment, TrivialAugmentWide, functional as vision

from feedline.prep import TrainingError
from feedline.train.augment.apply import KERNELS, apply_operation, apply_policy, strengths_of
from feedline.train.augment.changes import JITTERED, erase, jitter_colours
from feedline.train.augment.spaces import Entry, space_of
from feedline.train.settings.policy import Policy, parse_policy

HEIGHT, WIDTH, COUNT = 48, 40, 8
THEIRS = {
    "identity": "Identity",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "saturation": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterize": "Posterize",
    "solarize": "Solarize",
    "auto_contrast": "AutoContrast",
    "equalize": "Equalize",
}
BLACK = (0, 0, 0)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Return smooth images with noise, uint8 (8, 3, 48, 40), in the layout of a batch."""
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand(COUNT, 3, 6, 5, generator=generator)
    large = torch.nn.functional.interpolate(smooth, size=(HEIGHT, WIDTH), mode="bilinear")
    noise = torch.rand(COUNT, 3, HEIGHT, WIDTH, generator=generator)
    return ((0.8 * large + 0.2 * noise) * 255).to(torch.uint8).contiguous(memory_format=torch.channels_last)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def differ(mine: torch.Tensor, theirs: torch.Tensor) -> tuple[int, float]:
    """Return the largest difference of two uint8 tensors, and the share of values that differ."""
    gaps = (mine.int() - theirs.int()).abs()
    return int(gaps.max()), float((gaps > 0).float().mean())


def theirs_of(image: torch.Tensor, policy: type, operation: str, level: int, negative: bool) -> torch.Tensor:
    """Return torchvision's result for one image and a bin."""
    transform = policy(interpolation=InterpolationMode.BILINEAR)
    magnitudes, signed = policy._AUGMENTATION_SPACE[THEIRS[operation]]  # type: ignore[attr-defined]
    table = magnitudes(31, HEIGHT, WIDTH)
    magnitude = 0.0 if table is None else float(table[level])
    if signed and negative:
        magnitude = -magnitude
    return transform._apply_image_or_video_transform(
        image, THEIRS[operation], magnitude, interpolation=transform.interpolation, fill={torch.Tensor: None}
    )


@pytest.mark.parametrize(("name", "policy"), [("trivial", TrivialAugmentWide), ("rand-2-9", RandAugment)])
def test_operations_and_strengths_are_those_of_torchvision(name: str, policy: type, images: torch.Tensor) -> None:
    """All operations, in torchvision's order, with all bins: at most the last digit of a few values differs."""
    space = space_of(parse_policy(name), HEIGHT, WIDTH)
    assert [THEIRS[entry.operation] for entry in space] == list(policy._AUGMENTATION_SPACE)  # type: ignore[attr-defined]
    levels, negative = np.linspace(0, 30, COUNT).round(), np.arange(COUNT) % 2 == 1
    for entry in space[1:]:
        mine = apply_operation(entry.operation, images, strengths_of(entry, levels, negative), BLACK)
        theirs = torch.stack(
            [
                theirs_of(image, policy, entry.operation, int(level), bool(sign))
                for image, level, sign in zip(images, levels, negative, strict=True)
            ]
        )
        most, share = differ(mine, theirs)
        assert most <= 1, entry.operation
        assert share < 0.01, entry.operation


def test_a_moved_image_is_surrounded_by_the_fill_colour(images: torch.Tensor) -> None:
    """At the border it is blended in the shares that bilinear interpolation leaves to it."""
    colour = torch.tensor([124.0, 116.0, 104.0])
    mine = apply_operation("rotate", images, np.full(COUNT, 7.25), (124, 116, 104))
    moved, covered = (
        vision.rotate(part, 7.25, InterpolationMode.BILINEAR) for part in (images.float(), torch.ones(images.shape))
    )
    expected = moved + (1 - covered) * colour.view(3, 1, 1)
    assert (mine - expected).abs().max() < 0.51
    assert mine[0, :, 0, 0].tolist() == [124, 116, 104]


def test_the_operations_that_only_timm_has(images: torch.Tensor) -> None:
    """Invert, and solarize with an addition, per value."""
    assert torch.equal(apply_operation("invert", images, np.zeros(COUNT), BLACK), 255 - images)
    added = np.arange(COUNT) * 10.0
    mine = apply_operation("solarize_add", images, added, BLACK)
    for row, image in enumerate(images.int()):
        expected = torch.where(image < 128, (image + 10 * row).clamp(max=255), image)
        assert torch.equal(mine[row].int(), expected)


def test_the_strengths_of_timm_follow_its_formulas() -> None:
    """At levels 0, 5 and 10, and for both signs: the arguments that timm computes for its operations."""
    auto_augment = pytest.importorskip("timm.data.auto_augment")
    names = {"saturation": "ColorIncreasing", "solarize_add": "SolarizeAdd", "rotate": "Rotate"}
    names |= {"shear_x": "ShearX", "shear_y": "ShearY"}
    names |= {name: f"{name.capitalize()}Increasing" for name in ("posterize", "solarize", "contrast", "brightness")}
    names["sharpness"] = "SharpnessIncreasing"
    levels = np.array([0.0, 3.3, 5.0, 10.0])
    space = {entry.operation: entry for entry in space_of(parse_policy("rand-m9-inc1"), HEIGHT, WIDTH)}
    assert len(space) == len(auto_augment._RAND_INCREASING_TRANSFORMS)
    for mine, theirs in names.items():
        level_to_arg = auto_augment.LEVEL_TO_ARG[theirs]
        for negative in (False, True):
            found = strengths_of(space[mine], levels, np.full(len(levels), negative))
            for level, strength in zip(levels, found, strict=True):
                drawn = {round(float(level_to_arg(level, {})[0]), 9) for _ in range(40)}
                assert round(float(strength), 9) in drawn, (mine, level)
    across = strengths_of(space["translate_x"], np.array([10.0]), np.array([False]))
    assert across == pytest.approx(0.45 * WIDTH)


def test_each_image_has_its_own_operations(images: torch.Tensor) -> None:
    """Equal images of a batch become different ones, and not as a group: torchvision draws once for all."""
    equal = images[:1].repeat(COUNT, 1, 1, 1)
    for name in ("trivial", "rand-2-9", "rand-m7-mstd0.5-inc1"):
        changed = apply_policy(equal, parse_policy(name), rng())
        assert len({image.numpy().tobytes() for image in changed}) > COUNT // 2
        assert torch.equal(changed, apply_policy(equal, parse_policy(name), rng()))
        assert not torch.equal(changed, apply_policy(equal, parse_policy(name), rng(1)))
    drawn = v2.TrivialAugmentWide()(equal)
    assert len({image.numpy().tobytes() for image in drawn}) == 1


def test_operations_come_as_often_as_the_policy_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the operations with the same probability; timm applies half of them."""
    counted: dict[str, int] = {}

    def count(name: str, images: torch.Tensor, strengths: np.ndarray, fill: object) -> torch.Tensor:
        counted[name] = counted.get(name, 0) + len(images)
        return images

    monkeypatch.setattr("feedline.train.augment.apply.apply_operation", count)
    many = torch.zeros(6000, 3, 2, 2, dtype=torch.uint8)
    for name, expected in (("rand-2-9", 2 / 14), ("trivial", 1 / 14), ("rand-m7-mstd0.5-inc1", 2 * 0.5 / 15)):
        counted.clear()
        apply_policy(many, parse_policy(name), rng())
        shares = {operation: number / 6000 for operation, number in counted.items()}
        assert len(shares) == (15 if "inc1" in name else 13)  # the identity is not applied
        assert all(share == pytest.approx(expected, rel=0.25) for share in shares.values()), name


def test_jitter_is_that_of_torchvision_in_an_order_per_image(images: torch.Tensor) -> None:
    """Each image equals one of the six orders of torchvision's functions with its factors."""
    share = 0.4
    mine = jitter_colours(images, share, rng())
    draws = rng()
    factors = draws.uniform(1 - share, 1 + share, (3, COUNT))
    orders = draws.permuted(np.tile(np.arange(3), (COUNT, 1)), axis=1)
    theirs = {"brightness": "adjust_brightness", "contrast": "adjust_contrast", "saturation": "adjust_saturation"}
    for row, image in enumerate(images):
        for number in orders[row]:
            image = getattr(vision, theirs[JITTERED[number]])(image, factors[number, row])
        most, share_of_values = differ(mine[row], image)
        assert most <= 2
        assert share_of_values < 0.05
    assert len({tuple(order) for order in orders}) > 1


def test_an_erased_rectangle_has_the_mean_colour_and_the_published_size() -> None:
    """2 to 33 % of the area, as often as requested, at other places in each image."""
    black = torch.zeros(300, 3, 64, 64, dtype=torch.uint8)
    erased = erase(black, 0.5, rng())
    area = (erased[:, 0] > 0).float().mean(dim=(1, 2))
    hit = area > 0
    assert hit.float().mean() == pytest.approx(0.5, abs=0.1)
    assert area[hit].min() > 0.015
    assert area[hit].max() < 0.35
    assert erased[hit].amax(dim=(2, 3)).unique(dim=0).tolist() == [[124, 116, 104]]
    places = {tuple(torch.nonzero(image)[0].tolist()) for image in erased[hit][:, 0]}
    assert len(places) > 100
    assert torch.equal(erase(black, 0.0, rng()), black)


def test_images_that_are_too_small_to_erase_or_sharpen_stay(images: torch.Tensor) -> None:
    """Two pixels have no inner ones."""
    tiny = images[:, :, :1, :2]
    assert torch.equal(apply_operation("sharpness", tiny, np.full(COUNT, 1.9), BLACK), tiny)
    assert erase(tiny, 1.0, rng()).shape == tiny.shape
    for name in KERNELS:
        assert apply_operation(name, tiny, np.ones(COUNT), BLACK).shape == tiny.shape


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("none", Policy(family="none")),
        ("trivial", Policy(family="trivial", layers=1)),
        ("rand-2-9", Policy(family="rand", layers=2, magnitude=9)),
        ("rand-m6-mstd0.5-inc1", Policy(family="timm", layers=2, magnitude=6, deviation=0.5, probability=0.5)),
        ("rand-m9-n3-p0.3-inc1", Policy(family="timm", layers=3, magnitude=9, probability=0.3)),
    ],
)
def test_the_names_of_policies(text: str, policy: Policy) -> None:
    """As in torchvision's and timm's trainings."""
    assert parse_policy(text) == policy


@pytest.mark.parametrize(
    "text", ["", "rand", "rand-2-31", "rand-17-9", "rand-m7", "rand-m11-inc1", "rand-m7-p2-inc1", "ta_wide"]
)
def test_unknown_policies_are_refused(text: str) -> None:
    """timm's operations whose strength falls with the level are refused, like everything unknown."""
    with pytest.raises(TrainingError, match=r"augment .*; use "):
        parse_policy(text)


def test_a_strength_has_a_least_value() -> None:
    """timm's factors do not fall below 0.1."""
    entry = Entry(operation="contrast", strength=lambda levels: levels, signed=True, around=1.0, least=0.1)
    assert strengths_of(entry, np.array([0.95]), np.array([True])) == pytest.approx([0.1])
