"""Every random transform of torchvision draws its numbers from the sample's generator, in every thread and loader."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from feedline.loaders import Loader
from feedline.loaders.transforms.seeding import Generators, Seeded, batch_seed, sample_seeds
from feedline.prep import LoaderError

from ..contract import open_named, spec_of

SAMPLE_SEEDS = [8997831984582751665, 8570738142724798224, 4710222529772810667]
BATCH_SEED = 8840597471605117993
to_float = v2.ToDtype(torch.float32, scale=True)
TRANSFORMS: dict[str, Any] = {
    "AugMix": v2.AugMix(),
    "AutoAugment": v2.AutoAugment(),
    "ColorJitter": v2.ColorJitter(0.4, 0.4, 0.4, 0.2),
    "ElasticTransform": v2.ElasticTransform(),
    "GaussianBlur": v2.GaussianBlur(5),
    "GaussianNoise": v2.Compose([to_float, v2.GaussianNoise()]),
    "JPEG": v2.JPEG((5, 90)),
    "RandAugment": v2.RandAugment(),
    "RandomAdjustSharpness": v2.RandomAdjustSharpness(2),
    "RandomAffine": v2.RandomAffine(30, (0.1, 0.2), (0.5, 2), 10),
    "RandomApply": v2.RandomApply([v2.GaussianBlur(3)]),
    "RandomAutocontrast": v2.RandomAutocontrast(),
    "RandomChannelPermutation": v2.RandomChannelPermutation(),
    "RandomChoice": v2.RandomChoice([v2.RandomRotation(40), v2.Identity()]),
    "RandomCrop": v2.RandomCrop(24),
    "RandomEqualize": v2.RandomEqualize(),
    "RandomErasing": v2.RandomErasing(value="random"),
    "RandomGrayscale": v2.RandomGrayscale(0.5),
    "RandomHorizontalFlip": v2.RandomHorizontalFlip(),
    "RandomInvert": v2.RandomInvert(),
    "RandomOrder": v2.RandomOrder([v2.RandomRotation(40), v2.RandomInvert()]),
    "RandomPerspective": v2.RandomPerspective(),
    "RandomPhotometricDistort": v2.RandomPhotometricDistort(),
    "RandomPosterize": v2.RandomPosterize(3),
    "RandomResize": v2.Compose([v2.RandomResize(30, 60), v2.CenterCrop(28)]),
    "RandomResizedCrop": v2.RandomResizedCrop(24),
    "RandomRotation": v2.RandomRotation(40),
    "RandomShortestSize": v2.Compose([v2.RandomShortestSize([33, 44]), v2.CenterCrop(28)]),
    "RandomSolarize": v2.RandomSolarize(100),
    "RandomVerticalFlip": v2.RandomVerticalFlip(),
    "RandomZoomOut": v2.Compose([v2.RandomZoomOut(), v2.Resize((24, 24))]),
    "ScaleJitter": v2.Compose([v2.ScaleJitter((32, 32)), v2.CenterCrop(20)]),
    "TrivialAugmentWide": v2.TrivialAugmentWide(),
}
DRAWS: dict[str, Callable[[], Any]] = {
    "rand": lambda: torch.rand(3),
    "rand, by keyword": lambda: torch.rand(size=(3,)),
    "randn": lambda: torch.randn(3),
    "randint": lambda: torch.randint(3, 90, (3,)),
    "randperm": lambda: torch.randperm(30),
    "normal": lambda: torch.normal(0.0, 1.0, (3,)),
    "normal of tensors": lambda: torch.normal(torch.zeros(3), torch.ones(3)),
    "normal of a mean": lambda: torch.normal(mean=torch.zeros(3)),
    "bernoulli": lambda: torch.bernoulli(torch.full((99,), 0.5)),
    "multinomial": lambda: torch.ones(50).multinomial(9),
    "poisson": lambda: torch.poisson(torch.full((9,), 50.0)),
    "binomial": lambda: torch.binomial(torch.full((9,), 50.0), torch.full((9,), 0.5)),
    "rand_like": lambda: torch.rand_like(torch.ones(3)),
    "randn_like": lambda: torch.randn_like(torch.ones(3, dtype=torch.uint8), dtype=torch.float32),
    "randint_like": lambda: torch.randint_like(torch.ones(9), 3, 90),
    "randint_like, by keyword": lambda: torch.randint_like(torch.ones(9), high=90),
    "uniform_": lambda: torch.empty(3).uniform_(1, 2),
    "exponential_": lambda: torch.empty(3).exponential_(),
    "random_": lambda: torch.empty(3, dtype=torch.int64).random_(),
    "log_normal_": lambda: torch.empty(3).log_normal_(),
    "Beta": lambda: torch.distributions.Beta(0.4, 0.4).sample((3,)),
    "Normal": lambda: torch.distributions.Normal(0.0, 1.0).sample((3,)),
    "Categorical": lambda: torch.distributions.Categorical(torch.ones(50)).sample((9,)),
    "kaiming_uniform_": lambda: torch.nn.init.kaiming_uniform_(torch.empty(3, 3)),
    "kaiming_normal_": lambda: torch.nn.init.kaiming_normal_(torch.empty(3, 3)),
    "xavier_uniform_": lambda: torch.nn.init.xavier_uniform_(torch.empty(3, 3)),
    "trunc_normal_": lambda: torch.nn.init.trunc_normal_(torch.empty(3, 3)),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_functions_that_draw_use_the_generator(draw: Callable[[], Any]) -> None:
    """The same seed gives the same numbers, another seed others, and the global generator stays where it is."""
    before = torch.random.get_rng_state()
    found: list[torch.Tensor] = []
    for seed in (4, 4, 5):
        with Seeded(Generators(seed)):
            found.append(draw())
            following = draw()
        assert not torch.equal(found[-1], following)

    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", ["dropout", "alpha_dropout", "gumbel_softmax"])
def test_functions_that_take_no_generator_are_refused(name: str) -> None:
    """Instead of numbers that change with the threads; without training, dropout draws nothing."""
    function = getattr(torch.nn.functional, name)
    with Seeded(Generators(1)):
        with pytest.raises(LoaderError, match=f"{name} draws from torch's global generator"):
            function(torch.ones(3), **({"training": True} if "dropout" in name else {}))
        if "dropout" in name:
            assert torch.equal(function(torch.ones(3), training=False), torch.ones(3))


def test_threads_do_not_disturb_one_another() -> None:
    """Each has its own generator, while another draws from the global one."""

    def numbers(seed: int) -> list[float]:
        with Seeded(Generators(seed)):
            return [float(torch.rand(())) for _ in range(200)]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(numbers, range(40)))
    assert together == [numbers(seed) for seed in range(40)]


@pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")  # of v2.JPEG
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_transforms_of_torchvision_do_not_depend_on_threads(transform: Any, root: Path, opened: list[Loader]) -> None:
    """Bit for bit, and the global generator stays where it is."""
    opened += [
        open_named("threaded", spec_of(root, split="val", image_size=40, workers=workers, sample_transform=transform))
        for workers in (0, 4)
    ]
    before = torch.random.get_rng_state()
    alone, threads = ([batch.images for batch in loader] for loader in opened)
    again = [batch.images for batch in opened[0]]

    assert all(torch.equal(a, b) for a, b in zip(alone, threads, strict=True))
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(alone, again, strict=True))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_seeds_are_written_down() -> None:
    """Runs of years ago stay repeatable: the numbers are these."""
    assert sample_seeds(np.array([0, 1, 1 + (1 << 40)]), 5, 2) == SAMPLE_SEEDS
    assert batch_seed(np.array([3, 1, 2]), 5, 2) == BATCH_SEED
    assert batch_seed(np.array([1, 3, 2]), 5, 2) != BATCH_SEED
