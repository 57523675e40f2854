"""``mcps-launch``: one file per command.

Starting a server (``mcps-launch NAME``) takes a path of its own, which does not import the
command tree: hosts wait for every millisecond of it, and the process stays in memory.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["main"]

_ALIAS = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def main() -> None:
    """The console script."""
    found = plain_start(sys.argv[1:])
    if found is not None and found[1] is None:
        from mcps_launcher.cli.run import run_plain

        sys.exit(run_plain(found[0], None))
    if found is not None:
        from mcps_launcher.cli.run import run_in_home

        sys.exit(run_in_home(*found))
    from mcps_launcher.cli.commands import cli
    from mcps_trust.command_line import run

    sys.exit(run(cli))


def plain_start(words: list[str]) -> tuple[str, Path | None] | None:
    """The alias and folder of ``[--home DIR] [run] NAME``; None for anything else."""
    from mcps_trust.model.names import RESERVED_ALIASES

    home: Path | None = None
    if words[:1] == ["--home"] and len(words) > 1:
        home, words = Path(words[1]), words[2:]
    if words[:1] == ["run"] and len(words) > 1:
        words = words[1:]
    if len(words) == 1 and _ALIAS.fullmatch(words[0]) and words[0] not in RESERVED_ALIASES:
        return words[0], home
    return None
