"""Whether shards of pixels would pay: what they save in decoding, against the disk and the memory that they need.

Pixels need no decoding and several times the room. They pay if they stay in memory, or if the disk delivers them
faster than the CPUs decode the encoded images. The working times and bytes are those of the profile: the same images
in both encodings. All functions are pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..measuring.encodings import Profile
from .what_if import WhatIf

WORTH = 1.1
"""The least gain in images/s that is worth another set of shards."""


@dataclass(frozen=True, kw_only=True)
class RawPixels:
    """Raw shards of the images of a root, compared with what its loader reads now."""

    bytes_per_image: float
    bytes_per_image_now: float
    milliseconds: float
    """Work of one thread for an image, without fetching."""
    milliseconds_now: float
    data_bytes: float
    """Of all images of the root as pixels."""
    free_bytes: int
    """Memory that is free for the page cache."""
    disk_bytes_per_second: float
    """What a disk must deliver so that the loader does not wait for it, if the pixels do not stay in memory."""
    faster_on: tuple[str, ...]
    """The disks of the what-if from which the loader would be at least 1.1 times as fast."""

    @property
    def gain(self) -> float:
        """How many times less work an image takes."""
        return self.milliseconds_now / self.milliseconds

    @property
    def fits(self) -> bool:
        """Whether all pixels fit into free memory."""
        return self.data_bytes <= self.free_bytes

    @property
    def pays(self) -> bool:
        """Whether the loader becomes faster: from memory, or from one of the disks."""
        return (self.fits and self.gain >= WORTH) or bool(self.faster_on)

    @property
    def sentence(self) -> str:
        """The comparison, with its numbers."""
        room, free = _size(self.data_bytes), _size(self.free_bytes)
        sizes = f"{self.bytes_per_image / 1e3:,.1f} kB instead of {self.bytes_per_image_now / 1e3:,.1f} kB per image"
        work = f"{self.milliseconds:.3f} ms instead of {self.milliseconds_now:.3f} ms of one thread"
        memory = f"{room} {'fit' if self.fits else 'do not fit'} into free memory ({free})"
        link = f"{self.disk_bytes_per_second / 1e6:,.0f} MB/s"
        if self.gain < WORTH:
            return f"Raw pixels do not pay: {sizes}, and {work}."
        if self.fits:
            return f"Raw pixels pay from the second epoch on: {sizes}, {work}; {memory}."
        if self.faster_on:
            disks = ", ".join(self.faster_on)
            return f"Raw pixels pay on a fast disk only: {sizes}, {work}; {memory}, and need {link} ({disks})."
        return f"Raw pixels do not pay: {sizes}, {work}; {memory}, and no disk of the table is fast enough for {link}."


def compare_raw(
    profile: Profile, rows: Sequence[WhatIf], *, warm: float, data_bytes: int, free_bytes: int
) -> RawPixels | None:
    """Return what raw shards would change; None if that was not measured, or if the images are raw already.

    ``warm`` are the images/s of the loader on warm data as they are, ``data_bytes`` the size of these.
    """
    here, raw = profile.encodings.get(profile.encode), profile.encodings.get("raw")
    if here is None or raw is None or profile.encode == "raw":
        return None
    larger, gain = raw.bytes_per_image / here.bytes_per_image, here.mean_work / raw.mean_work
    size = profile.as_is.bytes_per_image * larger
    rates = {(row.disk, row.encode): row.loader_images_per_second for row in rows}
    return RawPixels(
        bytes_per_image=size,
        bytes_per_image_now=profile.as_is.bytes_per_image,
        milliseconds=1000 * raw.mean_work,
        milliseconds_now=1000 * here.mean_work,
        data_bytes=data_bytes * larger,
        free_bytes=free_bytes,
        disk_bytes_per_second=warm * gain * size,
        faster_on=tuple(
            disk
            for disk in dict.fromkeys(row.disk for row in rows)
            if rates.get((disk, "raw"), 0.0) >= WORTH * rates[disk, profile.encode]
        ),
    )


def _size(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"
