"""``feedline loaders``: the loaders that are ready, and what to install for the others."""

from typing import Any

import click

from .console import echo_json, say
from .options import json_option


@click.command()
@json_option
def loaders(as_json: bool) -> None:
    """List the loaders and whether each is ready.

    \b
    Example:
      feedline loaders

    A ready loader is listed with the versions of its libraries, a missing one with the command that installs it.
    """
    from ..loaders import LOADERS, loader_versions
    from ..prep import LoaderUnavailable

    rows: list[dict[str, Any]] = []
    for name, entry in LOADERS.items():
        try:
            versions = loader_versions(name)
            state = "ready: " + ", ".join(f"{library} {version}" for library, version in versions.items())
            rows.append({"loader": name, "ready": True, "versions": versions})
        except LoaderUnavailable:
            state = f"missing; {entry.remedy}"
            rows.append({"loader": name, "ready": False, "install": entry.install})
        say(f"{name:12} {entry.summary} (reads {entry.needs})\n{'':12} {state}")
    if as_json:
        echo_json({"loaders": rows})
