"""What the tests of foreign shards share."""

from pathlib import Path

import pytest

from feedline.cli.main import run


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Run a command and return its exit code and its messages on one line."""

    def call(*arguments: object) -> tuple[int, str]:
        code = run([str(argument) for argument in arguments])
        return code, " ".join(capsys.readouterr().err.split())

    return call


def files_below(place: Path) -> dict[str, tuple[int, int]]:
    """Return {path: size and time} of all files below a folder: what must not change in a source."""
    return {
        path.relative_to(place).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(place.rglob("*"))
    }


@pytest.fixture
def listing():  # type: ignore[no-untyped-def]
    return files_below
