"""Shards as other tools write them, made by tests: members, names and layouts of real data sets, at small size."""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("n01440764", "n01443537", "n02110185")


def image(seed: int, suffix: str = "jpg", size: tuple[int, int] = (48, 40)) -> bytes:
    """Return an image in the format of a suffix: a smooth field with some noise, another for each seed."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 5, 3), np.uint8)
    picture = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    out = io.BytesIO()
    kind = {"jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF", "ppm": "PPM"}.get(suffix.lower(), suffix.upper())
    picture.save(out, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return out.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], dialect: int = tarfile.USTAR_FORMAT) -> Path:
    """Write a tar of these members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=dialect) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def sample(key: str, files: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    """Return the members of one sample: bytes as they are, text in UTF-8, all else as JSON."""

    def data(value: Any) -> bytes:
        return value if isinstance(value, bytes) else value.encode() if isinstance(value, str) else _json(value)

    return [(f"{key}.{extension}", data(value)) for extension, value in files.items()]


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def write_timm(place: Path, *, shards: int = 2, per_shard: int = 6) -> Path:
    """Write shards as timm/imagenet-1k-wds has them: key.cls, key.jpg, key.json; train and validation."""
    for split, folder in (("train", "train"), ("validation", "validation")):
        for number in range(shards):
            members: list[tuple[str, bytes]] = []
            for place_in in range(per_shard):
                seed = 1000 * (split != "train") + number * per_shard + place_in
                label = seed % len(CLASSES)
                about = {"filename": f"{CLASSES[label]}_{seed}.JPEG", "label": label, "height": 40, "width": 48}
                key = f"{CLASSES[label]}_{seed}"
                members += sample(key, {"cls": str(label), "jpg": image(seed), "json": about})
            write_tar(place / f"imagenet1k-{folder}-{number:04d}.tar", members)
    (place / "_info.json").write_text(json.dumps({"splits": {"train": {"name": "train"}}, "license": "theirs"}))
    return place


def write_w21(place: Path, labels: Sequence[int] = (0, 7, 19166)) -> Path:
    """Write shards as timm/imagenet-w21-webp-wds has them: .webp, .cls and .json, 19,167 classes."""
    for split, seeds in (("train", range(6)), ("validation", range(6, 9))):
        members: list[tuple[str, bytes]] = []
        for seed in seeds:
            label = labels[seed % len(labels)]
            members += sample(
                f"n{seed:08d}_{seed}", {"webp": image(seed, "webp"), "json": {"label": label}, "cls": f"{label}\n"}
            )
        write_tar(place / f"imagenet_w21-{split}-0000.tar", members)
    return place


def write_img2dataset(place: Path, shards: int = 2) -> Path:
    """Write what img2dataset leaves: 00000.tar with jpg, json and txt, a parquet file and statistics next to each."""
    for number in range(shards):
        members: list[tuple[str, bytes]] = []
        for place_in in range(5):
            seed = 5 * number + place_in
            kind = ("cat", "dog", "Käfer")[seed % 3]
            about = {
                "caption": f"a {kind}, number {seed}", "url": f"https://example.org/{seed}.jpg", "key": f"{seed:09d}",
                "status": "success", "error_message": None, "width": 48, "height": 40, "kind": kind,
                "tags": {"animal": kind, "id": seed % 3},
            }  # fmt: skip
            members += sample(f"{seed:09d}", {"jpg": image(seed), "json": about, "txt": f"a {kind}, number {seed}"})
        write_tar(place / f"{number:05d}.tar", members)
        (place / f"{number:05d}.parquet").write_bytes(b"PAR1")
        (place / f"{number:05d}_stats.json").write_text("{}")
    return place


def write_folder_keys(place: Path, suffix: str = "JPEG") -> Path:
    """Write shards whose keys have the class folder, as a tar of class folders has: n01440764/xyz.JPEG."""
    for split in ("train", "val"):
        members = [(f"{CLASSES[seed % 3]}/img_{split}_{seed}.{suffix}", image(seed, "jpg")) for seed in range(9)]
        write_tar(place / split / "shard-000000.tar", sorted(members), tarfile.GNU_FORMAT)
    return place
