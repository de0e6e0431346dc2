"""Every command of docs/data.md works, in its order, on data of the form that its section is about."""

import io
import json
import re
import shlex
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from feedline.cli.main import run
from feedline.prep import SyntheticSpec, write_synthetic

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


SECTIONS: dict[str, Callable[[Path], None]] = {
    "A folder for each class": photos,
    "Folders that are split already": split_already,
    "Use the folder where it lies": photos,
    "A zip or a tar": zipped,
    "A list of labels": listed,
    "Hugging Face parquet files": parquet,
    "Shards that others made": shards,
    "Images for a trial": nothing,
}


def test_every_section_with_commands_has_its_data() -> None:
    """A command that no test runs is a mistake, and so is one that is not shown."""
    assert [name for name, text in sections().items() if commands(text)] == list(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_the_commands_of_a_section_work(
    section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each ends with exit code 0, in the order of the page."""
    SECTIONS[section](tmp_path)
    monkeypatch.chdir(tmp_path)
    for command in commands(sections()[section]):
        assert run(shlex.split(command)[1:]) == 0, (command, capsys.readouterr().err)


def test_the_links_of_the_page_lead_somewhere() -> None:
    """Files exist, and headings too."""
    anchors = {re.sub(r"[^\w -]", "", name).lower().replace(" ", "-") for name in sections()}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE.read_text("utf-8")):
        file, _, anchor = target.partition("#")
        assert (PAGE.parent / file).exists(), target
        assert file or anchor in anchors, target


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
