"""docs/faults.md: each row of its tables names a test, which exists and expects what the row quotes."""

import re
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parents[3]
PAGE = TOP / "docs" / "faults.md"
NAMED = re.compile(r"\[`(?P<test>test_\w+)`\]\(\.\./(?P<path>tests/[\w/]+\.py)\)")


def test_every_row_names_tests_that_exist() -> None:
    """A row is a promise; its last cell links the tests that keep it."""
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ") and "tests/" in line]
    missing = [
        match["test"]
        for row in rows
        for match in NAMED.finditer(row)
        if f"def {match['test']}(" not in (TOP / match["path"]).read_text("utf-8")
    ]

    assert len(rows) > 20 and all(NAMED.search(row.rsplit(" | ", 1)[-1]) for row in rows)
    assert missing == []


def test_every_row_of_the_tables_of_faults_has_a_test() -> None:
    """The tables of faults have four columns; no row is without its test."""
    text = PAGE.read_text("utf-8")
    tables = re.findall(r"^\| what goes wrong .*\n\|[-|:]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]

    assert rows and [row for row in rows if row.count(" | ") != 3 or not NAMED.search(row)] == []


def test_what_a_row_quotes_is_what_its_tests_expect() -> None:
    """Messages, exit codes and classes of errors in the second column stand in a test of the row."""
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ") and NAMED.search(line)]
    promised = {row: said for row in rows if (said := list(_said(row.split(" | ")[1])))}
    missing = [
        (words, row)
        for row, said in promised.items()
        for words in said
        if not any(words in _source(match["test"], TOP / match["path"]) for match in NAMED.finditer(row))
    ]

    assert len(promised) > 8
    assert missing == []


def _said(cell: str) -> Iterator[str]:
    """Yield what a cell quotes of a message, and the exit codes and errors that it names. Commands stand for advice."""
    for quoted in re.findall(r"`([^`]+)`", cell):
        if " " in quoted and not quoted.startswith("feedline "):
            yield from (part.strip(" ,") for part in re.split("[…,]", quoted) if part.strip(" ,"))
    yield from re.findall(r"exit code (\d+)", cell)
    yield from re.findall(r"\b(WorkerLost|KeyboardInterrupt)\b", cell)


def _source(test: str, path: Path) -> str:
    """Return a test's function as text, with strings of several lines in one piece and without escapes."""
    found = re.search(rf"^def {test}\(.*?(?=^def |^@|^class |\Z)", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found, test
    return re.sub(r'"\s*\n\s*[fr]*"', "", found[0]).replace("\\", "")
