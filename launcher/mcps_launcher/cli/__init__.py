"""``mcps-launch``: one file per command.

Starting a server (``mcps-launch NAME``) takes a path of its own, which does not import the
command tree: hosts wait for every millisecond of it, and the process stays in memory.
"""

from __future__ import annotations

import gc
import sys

from mcps_trust.interrupts import die_by_interrupt

__all__ = ["main"]


def main() -> None:
    """The console script."""
    die_by_interrupt()
    found = plain_start(sys.argv[1:])
    if found is not None:
        gc.disable()  # what a start loads is kept: looking through it costs a tenth of the start
        from mcps_launcher.install.ahead import Ahead

        ahead = Ahead(*found)  # before anything else is loaded
        from mcps_launcher.cli.run import run_in_home

        sys.exit(run_in_home(*found, ahead))
    from mcps_launcher.cli.commands import cli
    from mcps_trust.command_line import run

    sys.exit(run(cli))


def plain_start(words: list[str]) -> tuple[str, str | None] | None:
    """The alias and folder of ``[--home DIR] [run] NAME``; None for anything else."""
    from mcps_trust.model.names import ALIAS, RESERVED_ALIASES

    home: str | None = None
    if words[:1] == ["--home"] and len(words) > 1:
        home, words = words[1], words[2:]
    if words[:1] == ["run"] and len(words) > 1:
        words = words[1:]
    if len(words) == 1 and ALIAS.fullmatch(words[0]) and words[0] not in RESERVED_ALIASES:
        return words[0], home
    return None
