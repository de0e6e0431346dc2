"""Data sets as their authors publish them, rebuilt with tiny images: the same folders, names, lists and stray files."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from PIL import Image

from ..encoded_images import encode
from ..trees import Files, write_tree

PETS = {"Abyssinian": ("1", "1", "1"), "Egyptian_Mau": ("2", "1", "2"), "american_bulldog": ("3", "2", "1")}
FOODS = ("apple_pie", "baby_back_ribs", "caesar_salad")
OBJECTS = ("airplane", "automobile", "bird", "cat")
WNIDS = ("n01443537", "n01484850", "n02110341")  # of ImageNet-R and ImageNet-Sketch; A has others
WNIDS_A = ("n01498041", "n01531178", "n01534433")
WNIDS_21K = ("n00005787", "n00006484", "n01443537")


def images(kind: str = "JPEG") -> Iterator[bytes]:
    """Yield small images that all differ."""
    for number in count(1):
        image = Image.new("RGB", (16, 12), (number % 256, number // 256, 90))
        yield encode(image, kind, **({"comment": str(number)} if kind == "JPEG" else {}))


def oxford_pets(place: Path) -> Path:
    """images.tar.gz and annotations.tar.gz, unpacked into one folder. Some of the .jpg files are PNG, some are .mat."""
    data, png = images(), images("PNG")
    files: Files = {}
    rows: dict[str, list[str]] = {"trainval": [], "test": []}
    for name, numbers in PETS.items():
        for number in range(1, 11):
            stem = f"{name}_{number}"
            files[f"images/{stem}.jpg"] = next(png if stem == "Egyptian_Mau_4" else data)
            files[f"annotations/trimaps/{stem}.png"] = encode(Image.new("L", (16, 12), number), "PNG")
            rows["trainval" if number <= 6 else "test"].append(f"{stem} {' '.join(numbers)}\n")
        files[f"images/{name}_100.mat"] = b"MATLAB 5.0 MAT-file"
    head = (
        "#Image CLASS-ID SPECIES BREED ID\n#ID: 1:37 Class ids\n#SPECIES: 1:Cat 2:Dog\n"
        "#BREED ID: 1-25:Cat 1:12:Dog\n#All images with 1st letter as captial are cat images\n"
        "#images with small first letter are dog images\n"
    )
    files["annotations/list.txt"] = (head + "".join(sorted(rows["trainval"] + rows["test"]))).encode()
    for name, lines in rows.items():
        files[f"annotations/{name}.txt"] = "".join(lines).encode()
    files["annotations/README"] = b"The Oxford-IIIT Pet Dataset\n"
    files["annotations/xmls/Abyssinian_1.xml"] = b"<annotation/>"
    return write_tree(place / "pets", files)


def food_101(place: Path) -> Path:
    """food-101.tar.gz, unpacked: class folders, and the official split as lists of paths."""
    data, files = images(), Files()
    lists: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    for at, food in enumerate(FOODS):
        for number in range(8):
            path = f"{food}/{1005649 + 1000 * at + 17 * number}"
            files[f"images/{path}.jpg"] = next(data)
            lists["train" if number < 6 else "test"].setdefault(food, []).append(path)
    for name, held in lists.items():
        files[f"meta/{name}.txt"] = "".join(f"{path}\n" for paths in held.values() for path in paths).encode()
        files[f"meta/{name}.json"] = json.dumps(held).encode()
    files["meta/classes.txt"] = "".join(f"{food}\n" for food in FOODS).encode()
    files["meta/labels.txt"] = "".join(f"{food.replace('_', ' ').capitalize()}\n" for food in FOODS).encode()
    files["README.txt"], files["license_agreement.txt"] = b"Food-101", b"terms"
    return write_tree(place / "food-101", files)


def cifar_10(place: Path) -> Path:
    """CIFAR-10 as folders of PNGs: train and a labelled test."""
    data = images("PNG")
    names = [
        f"{split}/{name}/{i:04d}.png"
        for split, n in (("train", 5), ("test", 2))
        for name in OBJECTS
        for i in range(1, n + 1)
    ]
    return write_tree(place / "cifar10", {name: next(data) for name in names})


def imagenet_21k_p(place: Path) -> Path:
    """ImageNet-21K-P: 10,450 wnids in imagenet21k_train, 50 images of each of them in imagenet21k_val."""
    data = images()
    names = [
        f"imagenet21k_{split}/{wnid}/{wnid}_{number}.JPEG"
        for split, first, last in (("train", 1, 7), ("val", 7, 9))
        for wnid in WNIDS_21K
        for number in range(first, last)
    ]
    return write_tree(place / "imagenet21k_resized", {name: next(data) for name in names})


def imagenet_a(place: Path) -> Path:
    """imagenet-a.tar: 200 wnids, no split, and README.txt next to them."""
    data = images()
    names = [f"{wnid}/0.{number:06d}_fox squirrel _ {wnid}_0.9.jpg" for wnid in WNIDS_A for number in range(4)]
    return write_tree(place / "imagenet-a", {**{name: next(data) for name in names}, "README.txt": b"1 2 3"})


def imagenet_r(place: Path) -> Path:
    """imagenet-r.tar: 200 wnids, files named by the rendition."""
    data = images()
    names = [f"{wnid}/{kind}_{number}.jpg" for wnid in WNIDS for kind in ("art", "sticker") for number in range(2)]
    return write_tree(place / "imagenet-r", {**{name: next(data) for name in names}, "README.txt": b"1 2 3"})


def imagenet_sketch(place: Path) -> Path:
    """ImageNet-Sketch.zip: 1000 wnids in the folder sketch."""
    data = images()
    names = [f"{wnid}/sketch_{number}.JPEG" for wnid in WNIDS for number in range(5)]
    return write_tree(place / "sketch", {name: next(data) for name in names})
