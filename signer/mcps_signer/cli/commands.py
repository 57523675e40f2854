"""The command tree."""

from __future__ import annotations

import click

from mcps_signer.cli.init import init
from mcps_signer.cli.inspect import inspect_bundle, verify
from mcps_signer.cli.lock import capture_tools, lock
from mcps_signer.cli.publish import endorse, publish, sign

__all__ = ["cli"]


@click.group(name="mcps-sign", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mcps")
def cli() -> None:
    """Lock, capture, sign and submit an MCP server.

    \b
    Examples:
      mcps-sign init --name io.github.ada/clock
      mcps-sign publish --registry https://mcp.example.org --registry-root root.json
      mcps-sign endorse --from index.json clock --registry https://mcp.example.org ...
      mcps-sign inspect bundle.json
    """


for command in (init, lock, capture_tools, sign, publish, endorse, verify, inspect_bundle):
    cli.add_command(command)
