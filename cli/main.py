"""``feedline``: the group of commands, and the one place where errors become a sentence and an exit code.

0 done, 1 a problem with the data or the environment, 2 wrong usage, 130 interrupted. A command's module is
imported when the command is used, so that ``feedline -h`` and completion stay instant.
"""

import sys
from importlib import import_module

import click

from .. import __version__

COMMANDS = {
    "demo": "Archives, folders, shards, benchmark, training and report in one go, on synthetic images.",
    "prep": "Turn archives into class folders, or make synthetic archives.",
    "shard": "Write WebDataset shards from a prepared root or straight from the archives.",
    "verify": "Check a prepared root or a shard set against its manifest.",
    "loaders": "List the loaders: ready with their versions, or what to install.",
    "bench": "Measure images/s of each loader and worker count.",
    "diagnose": "Say what holds training back here, and what would change it.",
    "report": "Make one HTML page from benchmark records.",
    "train": "Train a ResNet through any loader.",
    "evaluate": "Top-1, top-5, loss, each class and the worst confusions of a checkpoint.",
    "compare": "List and show the images on which two checkpoints disagree.",
    "summary": "Every layer of a model with its output shape, parameters, MACs and memory.",
    "doctor": "Examine this machine: what slows feedline down, and the commands that mend it.",
}
INTERRUPTED = 130


class Commands(click.Group):
    """A click group whose commands live in modules of their own, imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f".{cmd_name}", __package__)
        return getattr(module, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):  # from the table: no module is imported for help
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__)
def cli(debug: bool) -> None:
    """Prepare, shard, load and measure ImageNet-style data, so that a training run never waits for it.

    \b
    feedline demo                                   the whole thread on synthetic images
    feedline prep imagenet ARCHIVES --out data      class folders from the official archives
    feedline shard data                             WebDataset shards in data/shards
    feedline bench data --out bench                 which loader is fastest here
    """


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors are told on stderr in one sentence."""
    try:
        code = cli.main(arguments, prog_name="feedline", standalone_mode=False)  # click returns what Exit was given
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _tell("interrupted; what was finished is kept")
        return INTERRUPTED
    except Exception as error:
        if "--debug" in arguments:
            raise
        _tell(_explain(error, arguments))
        return 1
    return code if isinstance(code, int) else 0


def _explain(error: Exception, arguments: list[str]) -> str:
    if isinstance(error, ImportError):  # first: without numpy or pydantic the next line fails as well
        return f"a library that feedline stands on cannot be loaded ({error}); install it again with pip"

    from ..prep.base.errors import FeedlineError  # here: it brings numpy and pydantic, which help does not need

    if isinstance(error, FeedlineError):
        return str(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}; nothing unfinished was put in place"
    return f"feedline has a bug ({type(error).__name__}: {error}); see it with: feedline --debug {' '.join(arguments)}"


def _tell(message: str) -> None:
    # A name from a hostile archive may hold what the console cannot print, or must not (escape sequences).
    safe = "".join(character if character.isprintable() else "?" for character in message)
    encoding = sys.stderr.encoding or "ascii"
    click.echo("feedline: " + safe.encode(encoding, "replace").decode(encoding), err=True)
