"""What all commands share: where text goes, how progress looks, and the options that mean the same everywhere.

People read stderr (messages, bars, tables); programs read stdout, which holds one JSON object under ``--json``
and nothing else. Rich draws the bars: it falls back to plain characters on consoles that cannot show others.
"""

import json
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

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

from ..prep import Progress, usable_cpus

F = TypeVar("F", bound=Callable[..., Any])

REDRAW_SECONDS = 0.1  # a step may report a million times; a terminal need not hear more than this


def json_option(command: F) -> F:
    """Add ``--json``: one JSON object on stdout, and nothing else there."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")(command)


def seed_option(command: F) -> F:
    """Add ``--seed``."""
    return click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")(command)


def workers_option(help_text: str, default: int | None = None) -> Callable[[F], F]:
    """Add ``--workers N``; the default is one per usable CPU."""
    return click.option(
        "--workers",
        type=click.IntRange(min=0),
        default=usable_cpus if default is None else default,
        show_default="usable CPUs" if default is None else True,
        help=help_text,
    )


def say(message: str) -> None:
    """Tell the user something, on stderr."""
    click.echo(message, err=True)


def echo_json(value: object) -> None:
    """Print the one JSON object of ``--json``, in ASCII so that every console code page can carry it."""
    click.echo(json.dumps(value, ensure_ascii=True))


def stderr_console() -> Console:
    """Return a Rich console on stderr, for tables."""
    return Console(file=sys.stderr, highlight=False)


def as_it_is(name: str) -> Text:
    """Return a table cell of a name that may come from a stranger: no markup, no escape sequences."""
    return Text("".join(character if character.isprintable() else "?" for character in name))


class _Speed(ProgressColumn):
    """Units per second, over the last seconds."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed and speed >= 1 else "")


@contextmanager
def progress_bars() -> Generator[Progress, None, None]:
    """Yield a progress function that draws one bar per step on stderr; a line per step where it is no terminal."""
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
