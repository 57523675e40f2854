"""The command tree."""

from __future__ import annotations

import click

from mcps_registry.cli.approve import approve, reject
from mcps_registry.cli.init import init
from mcps_registry.cli.namespace import namespace
from mcps_registry.cli.renew import renew
from mcps_registry.cli.review import review
from mcps_registry.cli.revoke import reinstate, revoke
from mcps_registry.cli.serve import refresh, serve
from mcps_registry.cli.status import fsck, status
from mcps_registry.cli.team import team
from mcps_registry.cli.trust import trust

__all__ = ["cli"]


@click.group(name="mcps-registry", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mcps")
def cli() -> None:
    """Run a private, vetted registry of MCP servers.

    \b
    Examples:
      mcps-registry init ./registry --url https://mcp.example.org --approver alice
      mcps-registry serve ./registry --with-sigstore
      mcps-registry review list -r ./registry
      mcps-registry approve io.example/clock@1.0.0 -r ./registry --approver alice ...
      mcps-registry team allow demo clock io.example/clock@1.0.0 -r ./registry ...
      mcps-registry revoke package pkg:pypi/clock@1.0.0 -r ./registry --reason "..." ...
    """


for command in (
    init,
    serve,
    refresh,
    namespace,
    review,
    approve,
    reject,
    team,
    revoke,
    reinstate,
    renew,
    trust,
    status,
    fsck,
):
    cli.add_command(command)
