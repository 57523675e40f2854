"""``mcps-sign lock`` and ``capture``."""

from __future__ import annotations

from pathlib import Path

import click

from mcps_signer.cli.options import (
    before_option,
    before_time,
    cache_option,
    fetch_settings,
    index_option,
)
from mcps_signer.closure.source import Source
from mcps_signer.release import Project, build_release, lock_source, parse_lock
from mcps_trust.command_line import emit, json_option, progress
from mcps_trust.model.digest import sha256

__all__ = ["capture_tools", "lock"]


@click.command()
@click.argument("source", metavar="SOURCE")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write; else pylock.toml or package-lock.json here.",
)
@before_option
@index_option
@json_option
def lock(source: str, output: Path | None, before: str, index: str, as_json: bool) -> None:
    """Lock a package with everything that it runs with, by hash.

    SOURCE is pypi:NAME==VERSION, npm:NAME@VERSION, or a folder with a Python project.

    \b
    Examples:
      mcps-sign lock pypi:mcp-server-time==2026.10.19
      mcps-sign lock npm:@modelcontextprotocol/server-everything@2026.8.31 -o lock.json
    """
    with progress("resolving"):
        locked = lock_source(Source.parse(source), before=before_time(before), index=index)
    name = "pylock.toml" if locked.source.kind == "pypi" else "package-lock.json"
    place = output or Path(name)
    place.write_bytes(locked.lock)
    count = len(parse_lock(locked).files())
    emit(
        as_json,
        {
            "file": str(place),
            "sha256": sha256(locked.lock),
            "files": count,
            "artifacts": sorted(locked.artifacts),
        },
        f"{place}: {count} files locked, sha256 {sha256(locked.lock)}",
    )


@click.command("capture")
@click.argument(
    "folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default="."
)
@cache_option
@before_option
@index_option
@json_option
def capture_tools(folder: Path, cache: Path | None, before: str, index: str, as_json: bool) -> None:
    """Start the project's server in the strict sandbox and show what it offers.

    \b
    Example:
      mcps-sign capture .
    """
    release = build_release(
        Project.read(folder),
        fetch_settings(cache),
        index=index,
        before=before_time(before),
        report=lambda text: click.echo(f"… {text}", err=True),
    )
    tools = release.statement.tools
    lines = [f"speaks {', '.join(tools.protocol_versions)}"]
    lines += [f"  tool {c.definition['name']}  ({', '.join(c.eras)})" for c in tools.items]
    lines += [f"  prompt {c.definition['name']}" for c in tools.prompts]
    lines += [f"  template {c.definition['uriTemplate']}" for c in tools.resource_templates]
    emit(as_json, tools.to_dict(), "\n".join(lines))
