"""The reassessed labels of ImageNet's val images: every class that an image shows, where ROOT has them.

They are those of Beyer et al., Are we done with ImageNet?, 2020. ``ROOT/real.json`` is their file: a list with the
class indexes of each val image, by the number in its name, from 1. An image without any class does not count.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ...prep import TrainingError

REAL = "real.json"
MAX_BYTES = 64 * 1024**2  # the file of 50,000 images has 0.6 MB
NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})\b")


def read_real(root: Path, split: str, classes: int) -> list[list[int]] | None:
    """Return the lists of ``ROOT/real.json``; None without the file, and for other splits than val.

    Raises TrainingError for a file that does not have this form or these classes.
    """
    path = root / REAL
    if split != "val" or not path.is_file():
        return None
    try:
        if path.stat().st_size > MAX_BYTES:
            raise TrainingError(f"{path} has more than {MAX_BYTES} bytes; put ImageNet-ReaL's real.json there")
        labels = TypeAdapter(list[list[int]]).validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise TrainingError(
            f"{path} is not a list of lists of class indexes; put ImageNet-ReaL's file there"
        ) from error
    wrong = next((label for found in labels for label in found if not 0 <= label < classes), None)
    if wrong is not None:
        raise TrainingError(f"{path} has the class {wrong}, and {root} has {classes} classes; use its own real.json")
    return labels


def real_top1(real: list[list[int]], keys: Sequence[str], best: Sequence[int]) -> float | None:
    """Return the share of images whose predicted class is among their reassessed labels; None without such an image.

    ``keys`` and ``best`` are the key and the predicted class of each image.
    """
    hits: list[bool] = []
    for key, predicted in zip(keys, best, strict=True):
        number = NUMBER.search(key)
        found = real[int(number[1]) - 1] if number and 0 < int(number[1]) <= len(real) else []
        if found:
            hits.append(predicted in found)
    return sum(hits) / len(hits) if hits else None
