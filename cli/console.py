"""Output of all commands: messages, tables and progress bars on stderr, one JSON object on stdout.

stdout holds nothing but the object of ``--json``, or the file that ``feedline recipes NAME`` prints. Rich draws tables
and bars, and uses plain characters on consoles that cannot show others. It reads no markup in them: "[red]" and
":smile:" may stand in the name of a class. Where stderr is no terminal, as in a file, a pipe or the log of a batch
system, lines of text replace the bars: one at the start of each step and one every half minute. Messages whose reader
has ended, or whose disk is full, are dropped, and the command goes on; an object that cannot be printed is an error.
"""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

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

from ..prep import OutputError, Progress
from ..prep.base.names import printable, shortened
from ..prep.base.plurals import counted
from ..prep.base.shell import shell_word
from .streams import Messages, droppable, silence

CLASS_NAME = 60  # characters in a table
LEAST_COLUMNS = 40
REDRAW_SECONDS = 0.1  # a step may report a million times; a terminal needs no more than this
LINE_SECONDS = 30.0
"""Time between two lines of progress where there is no terminal."""


def say(message: str, *, label: str = "", colour: str | None = None) -> None:
    """Print a message on stderr; names in it may hold escape sequences, which a terminal would obey.

    ``label`` is printed before it, in ``colour`` if stderr takes colours (a terminal; NO_COLOR, FORCE_COLOR and TERM).
    """
    console = stderr_console()
    if label and colour and console.color_system and not console.no_color:
        label = click.style(label, fg=colour)
    with droppable():
        click.echo(label + "\n".join(map(printable, message.split("\n"))), err=True, color=True)


def say_skipped(count: int, root: Path) -> None:
    """Tell how many images of the data set were left out because they are damaged, if any."""
    if count:
        images, were = counted(count, "image"), "was" if count == 1 else "were"
        command = f"feedline verify {shell_word(root)} --decode"
        say(f"{images} could not be decoded and {were} left out; see which: {command}")


def echo_json(value: object) -> None:
    """Print the one JSON object of ``--json``, in ASCII so that every console code page can carry it.

    Raises OutputError if stdout cannot be written, and BrokenPipeError if its reader has ended.
    """
    try:
        click.echo(json.dumps(value, ensure_ascii=True))
    except BrokenPipeError:
        raise
    except OSError as error:
        silence(sys.stdout)
        reason = error.strerror or str(error)
        raise OutputError(f"cannot print the JSON object on stdout: {reason}; redirect it to another file") from error


def stderr_console() -> Console:
    """Return a Rich console on stderr, for tables. In one that is narrower than a table, lines of 80 columns wrap."""
    console = Console(file=cast(TextIO, Messages(sys.stderr)), highlight=False, markup=False, emoji=False)
    if console.width < LEAST_COLUMNS:
        console.width = 80
    return console


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
    """Yield a progress function that draws one bar per step on stderr, or prints lines without a terminal."""
    with _bars() if _has_terminal() else _lines() as progress:
        yield progress


def _has_terminal() -> bool:
    """Return whether bars can be drawn. Rich alone is not asked: FORCE_COLOR makes it draw into files."""
    try:
        attached = sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is no stderr, or it is closed
        return False
    return attached and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


@contextmanager
def _bars() -> Generator[Progress, None, None]:
    bars = Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=stderr_console(),
    )
    tasks: dict[str, TaskID] = {}
    drawn: dict[str, float] = {}

    def advance(step: str, done: int, total: int) -> None:
        if step not in tasks:
            complete()
            tasks[step] = bars.add_task(printable(step), total=total)
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


@contextmanager
def _lines() -> Generator[Progress, None, None]:
    lines = _Lines()
    try:
        yield lines.report
    finally:
        lines.close()


@dataclass
class _Step:
    """What was reported of one step, and when by the monotonic clock: the time of day may jump."""

    name: str
    began: float
    first: int
    expected: int
    done: int
    total: int

    def start(self) -> str:
        return f"{self.name}: {self.done:,} of {self.total:,}"

    def line(self) -> str:
        """Return the state: count, total, rate and time left, without what is not known yet."""
        seconds, advanced = time.monotonic() - self.began, self.done - self.first
        if advanced <= 0:
            return f"{self.start()}, {_duration(seconds)} after its start"
        if self.total != self.expected:  # a listing: the total only grows with the count
            return f"{self.name}: {self.done:,}, {_rate(advanced / seconds)}"
        if self.done >= self.total:
            return self.end()
        left = _duration((self.total - self.done) * seconds / advanced)
        return f"{self.start()} ({self.done / self.total:.0%}), {_rate(advanced / seconds)}, {left} left"

    def end(self) -> str:
        return f"{self.start()} in {_duration(time.monotonic() - self.began)}"


class _Lines:
    """Prints the progress of steps as lines. A thread prints one every half minute, even if no report comes."""

    def __init__(self) -> None:
        self._steps: dict[str, _Step] = {}
        self._last: _Step | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)
        self._thread.start()

    def report(self, step: str, done: int, total: int) -> None:
        with self._lock:
            found = self._steps.get(step)
            if found is None:
                found = _Step(step, time.monotonic(), done, total, done, total)
                self._steps[step] = found
                say(found.start())
            was_complete = found.done >= found.total
            self._last, found.done, found.total = found, done, total
            is_long = time.monotonic() - found.began >= LINE_SECONDS
            if done >= total and not was_complete and is_long:
                say(found.end())

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _repeat(self) -> None:
        while not self._over.wait(LINE_SECONDS):
            with self._lock, contextlib.suppress(OSError, ValueError):  # nobody reads stderr any more
                if self._last is not None and self._last.done < self._last.total:
                    say(self._last.line())


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}/s" if per_second >= 1 else f"{60 * per_second:.1f}/min"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
