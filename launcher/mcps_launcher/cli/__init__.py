"""``mcps-launch``: one file per command.

A bare ``mcps-launch NAME`` takes a path of its own, which does not import the command tree:
a host starts servers with it, and every millisecond of it is waited for.
"""

from __future__ import annotations

import re
import sys

__all__ = ["main"]

_PLAIN = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def main() -> None:
    """The console script."""
    from mcps_trust.model.names import RESERVED_ALIASES

    words = sys.argv[1:]
    if words[:1] == ["run"] and len(words) == 2 and _PLAIN.fullmatch(words[1]):
        words = words[1:]
    elif len(words) == 1 and words[0] in RESERVED_ALIASES:
        words = []
    if len(words) == 1 and _PLAIN.fullmatch(words[0]):
        from mcps_launcher.cli.run import run_plain

        sys.exit(run_plain(words[0], None))
    from mcps_launcher.cli.commands import cli
    from mcps_trust.command_line import run

    sys.exit(run(cli))


if __name__ == "__main__":
    main()
