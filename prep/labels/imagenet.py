"""The bundled 1000 ILSVRC-2012 classes and 50,000 validation labels, which save a second download.

The validation archive holds no labels. They usually come from a devkit whose class ids are *not* the sorted index,
or from a shell script fetched at run time. Pairing either with a directory listing shifts every label if one file
is missing. Here a label belongs to a file name. The table is derived from the label list of tensorflow-datasets
4.9.9 (Apache-2.0), and the English names from torchvision's weights (BSD-3-Clause). ``NOTICE`` next to this file
says how.
"""

import hashlib
import lzma
import struct
from functools import cache
from importlib.resources import files

from ..base.errors import DatasetError

# sha256 of the sorted wnids, one per line, and of "<file name> <wnid>" lines sorted by file name.
WNIDS_SHA256 = "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15"
VALIDATION_SHA256 = "51f21feed9bb7017e88190317c62ec834b43dc011d9f8e43cef8b1bfeb0d4f71"


@cache
def wnids() -> tuple[str, ...]:
    """Return the 1000 sorted wnids; the position of a wnid is its class index."""
    text = _resource("ilsvrc2012_wnids.txt").decode("ascii").replace("\r\n", "\n")
    _check(text, WNIDS_SHA256, "ilsvrc2012_wnids.txt")
    return tuple(text.split())


@cache
def validation_labels() -> dict[str, str]:
    """Return {file name: wnid} for the 50,000 validation images, sorted by file name."""
    table = lzma.decompress(_resource("ilsvrc2012_val_labels.xz"))
    indexes: tuple[int, ...] = struct.unpack(f"<{len(table) // 2}H", table)
    names = wnids()
    labels = {f"ILSVRC2012_val_{i:08d}.JPEG": names[index] for i, index in enumerate(indexes, 1)}
    text = "".join(f"{name} {wnid}\n" for name, wnid in labels.items())
    _check(text, VALIDATION_SHA256, "ilsvrc2012_val_labels.xz")
    return labels


@cache
def class_names() -> dict[str, str]:
    """Return {wnid: English name} for the 1000 classes, with the names of torchvision's ImageNet weights.

    Two names occur twice: "crane" (a bird and a machine) and "maillot".
    """
    # The package holds a table because importing torchvision for the names takes seconds and 800 MB.
    lines = _resource("ilsvrc2012_names.txt").decode("ascii").splitlines()
    return {wnid: name for wnid, _, name in (line.partition("\t") for line in lines)}


def _resource(name: str) -> bytes:
    return files(__package__ or "feedline.prep").joinpath(name).read_bytes()


def _check(text: str, sha256: str, name: str) -> None:
    if hashlib.sha256(text.encode("ascii")).hexdigest() != sha256:
        raise DatasetError(f"{name} inside the package is damaged; install feedline again")
