"""Progress on a terminal and without one: bars that are drawn, or lines that a log can hold."""

import io
import json
import os
import re
import sys
import threading
import time
from pathlib import Path

import pytest

from feedline.cli import console
from feedline.cli.console import progress_bars
from feedline.cli.main import run


def test_without_a_terminal_each_step_begins_with_a_line(
    archives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain text on stderr even under FORCE_COLOR, which CI sets; stdout holds the JSON object alone."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run(["prep", "imagenet", str(archives), "--out", str(tmp_path / "data")]) == 0
    made = capsys.readouterr()
    assert re.search(r"^class folders, MB: \d+ of \d+$", made.err, re.MULTILINE)
    assert not made.out and not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", made.err)

    assert run(["verify", str(tmp_path / "data"), "--json"]) == 0
    checked = capsys.readouterr()
    assert json.loads(checked.out)["ok"] and checked.err.startswith("verify, images: ")


def test_a_line_comes_every_half_minute_even_if_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """With count, total, share, rate and time left; a step of which nothing is done yet says how long it runs."""
    monkeypatch.setattr(console, "LINE_SECONDS", 0.05)
    monkeypatch.setattr(sys, "stderr", written := io.StringIO())
    with progress_bars() as progress:
        progress("[red] images", 100, 1000)
        wait_for(written, r"^\[red\] images: 100 of 1,000, \d+ s after its start$")
        progress("[red] images", 400, 1000)
        wait_for(written, r"^\[red\] images: 400 of 1,000 \(40%\), [\d,]+/s, \d+ s left$")
        progress("[red] images", 1000, 1000)
        wait_for(written, r"^\[red\] images: 1,000 of 1,000 in \d+ s$")
        for count in (5, 10):  # a listing does not know its total
            progress("rows listed", count, count + 1)
        wait_for(written, r"^rows listed: 10, [\d,.]+/(s|min)$")


def test_long_times_are_in_minutes_and_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a rate below one a second is one a minute, by a clock that the test sets."""
    now = 0.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    step = console._Step("measure", 0.0, 0, 400, 0, 400)  # pyright: ignore[reportPrivateUsage]
    now, step.done = 1200.0, 40
    assert step.line() == "measure: 40 of 400 (10%), 2.0/min, 3 h 0 min left"
    step.done = 390
    assert step.line() == "measure: 390 of 400 (98%), 19.5/min, 31 s left"
    now, step.done = 100.0, 100
    assert step.line() == "measure: 100 of 400 (25%), 1/s, 5 min 0 s left"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("term", "draws"), [("xterm", True), ("dumb", False), ("unknown", False)])
def test_only_a_terminal_that_can_move_its_cursor_gets_bars(
    term: str, draws: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TERM=dumb, as in Emacs and some CI, counts as no terminal."""
    monkeypatch.setenv("TERM", term)
    master, slave = os.openpty()
    parts: list[bytes] = []
    reader = threading.Thread(target=read_all, args=(master, parts))
    reader.start()
    with os.fdopen(slave, "w") as terminal, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal)
        assert run(["verify", str(root)]) == 0
    reader.join()
    text = b"".join(parts)

    assert (b"\x1b[" in text) == draws
    assert (b"verify, images: 1 of " in text) == (not draws)


def wait_for(written: io.StringIO, pattern: str) -> None:
    deadline = time.monotonic() + 20
    while not re.search(pattern, written.getvalue(), re.MULTILINE):
        assert time.monotonic() < deadline, written.getvalue()
        time.sleep(0.01)


def read_all(descriptor: int, parts: list[bytes]) -> None:
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        try:
            while data := file.read(4096):
                parts.append(data)
        except OSError:  # the end of a pseudo-terminal under Linux
            return
