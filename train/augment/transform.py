"""``Augment``: all augmentations of a run as one ``batch_transform``.

A loader calls it for each train batch, on the batch's device, one batch ahead of the step and, on a GPU, on another
stream. Its random numbers depend on the seed, the epoch and the samples of the batch, so that they do not change with
workers or a resume.
"""

from dataclasses import dataclass

import torch

from ..settings.policy import Policy
from .apply import apply_policy
from .changes import erase, jitter_colours
from .draws import host_generator
from .mixing import Mix, mix


@dataclass(frozen=True, kw_only=True)
class Augment:
    """The augmentations of a run, in the order of torchvision's and timm's trainings."""

    classes: int
    colour_jitter: float
    policy: Policy
    erase: float
    mix: Mix | None
    """None leaves the labels as they are."""

    @property
    def changes(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.colour_jitter or self.erase or self.policy.family != "none" or self.mix)

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, ...]:
        """Return the augmented images, uint8 (N, 3, H, W) in channels_last, and the labels.

        The labels are int64 (N,), or float32 (N, classes) if they are mixed.
        """
        rng = host_generator(generator)
        if self.colour_jitter:
            images = jitter_colours(images, self.colour_jitter, rng)
        if self.policy.family != "none":
            images = apply_policy(images, self.policy, rng)
        if self.erase:
            images = erase(images, self.erase, rng)
        if self.mix is not None:
            images, labels = mix(images, labels, self.classes, self.mix, rng)
        return images.contiguous(memory_format=torch.channels_last), labels
