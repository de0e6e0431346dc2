"""The what-if: predicted rates for data on another disk or in another encoding, from what was measured.

The prediction simulates (``storage_model``) the loader on a disk of the table (``hardware``). Its inputs are the
loader's measured rate on warm data, and the sizes and working times of a sample of images in each encoding.
``claims.prediction_check`` compares it with runs behind a throttle.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ...prep.base.manifest import Encode
from ..measuring.encodings import Profile
from .hardware import DISKS
from .recommend import training_rate
from .storage_model import Load, predict

IMAGENET = 1_281_167
"""Images of ImageNet's train split."""
SEQUENTIAL = ("webdataset",)
"""Loaders that read shards from front to back."""


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """The prediction for one disk and one encoding."""

    disk: str
    encode: Encode
    loader: str
    workers: int
    bytes_per_image: float
    loader_images_per_second: float
    """The rate of the loader alone."""
    images_per_second: float
    """The rate of a training with the loader and the model, or of the loader alone if there is no model."""
    epoch_seconds: float
    """Time of an epoch of ImageNet's 1,281,167 images at this rate."""
    source: str

    @property
    def epoch_time(self) -> str:
        """The time of the epoch as text, in hours and minutes."""
        minutes = round(self.epoch_seconds / 60)
        return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{self.epoch_seconds / 60:.1f} min"


def what_ifs(
    profile: Profile,
    rates: Mapping[int, float],
    workers: int,
    *,
    model: float | None = None,
    shares_cpus: bool = False,
) -> list[WhatIf]:
    """Return a prediction for each disk of the table and each encoding of ``profile``.

    ``rates`` are the loader's images/s on warm data by number of workers. The prediction is for ``workers`` workers and
    for a model that takes ``model`` images/s, on the same CPUs as the loader if ``shares_cpus``.
    """
    found: list[WhatIf] = []
    for encode, load in loads(profile, rates, workers).items():
        for disk in DISKS:
            alone = predict(load, disk)
            both = alone if model is None else training_rate(alone, model, shares_cpus=shares_cpus, workers=workers)
            found.append(
                WhatIf(
                    disk=disk.name,
                    encode=encode,
                    loader=profile.as_is.loader,
                    workers=workers,
                    bytes_per_image=sum(load.sizes) / len(load.sizes),
                    loader_images_per_second=alone,
                    images_per_second=both,
                    epoch_seconds=IMAGENET / both,
                    source=disk.source,
                )
            )
    return found


def loads(profile: Profile, rates: Mapping[int, float], workers: int) -> dict[Encode, Load]:
    """Return the work of the loader in each encoding, the measured one first.

    Bytes and working time of an encoding are those of the root's images, times the ratio measured in the sample.
    """
    measured = profile.as_is
    sequential = measured.loader in SEQUENTIAL
    found: dict[Encode, Load] = {
        profile.encode: Load(
            sizes=measured.sizes,
            work_seconds=measured.work_seconds,
            rates=rates,
            workers=workers,
            sequential=sequential,
        )
    }
    here = profile.encodings.get(profile.encode)
    for encode, there in profile.encodings.items():
        if here is None or encode == profile.encode:
            continue
        bigger = measured.bytes_per_image / here.bytes_per_image
        found[encode] = Load(
            sizes=tuple(bigger * size for size in there.sizes),
            work_seconds=there.work_seconds,
            rates={count: rate * here.mean_work / there.mean_work for count, rate in rates.items()},
            workers=workers,
            sequential=sequential,
        )
    return found
