"""Lists of any format, encoding and delimiter are read; damaged ones are refused in one sentence with the line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from feedline.prep import SourceError
from feedline.prep.labelled.tables import open_table

CAT_AND_DOG = [{"file": "a.jpg", "label": "cat"}, {"file": "b.jpg", "label": "dog"}]


def read(path: Path, **options: Any) -> list[dict[str, Any]]:
    return [dict(row.values) for row in open_table(path, **options).rows()]


def write(folder: Path, text: str | bytes, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_delimiter_is_recognised(tmp_path: Path, delimiter: str, end: str) -> None:
    """With the line ends of every system, and without a last one."""
    rows = ["file,label", "a.jpg,cat", "b.jpg,dog"]
    assert read(write(tmp_path, end.join(rows).replace(",", delimiter))) == CAT_AND_DOG


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_with_a_mark_are_recognised(tmp_path: Path, encoding: str) -> None:
    """Excel writes UTF-8 with a mark; Windows' older programs write UTF-16."""
    path = write(tmp_path, "file,label\nä 中.jpg,Hündin\n".encode(encoding))
    assert read(path) == [{"file": "ä 中.jpg", "label": "Hündin"}]


def test_another_encoding_is_refused_by_line_and_read_by_name(tmp_path: Path) -> None:
    """The guess is shown, and not used."""
    path = write(tmp_path, "file,label\na.jpg,cat\nb.jpg,Hündin\n".encode("cp1252"))
    with pytest.raises(SourceError, match=r"line 3 holds the byte 0xfc, in Windows-1252 'ü'.*--encoding cp1252"):
        read(path)
    assert read(path, encoding="cp1252")[1]["label"] == "Hündin"
    with pytest.raises(SourceError, match="'klingon' is no encoding"):
        read(path, encoding="klingon")
    with pytest.raises(SourceError, match="'rot13' is no encoding"):
        read(path, encoding="rot13")


def test_json_lines_and_arrays_are_read(tmp_path: Path) -> None:
    """Whatever their names are; NaN, which Python writes for a missing value, is null."""
    lines = "\n".join(map(json.dumps, CAT_AND_DOG))
    assert read(write(tmp_path, lines + "\n\n")) == CAT_AND_DOG
    assert read(write(tmp_path, json.dumps(CAT_AND_DOG, indent=2))) == CAT_AND_DOG
    assert read(write(tmp_path, '{"file": "a.jpg", "x": NaN}')) == [{"file": "a.jpg", "x": None}]


def test_an_array_larger_than_what_is_read_at_a_time(tmp_path: Path) -> None:
    """Objects that lie across the border of two chunks, and one of several chunks."""
    rows = [{"file": f"{number}.jpg", "caption": "x" * (number * 997 % 5000)} for number in range(1000)]
    rows[500]["caption"] = "é" * 3_000_000
    assert read(write(tmp_path, json.dumps(rows))) == rows


def test_values_with_quotes_delimiters_and_line_breaks(tmp_path: Path) -> None:
    """As Excel writes them."""
    path = write(tmp_path, 'file,caption,label\na.jpg,"a ""big"" cat, black\nand white",cat\n')
    assert read(path) == [{"file": "a.jpg", "caption": 'a "big" cat, black\nand white', "label": "cat"}]


def test_a_list_without_a_header_and_one_with_comments(tmp_path: Path) -> None:
    """The first row is data if it names an image; comments at its top are passed over."""
    path = write(tmp_path, "# made by hand\n#file label\nsub/a.jpg 0\nsub/b.jpg 1\n")
    table = open_table(path)
    assert not table.headed and table.columns == ("1", "2")
    assert [row.line for row in table.rows()] == [3, 4]
    table = open_table(write(tmp_path, "a,cat\nb,dog\n"), lookup=frozenset("ab").intersection)
    assert not table.headed and next(table.rows()).values == {"1": "a", "2": "cat"}


