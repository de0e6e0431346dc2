"""The name of a data set, by which its shards are called."""

import re
from collections.abc import Sequence

from ..labelled.images import LabelledSource
from ..labelled.request import LabelledRequest
from ..sources.naming import split_named

LONGEST = 60  # characters


def dataset_name(sources: Sequence[LabelledSource], request: LabelledRequest) -> str:
    """Return the request's name, or one of the first source: of ASCII letters, digits, ``-``, ``_`` and ``.``."""
    path = sources[0].path.resolve()
    own = [path.name if path.is_dir() else path.name.partition(".")[0], path.parent.name]
    names = [name for name in own if split_named(name) is None]
    for name in (request.dataset, *names):
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:LONGEST].strip("-.")
        if plain:
            return plain.lower()
    return "images"
