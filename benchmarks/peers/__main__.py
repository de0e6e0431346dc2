"""``python -m feedline.benchmarks.peers``: install the peers, and list them."""

import sys
from pathlib import Path

import click

from ...prep import FeedlineError, LoaderUnavailable
from .contest import find_peers
from .environments import how_to_install, install
from .table import PEERS

ENVS = click.option(
    "--envs",
    type=click.Path(path_type=Path),
    default=Path("peers"),
    show_default=True,
    help="Folder of the peers' environments.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def peers() -> None:
    """List and install other projects' loaders, to measure feedline's against."""


@peers.command("list")
@ENVS
def list_peers(envs: Path) -> None:
    """List the peers, and which are installed."""
    installed, missing = find_peers(envs)
    for name, peer in PEERS.items():
        state = "installed" if name in installed else "missing"
        click.echo(f"{name:<16}{state:<11}{peer.reads:<20}{peer.summary}")
    if missing:
        click.echo(f"Install the missing ones with: {how_to_install(missing, envs)}")


@peers.command("install")
@click.argument("names", nargs=-1, type=click.Choice(list(PEERS)), metavar="[NAME]...")
@ENVS
def install_peers(names: tuple[str, ...], envs: Path) -> None:
    """Install the peers NAME, or all, each into its own virtual environment that also has this one's packages."""
    failed: list[str] = []
    for name in names or PEERS:
        try:
            versions = install(name, envs).versions
        except LoaderUnavailable as error:
            failed.append(name)
            click.echo(f"feedline: {error}", err=True)
        else:
            click.echo(f"{name}: installed, {len(versions)} packages of its own", err=True)
    if failed:
        raise LoaderUnavailable(
            f"not installed: {', '.join(failed)}; the others are installed; fix the errors above and run it again"
        )


if __name__ == "__main__":
    try:
        peers()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")
