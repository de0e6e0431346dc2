"""The names by which columns of files, labels and splits are recognised."""

import re
from collections.abc import Callable

FILES = frozenset(
    ("filename", "file", "filepath", "path", "image", "img", "imageid", "imagefile", "imagename", "imagepath", "id")
)
LABELS = frozenset(("label", "class", "classname", "category", "categoryname", "target", "species", "breed"))
SPLITS = ("split", "partition", "set", "subset")
HUGGING_FACE = "filename"
NOT_LETTERS = re.compile(r"[\W_]+")

Lookup = Callable[[frozenset[str]], frozenset[str]]
"""Returns which of some values name an image of the sources."""


def plain_name(name: str) -> str:
    """Return the letters and digits of a column's name, by which known names are compared."""
    return NOT_LETTERS.sub("", name).casefold()
