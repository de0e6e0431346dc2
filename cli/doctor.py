"""``feedline doctor``: what this machine has, what slows feedline down on it, and the commands that mend it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..prep import LoaderUnavailable, to_json
from .console import as_it_is, echo_json, json_option, say

if TYPE_CHECKING:
    from ..benchmarks.doctor.finding import Finding

COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "red"}


@click.command()
@click.argument("root", type=click.Path(path_type=Path, exists=True, file_okay=False), default=".")
@json_option
@click.pass_context
def doctor(ctx: click.Context, root: Path, as_json: bool) -> None:
    """Examine this machine, and the disk that holds the folder ROOT (by default the current one).

    Leaves with 1 where feedline cannot work here at all, else with 0.

    \b
    Example: feedline doctor
             feedline doctor data --json
    """
    try:
        from ..benchmarks.doctor.doctor import run_checks, usable
        from ..benchmarks.doctor.machine_facts import collect_facts
    except (ImportError, OSError) as error:  # Windows raises OSError for a DLL that does not load
        raise LoaderUnavailable(
            f"a library that feedline stands on cannot be loaded ({error}); "
            f"install it again with: pip install --force-reinstall torch torchvision numpy pillow psutil"
        ) from error
    facts = collect_facts(root)
    found = run_checks(facts)
    if as_json:
        echo_json({"ok": usable(found), "findings": [to_json(finding) for finding in found], "facts": to_json(facts)})
    _show(found)
    ctx.exit(0 if usable(found) else 1)


def _show(found: "tuple[Finding, ...]") -> None:
    """Print the findings, unwrapped: a command must survive being copied."""
    for finding in found:
        level = click.style(f"{finding.level:8}", fg=COLOURS[finding.level])
        say(f"{level} {finding.subject:12} {_plain(finding.found)}")
        for line in (finding.consequence, finding.mend and f"> {finding.mend}"):
            if line:
                say(f"{'':21} {_plain(line)}")
    wanting = sum(finding.level in ("warning", "problem") for finding in found)
    say(f"{wanting} of {len(found)} findings want mending" if wanting else "Nothing here needs mending")


def _plain(text: str) -> str:
    return as_it_is(text).plain
