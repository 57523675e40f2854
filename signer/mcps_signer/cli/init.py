"""``mcps-sign init``."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import click
import tomli_w

from mcps_signer.closure.source import Source
from mcps_signer.release import PLACEHOLDER, starter_permissions
from mcps_trust.command_line import emit, json_option
from mcps_trust.errors import StorageError
from mcps_trust.model.names import ServerName
from mcps_trust.model.server_json import SCHEMA

__all__ = ["init"]


_MAX_DESCRIPTION = 100  # characters, by the schema of server.json


class AlreadyThereError(StorageError):
    """A file would be overwritten."""

    code = "already-there"


@click.command()
@click.argument("source", default=".", metavar="[SOURCE]")
@click.option("--name", required=True, metavar="NAMESPACE/NAME", help="The server's name.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where to write; else here.",
)
@json_option
def init(source: str, name: str, folder: Path, as_json: bool) -> None:
    """Write a starter server.json and mcps.toml for a project or package.

    \b
    Examples:
      mcps-sign init --name io.example/clock
      mcps-sign init pypi:clock==1.0.0 --name io.example/clock --folder release
    """
    server = ServerName.parse(name)
    found = Source.parse(source)
    package, version, description = _identify(found)
    run = {"bin": package.rpartition("/")[2]} if found.kind == "npm" else {"entryPoint": package}
    documents = {
        folder / "server.json": json.dumps({
            "$schema": SCHEMA,
            "name": str(server),
            "description": description or f"{server.name}: {PLACEHOLDER}",
            "version": version,
            "packages": [{"registryType": found.kind, "identifier": package, "version": version,
                          "transport": {"type": "stdio"}}],
        }, indent=2) + "\n",
        folder / "mcps.toml": tomli_w.dumps({
            "source": source,
            "run": {**run, "arguments": []},
            "permissions": starter_permissions(),
        }),
    }  # fmt: skip
    for path in documents:
        if path.exists():
            raise AlreadyThereError(f"{path} is already there", remedy="edit it, or move it away")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in documents.items():
        path.write_text(text, "utf-8")
    names = [str(path) for path in documents]
    emit(
        as_json,
        {"written": names},
        "wrote " + " and ".join(names) + "; look them over, then run `mcps-sign publish`",
    )


def _identify(source: Source) -> tuple[str, str, str]:
    """Name, version and description of a package, as far as they can be known."""
    if source.folder is None:
        return source.name, source.version, ""
    project = tomllib.loads((source.folder / "pyproject.toml").read_text("utf-8")).get(
        "project", {}
    )
    description = str(project.get("description", ""))[:_MAX_DESCRIPTION]
    return str(project.get("name", "package")), str(project.get("version", "0.1.0")), description
