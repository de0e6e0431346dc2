"""The names of augmentation policies, such as ``rand-2-9``, and what they stand for."""

import re
from dataclasses import dataclass
from typing import Literal

from ...prep import TrainingError

Family = Literal["none", "trivial", "rand", "timm"]

# torchvision divides its magnitudes into 31 bins, 0 to 30. timm's go to 10.
MOST_BINS, MOST_LEVEL = 30, 10
MOST_LAYERS = 16

_TORCHVISION = re.compile(r"rand-(\d{1,2})-(\d{1,2})", re.ASCII)
_TIMM = re.compile(
    r"rand-m(\d{1,2}(?:\.\d+)?)(?:-n(\d{1,2}))?(?:-p([01](?:\.\d+)?))?(?:-mstd(\d(?:\.\d+)?))?-inc1", re.ASCII
)

HELP = "none, trivial, rand-N-M of torchvision such as rand-2-9, or rand-mM-... of timm such as rand-m7-mstd0.5-inc1"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How many operations are applied to each image, which, and how strongly."""

    family: Family
    """``trivial``: one operation of any strength (TrivialAugment, Mueller and Hutter, 2021). ``rand``: RandAugment
    (Cubuk et al., 2019) with torchvision's operations and strengths. ``timm``: with those of timm."""
    layers: int = 0
    """Operations for each image."""
    magnitude: float = 0.0
    """Of 30 in torchvision's family, of 10 in timm's."""
    deviation: float = 0.0
    """Standard deviation of the magnitude, in timm's family."""
    probability: float = 1.0
    """The share of the operations that is applied."""


def parse_policy(text: str) -> Policy:
    """Return the policy that ``text`` names. Raises TrainingError for any other text."""
    if text == "none":
        return Policy(family="none")
    if text == "trivial":
        return Policy(family="trivial", layers=1)
    if found := _TORCHVISION.fullmatch(text):
        policy = Policy(family="rand", layers=int(found[1]), magnitude=float(found[2]))
        if 1 <= policy.layers <= MOST_LAYERS and policy.magnitude <= MOST_BINS:
            return policy
        raise TrainingError(f"augment {text!r} is not within rand-1-0 and rand-{MOST_LAYERS}-{MOST_BINS}; use these")
    if found := _TIMM.fullmatch(text):
        return _timm_policy(text, *found.groups())
    raise TrainingError(f"unknown augment {text!r}; use {HELP}")


def _timm_policy(text: str, magnitude: str, layers: str | None, probability: str | None, mstd: str | None) -> Policy:
    policy = Policy(
        family="timm",
        layers=2 if layers is None else int(layers),
        magnitude=float(magnitude),
        deviation=float(mstd or 0),
        probability=float(probability or 0.5),
    )
    if policy.magnitude > MOST_LEVEL or not 1 <= policy.layers <= MOST_LAYERS or policy.probability > 1:
        raise TrainingError(
            f"augment {text!r} is not within m0 to m{MOST_LEVEL}, n1 to n{MOST_LAYERS} and p0 to p1; use these"
        )
    return policy
