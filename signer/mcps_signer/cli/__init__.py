"""``mcps-sign``: one file per command."""

from __future__ import annotations

import sys

from mcps_signer.cli.commands import cli
from mcps_trust.command_line import run

__all__ = ["cli", "main"]


def main() -> None:
    """The console script."""
    sys.exit(run(cli))
