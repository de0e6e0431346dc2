"""Checks of the images of a data set: their formats, and the orientation in their EXIF.

Every check is a pure function from facts to a finding. It returns None for a folder that is no data set.
"""

from ...prep.base.shell import shell_word
from .finding import Finding
from .machine_facts import MachineFacts

GAIN = 1.2  # below it, sharding for decoding alone is not worth a note


def formats(facts: MachineFacts) -> Finding | None:
    """Report the formats, what decoding them costs, and what shards would gain."""
    data = facts.place.data
    if data is None:
        return None
    kinds = ", ".join(f"{count} {kind}" for kind, count in data.formats.items())
    found = f"of {data.images:,} images, {data.examined} were examined: {kinds}"
    costs = ", ".join(f"{kind} {cost:g}" for kind, cost in data.costs.items())
    said = [f"times the decoding of a baseline JPEG of the same pixels: {costs}"] if costs else []
    gains = data.gain is not None and data.gain >= GAIN
    if gains:
        said.append(f"threaded would decode training crops of JPEGs {data.gain:g} times as fast from shards")
    return Finding(
        subject="images",
        level="note" if gains else "ok",
        found=found,
        consequence="; ".join(said) or None,
        mend=f"feedline shard {shell_word(facts.place.path)}" if gains else None,
    )


def orientation(facts: MachineFacts) -> Finding | None:
    """Check whether EXIF would turn images, which no training loader does."""
    data = facts.place.data
    if data is None or not data.rotated:
        return None
    return Finding(
        subject="orientation",
        level="note",
        found=f"EXIF turns {data.rotated} of {data.examined} images that were examined",
        consequence="training loaders ignore it, and load these images as the camera stored them",
        mend=f"feedline shard {shell_word(facts.place.path)} --apply-orientation",
    )
