"""The real program, and what it said."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
FEEDLINE = [sys.executable, "-c", "import sys; from feedline.cli.main import run; sys.exit(run(sys.argv[1:]))"]


def feedline(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the real program, as a console would."""
    words = [*FEEDLINE, *map(str, arguments)]
    return subprocess.run(
        words, capture_output=True, text=True, encoding="utf-8", errors="replace", env={**os.environ, **(env or {})}
    )


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was said on stderr; nothing may be on stdout, and no traceback anywhere."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err
