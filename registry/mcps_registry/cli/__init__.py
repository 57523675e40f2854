"""``mcps-registry``: one file per command."""

from __future__ import annotations

import sys

from mcps_trust.interrupts import die_by_interrupt

__all__ = ["main"]


def main() -> None:
    """The console script."""
    die_by_interrupt()
    from mcps_registry.cli.commands import cli
    from mcps_trust.command_line import run

    sys.exit(run(cli))