def test_two_delimiters_that_fit_are_asked_about(tmp_path: Path) -> None:
    """And the option settles it; names of delimiters save quoting in a shell."""
    path = write(tmp_path, "file;label,x\na.jpg;cat,1\n")
    with pytest.raises(SourceError, match=r"--delimiter comma or --delimiter semicolon"):
        read(path)
    assert read(path, delimiter="semicolon") == [{"file": "a.jpg", "label,x": "cat,1"}]
    assert read(path, delimiter=",") == [{"file;label": "a.jpg;cat", "x": "1"}]
    with pytest.raises(SourceError, match="'::' is no delimiter"):
        read(path, delimiter="::")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b"\n  \n", "is empty"),
        ("file,label\na.jpg,cat\nb.jpg,dog,x\n", r"line 3, has 3 values where the first row has 2"),
        ('file,label\na.jpg,"cat\n', "line 2, is no CSV"),
        ("file,file,label\n", "two columns named 'file'"),
        ("just a text\nwithout any order, it seems; or is there\n", "has one column"),
        ("a, text\nwithout any order, it seems, or is there\n", "line 2, has 3 values"),
        ("cats\ndogs\n", "has one column: its first row is 'cats'"),
        ("# only\n# this\n", "has one column|only comments"),
        ('{"file": "a.jpg"}\n[1]\n', "line 2, is no JSON object"),
        ('{"file": "a.jpg"}\n{"file": \n', "line 2, is no JSON object"),
        ('{"file": "a.jpg"', "line 1, is no JSON object"),
        ('[{"file": "a.jpg"}, {"file": "b.jpg"', "no array of JSON objects .*cut off|no array of JSON objects"),
        ('[{"file": "a.jpg"}] x', "something follows it"),
        ("[1, 2]", "'1' is no object"),
        ("[]", "holds no row"),
        (b"PK\3\4 and more", "a zip archive or an Excel file"),
        (b"PAR1 and more", "feedline prep parquet"),
        ("file,label\n".encode("utf-16-le"), "--encoding utf-16-le"),
        (b"[" * 100_000, "no array of JSON objects"),
        (b'{"a":' * 100_000, "line 1, is no JSON object"),
    ],
)
def test_what_is_no_list_is_refused_in_one_sentence(tmp_path: Path, text: str | bytes, message: str) -> None:
    """With the file, and the line where it matters."""
    with pytest.raises(SourceError, match=message) as raised:
        read(write(tmp_path, text))
    assert "list.csv" in str(raised.value) and "\n" not in str(raised.value)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    """With the option to correct."""
    with pytest.raises(SourceError, match=r"cannot read .*nowhere\.csv: .*--labels"):
        read(tmp_path / "nowhere.csv")


CELL = st.text("ab,;\t|\"' \n\r#é\ufeff\0{}[]1", max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    st.binary(max_size=200)
    | st.lists(st.lists(CELL, max_size=4).map(",".join)).map(lambda rows: "\n".join(rows).encode())
    | st.lists(st.dictionaries(CELL, CELL | st.floats() | st.none(), max_size=3)).map(lambda v: json.dumps(v).encode())
    | st.text('[{"a": 1}, ]tfn\n\\u', max_size=40).map(str.encode),
    st.sampled_from([None, "utf-8", "utf-16", "cp1252", "utf-7", "shift_jis", "punycode"]),
    st.sampled_from([None, ",", "space", "\\t"]),
)
def test_any_bytes_are_rows_or_one_error(tmp_path: Path, data: bytes, encoding: str | None, delimiter: str) -> None:
    """Never another exception."""
    try:
        for row in read(write(tmp_path, data), encoding=encoding, delimiter=delimiter):
            assert all(isinstance(name, str) for name in row)
    except SourceError:
        pass


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.text('ab, é;"\n', max_size=6), st.text("xy|\t 中'", max_size=6)), min_size=1, max_size=5),
    st.sampled_from(",;\t|"),
    st.sampled_from(["utf-8-sig", "utf-16"]),
)
def test_what_csv_writes_is_read(tmp_path: Path, rows: list[tuple[str, str]], delimiter: str, encoding: str) -> None:
    """Whatever the values hold."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("file", "label"), *rows])
    path = write(tmp_path, text.getvalue().encode(encoding))
    assert [tuple(row.values()) for row in read(path, delimiter=delimiter)] == rows
