"""Every command of docs/data.md works, in its order, on data of the form that its section is about."""

import io
import json
import re
import shlex
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from feedline.cli.main import run
from feedline.prep import SyntheticSpec, read_manifest, write_synthetic

TOP = Path(__file__).parents[2]
PAGE = TOP / "docs" / "data.md"
SHORT = {
    "bench": "--loader threaded --workers 0 --batch-size 8 --image-size 32 --seconds 0.2 --repeats 1",
    "diagnose": "--loader threaded --workers 0 --batch-size 8 --image-size 32 --seconds 0.2 --repeats 1 --step-ms 50",
    "train": "--loader threaded --workers 0 --batch-size 8 --image-size 32 --epochs 1",
}
"""Options with which the commands of the README take seconds."""
LABELS = ("angular_leaf_spot", "bean_rust", "healthy")
PER_CLASS = 10


def sections() -> dict[str, str]:
    """{heading: text} of the page."""
    parts = re.split(r"^#{2,3} (.+)\n", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(text: str) -> list[str]:
    """The lines of the code blocks that begin with feedline."""
    blocks = re.findall(r"^```\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("feedline ")]


def class_folders(out: Path, splits: bool = False) -> None:
    write_synthetic(
        out, SyntheticSpec(layout="imagefolder", classes=3, images_per_class=PER_CLASS, scale=0.1, splits=splits)
    )


def photos(place: Path) -> None:
    class_folders(place / "photos")


def split_already(place: Path) -> None:
    class_folders(place / "animals", splits=True)
    class_folders(place / "shelter", splits=True)
    (place / "shelter/train").rename(place / "shelter/intake")
    (place / "shelter/val").rename(place / "shelter/adopted")


def zipped(place: Path) -> None:
    class_folders(place / "unpacked")
    with zipfile.ZipFile(place / "photos.zip", "w") as archive:
        for path in sorted((place / "unpacked").rglob("*")):
            archive.write(path, "photos" / path.relative_to(place / "unpacked"))


def image(number: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (number * 7 % 256, 90, number % 256)).save(out, "JPEG")
    return out.getvalue()


def listed(place: Path) -> None:
    """The folders and the list that the section shows, with more rows."""
    shown = re.search(r"^```\n(file_name,.*?)^```", sections()["A list of labels"], re.MULTILINE | re.DOTALL)
    assert shown
    rows = shown[1].splitlines()
    rows += [f"202{i % 3}/IMG_{i:04d}.jpg,{('cat', 'dog')[i % 2]},number {i}" for i in range(2, 2 + 2 * PER_CLASS)]
    for number, row in enumerate(rows[1:]):
        path = place / "photos" / row.partition(",")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image(number))
    (place / "photos.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def parquet(place: Path) -> None:
    """Files as Hugging Face writes them: the names of the classes are in the metadata."""
    arrow = pytest.importorskip("pyarrow")
    writer = pytest.importorskip("pyarrow.parquet")
    features = {"image": {"_type": "Image"}, "labels": {"names": list(LABELS), "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    (place / "beans").mkdir()
    for split in ("train", "validation"):
        numbers = range(3 * PER_CLASS)
        table = arrow.table(
            {
                "image": [{"bytes": image(i), "path": f"{split}_{i}.jpg"} for i in numbers],
                "labels": [i % 3 for i in numbers],
            }
        )
        writer.write_table(table.replace_schema_metadata(metadata), place / f"beans/{split}-00000-of-00001.parquet")


def shards(place: Path) -> None:
    (place / "shards").mkdir()
    for split in ("train", "val"):
        for shard in range(2):
            with tarfile.open(place / f"shards/beans-{split}-{shard:06d}.tar", "w") as tar:
                for i in range(PER_CLASS):
                    label = {"label": LABELS[i % 3], "caption": f"leaf {i}"}
                    members = {"jpg": image(i), "json": json.dumps(label).encode(), "cls": str(i % 3).encode()}
                    for extension, data in members.items():
                        info = tarfile.TarInfo(f"{shard}_{i:04d}.{extension}")
                        info.size = len(data)
                        tar.addfile(info, io.BytesIO(data))


def nothing(place: Path) -> None:
    """The commands of the section make what they need."""


def prepared(place: Path) -> list[Path]:
    return sorted(folder for folder in place.iterdir() if (folder / "manifest.json").is_file())


SECTIONS: dict[str, tuple[Callable[[Path], None], list[int]]] = {
    "A folder for each class": (photos, [30]),
    "Folders that are split already": (split_already, [60, 60]),
    "A zip or a tar": (zipped, [30]),
    "Use the folder where it lies": (photos, [30]),
    "A list of labels": (listed, [22]),
    "Hugging Face parquet files": (parquet, [60]),
    "Shards that others made": (shards, []),  # the manifest lies with the indexes
    "Images for a trial": (nothing, []),
}
"""{section: how to make its data, and the images of each root that its commands prepare}."""


def test_every_section_with_commands_has_its_data() -> None:
    """A command that no test runs is a mistake, and so is one that is not shown."""
    assert [name for name, text in sections().items() if commands(text)] == list(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_the_commands_of_a_section_work(
    section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each ends with exit code 0, in the order of the page, and no image is lost on the way."""
    build, images = SECTIONS[section]
    build(tmp_path)
    monkeypatch.chdir(tmp_path)
    for command in commands(sections()[section]):
        assert run(shlex.split(command)[1:]) == 0, (command, capsys.readouterr().err)
    held = [sum(split.images for split in read_manifest(root).splits.values()) for root in prepared(tmp_path)]
    assert held == images


@pytest.mark.parametrize("section", ["Further values", "From Python"])
def test_the_python_of_the_page_works(section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader yields the captions of the list that the page shows, and the function prepares a folder."""
    monkeypatch.chdir(tmp_path)
    if section == "Further values":
        listed(tmp_path)
        (command,) = commands(sections()["A list of labels"])
        assert run(shlex.split(command)[1:]) == 0
    else:
        photos(tmp_path)
    code = re.search(r"^```python\n(.*?)^```", sections()[section], re.MULTILINE | re.DOTALL)
    assert code
    variables: dict[str, Any] = {}
    exec(code[1], variables)
    assert read_manifest(tmp_path / "data").splits["val"].images
    if section == "Further values":
        assert len(variables["batch"].columns["caption"]) == len(variables["batch"].labels)
        assert all(isinstance(text, str) for text in variables["batch"].columns["caption"])


def test_the_links_of_the_page_lead_somewhere() -> None:
    """Files exist, and headings too."""
    anchors = {re.sub(r"[^\w -]", "", name).lower().replace(" ", "-") for name in sections()}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE.read_text("utf-8")):
        file, _, anchor = target.partition("#")
        assert (PAGE.parent / file).exists(), target
        assert file or anchor in anchors, target


def put(*paths: str) -> None:
    """Write an image of its own to each path."""
    for number, path in enumerate(paths):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(image(number))


def write(path: str, text: str, encoding: str = "utf-8") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding=encoding)


def pair(split: str = "") -> None:
    put(f"photos/{split}cat/1.jpg", f"photos/{split}dog/2.jpg")


def csv(text: str, encoding: str = "utf-8") -> None:
    put("photos/1.jpg", "photos/2.jpg")
    write("list.csv", text, encoding)


def empty_split() -> None:
    pair("train/")
    Path("photos/val").mkdir()


def both_splits() -> None:
    pair("train/")
    pair("val/")


def alike() -> None:
    pair("a/")
    pair("b/")


def finished() -> None:
    put("others/cat/1.jpg")
    assert run(["prep", "imagefolder", "others", "--out", "data"]) == 0
    pair()


def page_in_place_of_an_image() -> None:
    pair()
    write("photos/cat/3.jpg", "<!doctype html><html>log in</html>")


def one_of_two_sources() -> None:
    pair()
    put("val/cat/3.jpg", "val/dog/4.jpg")


def empty_class() -> None:
    pair()
    Path("photos/bird").mkdir()


FOLDER, LIST = "photos", "photos --labels list.csv"
HEAD = "file_name,label\n"
MESSAGES: list[tuple[Callable[[], object], str]] = [
    (lambda: put("photos/Cat/1.jpg", "photos/cat/1.jpg"), FOLDER),
    (lambda: put("photos/1.jpg", "photos/2.jpg"), FOLDER),
    (empty_split, FOLDER),
    (lambda: put("photos/train/cat/1.jpg", "photos/hold/cat/2.jpg"), FOLDER),
    (alike, FOLDER),
    (both_splits, f"{FOLDER} --val-fraction 0.5"),
    (pair, f"{FOLDER} --val-fraction 0.1"),
    (one_of_two_sources, f"{FOLDER} val"),
    (finished, FOLDER),
    (pair, f"{FOLDER} --out photos/data"),
    (page_in_place_of_an_image, FOLDER),
    (lambda: csv("file_name,breed,species\n1.jpg,pug,dog\n2.jpg,siamese,cat\n"), LIST),
    (lambda: csv(f"{HEAD}1.jpg,cat\n1.jpg,dog\n"), LIST),
    (lambda: csv(f"{HEAD}1.jpg,cat\n2.jpg,dog\n3.jpg,dog\n"), LIST),
    (lambda: csv(f"{HEAD}1.jpg,cat\n2.jpg,\n"), LIST),
    (lambda: write("list.csv", '{"file_name": "1.jpg", "label": ["cat", "dog"]}\n') or put("photos/1.jpg"), LIST),
    (lambda: csv(f"{HEAD}1.jpg,caf\N{LATIN SMALL LETTER E WITH ACUTE}\n2.jpg,tea\n", "cp1252"), LIST),
    (lambda: csv(f"{HEAD}1.jpg,cat\n2.jpg,dog,brown\n"), LIST),
    (lambda: csv("file_name,label;caption\n1.jpg,cat;a\n2.jpg,dog;b\n"), LIST),
    (lambda: shards(Path()), "shards"),
]
NOTES: list[tuple[Callable[[], object], str]] = [
    (empty_class, FOLDER),
    (lambda: put("photos/cat/1.jpg"), FOLDER),
    (pair, FOLDER),
    (lambda: put("photos/a/cat/1.jpg", "photos/a/dog/2.jpg", "photos/b/fish/3.jpg"), FOLDER),
    (lambda: csv(f"{HEAD}1.jpg,cat\n"), LIST),
]


def rows(name: str) -> list[str]:
    """The first cells of a table between comments."""
    table = PAGE.read_text("utf-8").split(f"<!-- {name}: a test causes each of them -->")[1]
    lines = table.split(f"<!-- {name} end -->")[0].strip().splitlines()[2:]
    return [line.strip("| ").split(" | ")[0].strip("`") for line in lines]


@pytest.mark.parametrize(("name", "code"), [("messages", 1), ("notes", 0)])
def test_what_the_page_says_of_a_message_is_what_is_printed(
    name: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each row is caused, and the words around its ellipses are printed in their order. A stop leaves no manifest."""
    cases = MESSAGES if name == "messages" else NOTES
    for number, (row, (build, arguments)) in enumerate(zip(rows(name), cases, strict=True)):
        place = tmp_path / str(number)
        place.mkdir()
        monkeypatch.chdir(place)
        build()
        manifests = sorted(place.rglob("manifest.json"))
        out = [] if "--out" in arguments else ["--out", "data"]

        assert run(["prep", "imagefolder", *arguments.split(), *out]) == code, row

        said = capsys.readouterr().err
        pattern = ".*".join(re.escape(part.strip()) for part in row.split("…"))
        assert re.search(pattern, said, re.DOTALL), (row, said)
        assert code == 0 or sorted(place.rglob("manifest.json")) == manifests


@pytest.mark.slow
def test_the_first_commands_of_the_readme_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They lead from a folder of the user's to a report, on a folder of three classes in three formats."""
    photos(tmp_path)
    monkeypatch.chdir(tmp_path)
    text = (TOP / "README.md").read_text("utf-8").split("## From your own images to a trained model")[1]
    lines = commands(text)[:6]
    assert lines[0].startswith("feedline prep imagefolder photos") and lines[-1].startswith("feedline report")
    for command in lines:
        words = shlex.split(command)[1:]
        assert run([*words, *SHORT.get(words[0], "").split()]) == 0, (command, capsys.readouterr().err)
    assert (tmp_path / "report.html").is_file()
