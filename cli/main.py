"""``feedline``: the group of commands, and the one place that turns errors into a sentence and an exit code.

Exit codes: 0 done, 1 a problem with the data or the environment, 2 wrong usage, 130 interrupted. The module of a
command is imported when the command is used, so that ``feedline -h`` and completion stay instant.
"""

import os
import sys
from importlib import import_module

import click

from .. import __version__
from .ending.memory import (
    LESS_MEMORY,
    dropped_errors_said,
    follows_memory_error,
    free_memory,
    library_fails,
    memory_is_short,
)
from .streams import droppable, finish_messages, is_broken, open_closed_streams, silence, wait_for_readers

COMMANDS = {
    "demo": "Run every step, from archives to a report, on synthetic images.",
    "prep": "Turn images with labels, or ImageNet, into a data set root.",
    "shard": "Write WebDataset shards from a prepared root or from a source.",
    "verify": "Check a prepared root or a shard set against its manifest.",
    "loaders": "List the loaders and whether each is ready.",
    "bench": "Measure the loaders: images/s for each worker count.",
    "diagnose": "Report what limits training on this machine.",
    "report": "Write one HTML page from bench records.",
    "train": "Train a classification model through any loader.",
    "recipes": "List the published trainings that feedline train can follow.",
    "evaluate": "Evaluate a checkpoint: top-1, top-5, loss, classes, confusions.",
    "compare": "List and show the images on which two checkpoints disagree.",
    "summary": "Print the layers of a model: shape, parameters, MACs, memory.",
    "doctor": "Report what slows feedline down here, and the commands to fix it.",
}
INTERRUPTED = 130


class _Ended(Exception):
    """Carries an exception of a command past click, which takes three kinds for its own.

    At Ctrl-C and at the end of any file, click prints an empty line, which fails if the reader of stderr has got the
    Ctrl-C too. A broken pipe, which may be one to another process, ends the program without a word.
    """

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Commands(click.Group):
    """A click group with one module for each command, imported on use."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, EOFError, BrokenPipeError) as error:
            raise _Ended(error) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f".{cmd_name}", __package__)
        return getattr(module, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):  # from COMMANDS: help imports no module of a command
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__)
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Prepare, shard, load and measure labelled images, so that a training run never waits for them.

    \b
    Example:
      feedline demo                               every step, synthetic images
      feedline prep imagefolder PHOTOS --out data --val-fraction 0.1
      feedline prep imagenet ARCHIVES --out data  the same from ImageNet
      feedline shard data                         WebDataset shards
      feedline bench data --out bench             the rate of each loader

    Help for one command: feedline COMMAND -h
    """
    # Not at the top: this imports numpy and pydantic, which help does not need.
    from ..prep.processes.stop_signals import stops_interrupt

    ctx.with_resource(stops_interrupt())


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; print an error on stderr as one sentence."""
    open_closed_streams()
    wait_for_readers()
    try:
        with dropped_errors_said(_print_error):
            return _run(arguments)
    finally:
        finish_messages()


def _run(arguments: list[str]) -> int:
    try:
        code = cli.main(arguments, prog_name="feedline", standalone_mode=False)  # returns the code of click's Exit
    except click.ClickException as error:
        with droppable():
            error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as error:
        return _failed(error, arguments)
    except Exception as error:
        return _failed(error.error if isinstance(error, _Ended) else error, arguments)
    return code if isinstance(code, int) else 0


def _failed(error: BaseException, arguments: list[str]) -> int:
    """Report what ended a command; return the exit code."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)) or not isinstance(error, Exception):
        _print_error("interrupted; what was finished is kept")
        return INTERRUPTED
    if isinstance(error, BrokenPipeError) and is_broken(sys.stdout):  # by "| head -1": no one reads the message
        silence(sys.stdout)
        return 1
    if "--debug" in arguments:
        raise error
    free_memory(error)
    short = memory_is_short()  # before the imports of _explain, which may use up what was freed
    try:
        message = _explain(error, arguments)
    except MemoryError:  # the modules that explain an error did not fit either
        message = short
    except ImportError as broken:
        message = library_fails(broken)
    _print_error(message)
    return 1


def _explain(error: Exception, arguments: list[str]) -> str:
    if isinstance(error, ImportError):  # first: without numpy or pydantic the next line fails as well
        return library_fails(error)

    # Not at the top: this imports numpy and pydantic, which help does not need.
    from ..prep.base.disks import is_of_the_disk, reason_of
    from ..prep.base.errors import FeedlineError
    from ..prep.base.names import name_in, not_text
    from ..prep.base.origins import without_credentials
    from ..prep.base.shell import shell_word
    from ..prep.limits.memory import addresses_are_used_up, failed_allocation, memory_ran_out
    from ..prep.limits.reached import limit_reached

    if isinstance(error, FeedlineError):
        return str(error)
    if limit := limit_reached(error):
        return f"{limit}; no unfinished file is left in place"
    if failed_allocation(error) or follows_memory_error(error):
        return memory_ran_out(error, LESS_MEMORY)
    repeat = f"feedline --debug {' '.join(shell_word(without_credentials(word)) for word in arguments)}"
    if isinstance(error, BrokenPipeError):
        return f"a process that this command wrote to has ended ({error.strerror or error}); show where with: {repeat}"
    if isinstance(error, OSError):
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes, os.PathLike)) else ""
        if is_of_the_disk(error):
            return f"{place}{reason_of(error)}; correct that, then run the same command again: what is finished is kept"
        return f"{place}{error.strerror or error}; no unfinished file is left in place"
    if isinstance(error, UnicodeEncodeError) and (name := name_in(error)) is not None:
        return not_text(name)
    said = without_credentials(f"{type(error).__name__}: {error}".removesuffix(": "))
    if addresses_are_used_up():
        return f"{memory_ran_out(error, LESS_MEMORY)}; it ended with {said}"
    return f"feedline has a bug ({said}); show the traceback with: {repeat}"


def _print_error(message: str) -> None:
    # A name from a hostile archive may contain escape sequences, or characters that the console cannot print. This
    # repeats names.printable, because importing names loads pydantic.
    safe = "".join(character if character.isprintable() else "?" for character in message)
    encoding = sys.stderr.encoding or "ascii"
    with droppable():
        click.echo("feedline: " + safe.encode(encoding, "replace").decode(encoding), err=True)
