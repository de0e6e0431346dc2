"""docs/faults.md: each row of its tables names a test, and the test exists."""

import re
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
