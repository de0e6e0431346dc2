"""Class ids of any text through every command that shows them: whole in documents, safe and short on the screen."""

import json
import os
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feedline.cli.main import run
from feedline.prep import ClassEntry, Manifest, Source, Split, read_document, verify, write_document
from feedline.train import Comparison

LONG = "a caption of " + "very " * 180 + "many words"
IDS = sorted(
    [
        "<script>alert('x')</script>, \"quoted\"; a|b = $x^2$ [red]bold[/red]",
        "животные/кошка",
        "猫と犬",
        "حيوان أليف",
        "👨\u200d👩\u200d👧 می\u200cخواهم",  # noqa: RUF001
        LONG,
    ]
)
EACH = 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of classes with such ids, whose folders are c0, c1, ...; one file has a name that is not UTF-8."""
    place = tmp_path_factory.mktemp("names") / "data"
    rng, sizes = np.random.default_rng(0), dict.fromkeys(("train", "val"), 0)
    for split in sizes:
        for label in range(len(IDS)):
            folder = place / split / f"c{label}"
            folder.mkdir(parents=True)
            for number in range(EACH):
                odd = (label, number) == (0, 0) and sys.platform == "linux"
                path = folder / (os.fsdecode(b"d\xe9j\xc3\xa0.jpg") if odd else f"{number}.jpg")
                Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(path)
                sizes[split] += path.stat().st_size
    splits = {
        name: Split(images=EACH * len(IDS), bytes=size, per_class=(EACH,) * len(IDS)) for name, size in sizes.items()
    }
    write_document(
        place / "manifest.json",
        Manifest(
            dataset="names",
            classes=tuple(ClassEntry(id=text, name=text, folder=f"c{label}") for label, text in enumerate(IDS)),
            splits=splits,
            sources=(Source(name="made", bytes=sum(sizes.values())),),
        ),
    )
    return place


class _Page(HTMLParser):
    """Collects the text of a page, and its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts, self.tags, self.titles = list[str](), set[str](), list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.titles += [value or "" for name, value in attrs if name == "title"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.slow
def test_every_command_takes_them(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """verify, shard, train, evaluate, compare: whole ids in JSON, and tables of short lines."""
    assert run(["verify", str(root)]) == 0
    assert run(["shard", str(root), "--encode", "copy"]) == 0
    assert verify(root / "shards").ok
    checkpoints: list[str] = []
    for seed in (0, 1):
        out = tmp_path / str(seed)
        options = ["--epochs", "1", "--image-size", "32", "--batch-size", "8", "--workers", "0", "--seed", str(seed)]
        assert run(["train", str(root), "--loader", "threaded", *options, "--out", str(out)]) == 0
        checkpoints.append(str(out / "checkpoints" / "last.pt"))
    capsys.readouterr()

    for loader in ("imagefolder", "webdataset"):
        assert run(["evaluate", checkpoints[0], str(root), "--loader", loader, "--json", "--workers", "0"]) == 0
        out, err = capsys.readouterr()
        assert [entry["id"] for entry in json.loads(out)["classes"]] == IDS
        assert [entry["name"] for entry in json.loads(out)["classes"]] == IDS
        assert LONG not in err and "a caption of very" in err and "[red]" in err
        assert len(err.splitlines()) < 80 and "?" not in err.replace("??", "")

    assert run(["compare", *checkpoints, str(root), "--out", str(tmp_path / "c"), "--limit", "24", "--json"]) == 0
    out, err = capsys.readouterr()
    found = read_document(tmp_path / "c" / "comparison.json", Comparison)
    assert len(json.loads(out)["listed"]) == len(found.listed) >= 1
    assert {listed.truth.id for listed in found.listed} <= set(IDS)
    assert LONG not in err
    page = _Page((tmp_path / "c" / "gallery.html").read_text("utf-8"))
    assert "script" not in page.tags and "b" not in page.tags
    for listed in found.listed:
        assert listed.truth.name in page.texts or listed.truth.name in page.titles
        assert listed.file in page.texts
    with Image.open(tmp_path / "c" / "contact-sheet.png") as sheet:
        assert sheet.width > 500
