"""Output of all commands: messages, tables and progress bars on stderr, one JSON object on stdout.

stdout holds nothing but the object of ``--json``, or the file that ``feedline recipes NAME`` prints. Rich draws tables
and bars, and uses plain characters on consoles that cannot show others.
"""

import json
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress as Bars,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ..prep import Progress
from ..prep.base.names import printable, shortened

CLASS_NAME = 60  # characters in a table
REDRAW_SECONDS = 0.1  # a step may report a million times; a terminal needs no more than this


def say(message: str) -> None:
    """Print a message on stderr; names in it may hold escape sequences, which a terminal would obey."""
    click.echo("\n".join(map(printable, message.split("\n"))), err=True)


def echo_json(value: object) -> None:
    """Print the one JSON object of ``--json``, in ASCII so that every console code page can carry it."""
    click.echo(json.dumps(value, ensure_ascii=True))


def stderr_console() -> Console:
    """Return a Rich console on stderr, for tables."""
    return Console(file=sys.stderr, highlight=False)


def plain_cell(name: str) -> Text:
    """Return a table cell of a name from a foreign file: printable characters, no Rich markup."""
    return Text(printable(name))


def class_cell(name: str) -> Text:
    """Return a table cell of a class name, which may be a caption or a path of a thousand characters."""
    return Text(shortened(printable(name), CLASS_NAME))


class _Speed(ProgressColumn):
    """Units per second, over the last seconds."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed and speed >= 1 else "")


@contextmanager
def progress_bars() -> Generator[Progress, None, None]:
    """Yield a progress function that draws one bar per step on stderr, or one line per step without a terminal."""
    console = stderr_console()
    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    tasks: dict[str, TaskID] = {}
    drawn: dict[str, float] = {}

    def advance(step: str, done: int, total: int) -> None:
        if step not in tasks:
            complete()
            tasks[step] = bars.add_task(step, total=total)
        now = time.monotonic()
        if done >= total or now - drawn.get(step, 0.0) >= REDRAW_SECONDS:
            drawn[step] = now
            bars.update(tasks[step], completed=done, total=total)

    def complete() -> None:
        # The steps before a new one are over, even if their last report was not drawn, or was a rounded megabyte.
        for task in bars.tasks:
            bars.update(task.id, completed=task.total)

    with bars:
        yield advance
        complete()
