"""Lines of JSON objects: found without parsing, read by number, and refused by number if they are damaged."""

import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from feedline.prep import DatasetError, SampleError
from feedline.prep.roots.columns import CHUNK, Columns, JsonLines
from feedline.prep.roots.lists import MAX_LINE, json_line

REMEDY = "do this"


def written(path: Path, *lines: bytes) -> JsonLines:
    path.write_bytes(b"".join(lines))
    return JsonLines([path], [len(lines)], REMEDY)


@given(st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=9), max_size=3), max_size=9), st.data())
def test_any_lines_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]], data: st.DataObject
) -> None:
    """Over several files, of which some are empty, and with a last line that has no line end."""
    place = tmp_path_factory.mktemp("lines")
    cut = data.draw(st.integers(0, len(rows)))
    paths = [place / "0", place / "1", place / "2"]
    for path, held in zip(paths, (rows[:cut], [], rows[cut:]), strict=True):
        path.write_bytes(b"".join(map(json_line, held)).removesuffix(b"\n"))
    lines = JsonLines(paths, [cut, 0, len(rows) - cut], REMEDY)
    numbers = data.draw(st.lists(st.integers(0, len(rows) - 1))) if rows else []

    assert len(lines) == len(rows)
    assert lines.read(numbers) == [rows[number] for number in numbers]


def test_columns_are_read_by_sample_index(tmp_path: Path) -> None:
    """Through the places of the samples, with None for a value that a sample lacks."""
    lines = written(tmp_path / "a", b'{"x": 1}\n', b'{"x": [2], "y": "z"}\r\n', b'{"y": null}')

    assert Columns(["x", "y"], lines).read([2, 1]) == {"x": [None, [2]], "y": [None, "z"]}
    assert Columns(["x"], lines, lambda indexes: (indexes + 1) % 3).read([0, 2]) == {"x": [[2], 1]}


@pytest.mark.parametrize(
    "line", [b"[1]\n", b"\n", b'{"a": \n', b"[" * 100_000 + b"\n", b"\xff\xfe\n", b'"a"\n', b"9" * 9999]
)
def test_a_damaged_line_is_named_by_its_number(line: bytes, tmp_path: Path) -> None:
    """When it is read; the others can be read."""
    lines = written(tmp_path / "train.jsonl", b"{}\n", line, *([b"{}\n"] if line.endswith(b"\n") else []))

    assert lines.read([0]) == [{}]
    with pytest.raises(SampleError, match=r"train\.jsonl, line 2 is no JSON object.*; do this"):
        lines.read([0, 1])


def test_a_file_that_does_not_fit_is_refused_when_it_opens(tmp_path: Path) -> None:
    """Another number of lines, a line that is too long, and no file."""
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"{}\n{}\n")
    with pytest.raises(DatasetError, match="has 2 lines for 3 samples; do this"):
        JsonLines([path], [3], REMEDY)
    with path.open("wb") as file:
        file.write(b"{}\n")
        file.seek(MAX_LINE + CHUNK)
        file.write(b"\n")
    with pytest.raises(DatasetError, match=r"line 2, has .* bytes, more than"):
        JsonLines([path], [2], REMEDY)
    path.unlink()
    with pytest.raises(DatasetError, match=r"cannot read .*, which holds the columns.*; do this"):
        JsonLines([path], [2], REMEDY)


def test_a_file_that_changes_while_it_is_open_is_an_error(tmp_path: Path) -> None:
    """Cut short or gone: one sentence, no crash."""
    path = tmp_path / "train.jsonl"
    lines = written(path, *(json.dumps({"n": number}).encode() + b"\n" for number in range(9)))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(SampleError, match="line 9 is no JSON object"):
        lines.read([8])
    path.unlink()
    with pytest.raises(SampleError, match=r"cannot read .*; do this"):
        lines.read([0])
