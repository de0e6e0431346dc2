"""Small parquet files of images, as the tests of them write them."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from feedline.prep import Manifest, prepare_parquet

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


PETS = ("Abyssinian cat", "Köter", "animal/猫")


def image(number: int, kind: str = "PNG") -> bytes:
    """Return a small image whose pixels say its number."""
    data = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), number * 7 % 256, np.uint8)).save(data, kind)
    return data.getvalue()


def rows_of(count: int, *, start: int = 0, kind: str = "PNG", paths: bool = False, classes: int = 3) -> dict[str, list]:
    """Return columns of image and label, row i of class i % classes."""
    numbers = range(start, start + count)
    images = [{"bytes": image(n, kind), "path": f"photos/{n}.{kind.lower()}" if paths else None} for n in numbers]
    return {"image": images, "label": [n % classes for n in numbers]}


def write(
    path: Path,
    columns: dict[str, Sequence[Any]],
    names: dict[str, Sequence[str]] | None = None,
    types: dict[str, Any] | None = None,
    group: int = 4,
) -> Path:
    """Write a parquet file; ``names`` are the classes of label columns, as the datasets library stores them."""
    table = pa.table({name: pa.array(list(v), type=(types or {}).get(name)) for name, v in columns.items()})
    if names:
        features = {name: {"names": list(of), "_type": "ClassLabel"} for name, of in names.items()}
        about = {"info": {"features": {"image": {"_type": "Image"}, **features}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group)
    return path


def prepared(source: Path, out: Path, **options: Any) -> tuple[Manifest, list[str]]:
    said: list[str] = []
    return prepare_parquet([source], out, notice=said.append, **options), said
