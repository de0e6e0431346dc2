"""Forms of ImageNet that were refused with a false sentence: read, or refused by their true name with a command."""

import re
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import SourceError, find_samples, prepare_imagenet, verify

from ..trees import Files, tree
from .forms import READ, REFUSED, Build

PAGE = Path(__file__).parents[3] / "docs" / "prep.md"


def rows() -> dict[str, str]:
    """{what you have: what happens} of the table in docs/prep.md."""
    text = PAGE.read_text("utf-8")
    table = text.split("<!-- forms: a test builds each of them -->")[1].split("<!-- forms end -->")[0]
    cells = [line.strip("| ").split(" | ") for line in table.strip().splitlines()[2:]]
    return {have.strip(): happens.strip() for have, happens in cells}


def test_the_table_has_every_form_once() -> None:
    """A form without a row, and a row that no test builds, are mistakes."""
    assert sorted(rows()) == sorted([*READ, *REFUSED])


@pytest.mark.parametrize(
    ("row", "build"), [pytest.param(row, b, id=f"{row}-{i}") for row, bs in READ.items() for i, b in enumerate(bs)]
)
def test_a_form_is_read(row: str, build: Build, archives: Path, files: Files, tmp_path: Path) -> None:
    """The same root as from the official archives, again without work, and the same samples for shard."""
    place = tmp_path / "in"
    place.mkdir()
    sources = build(place, archives, files)
    before = tree(place)

    manifest = prepare_imagenet(sources, tmp_path / "out", workers=2)

    assert tree(tmp_path / "out") == files and verify(tmp_path / "out").ok
    assert tree(place) == before
    assert prepare_imagenet(sources, tmp_path / "out") == manifest
    assert rows()[row].startswith("is read")
    if len(sources) == 1:
        found = find_samples(sources[0])
        assert sum(map(len, found.splits.values())) == len(files)


@pytest.mark.parametrize(
    ("row", "build"), [pytest.param(row, b, id=f"{row}-{i}") for row, bs in REFUSED.items() for i, b in enumerate(bs)]
)
def test_a_form_is_refused_by_its_name(
    row: str, build: Build, archives: Path, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message contains what the table says, the file, and the command; nothing is written."""
    place = tmp_path / "in"
    place.mkdir()
    sources = build(place, archives, files)

    with pytest.raises(SourceError) as caught:
        prepare_imagenet(sources, tmp_path / "out")

    message = str(caught.value)
    expected = re.findall(r"`([^`]+)`", rows()[row])
    assert rows()[row].startswith("is refused") and expected
    assert all(text in message for text in expected), message
    assert str(place) in message and "; " in message and not (tmp_path / "out").exists()
    assert run(["prep", "imagenet", *map(str, sources), "--out", str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err
