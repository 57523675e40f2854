"""The command tree."""

from __future__ import annotations

from pathlib import Path

import click

from mcps_launcher.cli.audit import audit
from mcps_launcher.cli.enroll import enroll, unenroll
from mcps_launcher.cli.hosts import configure
from mcps_launcher.cli.maintain import doctor, gc, logs, ps
from mcps_launcher.cli.options import Home, home_option, pass_home
from mcps_launcher.cli.runtime import runtime
from mcps_launcher.cli.show import inspect_server, list_, prefetch, verify
from mcps_trust.model.names import ALIAS

__all__ = ["cli"]


class _Launcher(click.Group):
    """Takes a word that is no command for the alias of a server."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As the base class, but ``NAME`` means ``run NAME``."""
        if args and args[0] not in self.commands and ALIAS.fullmatch(args[0]):
            return "run", self.commands["run"], args
        return super().resolve_command(ctx, args)


@click.group(
    name="mcps-launch", cls=_Launcher, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="mcps")
@home_option
@click.pass_context
def cli(context: click.Context, home: Path | None) -> None:
    """Run MCP servers that are verified, sandboxed, guarded and audited.

    \b
    Examples:
      mcps-launch enroll https://mcp.example.org --root 1.root.json --team demo
      mcps-launch list
      mcps-launch inspect clock
      mcps-launch clock
    """
    context.obj = Home(home)


@click.command("run")
@click.argument("name")
@pass_home
def run_(home: Home, name: str) -> int:
    """Run a server, speaking MCP on stdin and stdout.

    \b
    Examples:
      mcps-launch run clock
      mcps-launch clock
    """
    from mcps_launcher.cli.run import run_plain

    return run_plain(name, home.places().home)


for command in (
    run_,
    enroll,
    unenroll,
    list_,
    inspect_server,
    verify,
    prefetch,
    ps,
    logs,
    gc,
    doctor,
    audit,
    configure,
    runtime,
):
    cli.add_command(command)
