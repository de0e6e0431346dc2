"""A root whose samples have columns, made from class folders of the tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from feedline.prep import list_samples, read_manifest, write_document
from feedline.prep.roots.lists import ListedImage, list_path, write_list

NAMES = ("caption", "boxes", "class")
"""One of them has the name of a value that feedline writes itself."""


def columns_of(name: str, index: int) -> dict[str, Any]:
    """Return the columns of a sample; one in five has no boxes."""
    found: dict[str, Any] = {"caption": f"{name}: über 中文 \udce9\u2028", "boxes": [[index, 0.5]], "class": -index}
    return {key: value for key, value in found.items() if key != "boxes" or index % 5}


def add_columns(root: Path) -> dict[str, list[dict[str, Any]]]:
    """Give each labelled split of a root a list with columns; return {split: columns by sample index}."""
    manifest, found = read_manifest(root), dict[str, list[dict[str, Any]]]()
    splits = dict(manifest.splits)
    for split, held in manifest.splits.items():
        if held.per_class:
            samples = list_samples(root, manifest, split)
            found[split] = [columns_of(sample.name, index) for index, sample in enumerate(samples)]
            rows = zip(samples, found[split], strict=True)
            write_list(
                list_path(root, split),
                [
                    ListedImage(sample.path.relative_to(root).as_posix(), manifest.classes[sample.label].id, columns)
                    for sample, columns in rows
                ],
            )
            splits[split] = replace(held, listed=True, columns=NAMES)
    write_document(root / "manifest.json", replace(manifest, splits=splits))
    return {split: [dict.fromkeys(NAMES) | row for row in rows] for split, rows in found.items()}
