"""Configuration files of hosts: merged, never clobbered.

What a host starts is ``mcps-launch NAME``, with the launcher's folder if it was chosen: literal, stable, without paths, versions,
variables or secrets, so that an administrator can allow exactly that command.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcps_trust.errors import ConfigurationError, McpsError
from mcps_trust.model import strict_json
from mcps_trust.model.names import Alias

__all__ = ["HOSTS", "HostKind", "merged", "read_file"]


class HostFileError(ConfigurationError):
    """A host's configuration file cannot be read, so it is not touched."""

    code = "host-file"
    advice = "mend the file, or enter what `--print` shows by hand"


@dataclass(frozen=True, kw_only=True, slots=True)
class HostKind:
    """One host: the key that its servers stand under, and where its file usually is.

    Attributes:
        home: the launcher's folder, where it is not the usual one.
    """

    key: str
    default_file: Callable[[], Path]
    extra: Mapping[str, str]
    home: Path | None = None

    def entry(self, alias: Alias) -> dict[str, Any]:
        """What starts the server."""
        chosen = [] if self.home is None else ["--home", str(self.home.absolute())]
        return {**self.extra, "command": "mcps-launch", "args": [*chosen, str(alias)]}


HOSTS: Mapping[str, HostKind] = {
    "claude-code": HostKind(key="mcpServers", default_file=lambda: Path(".mcp.json"),
                            extra={"type": "stdio"}),
    "vscode": HostKind(key="servers", default_file=lambda: Path(".vscode/mcp.json"),
                       extra={"type": "stdio"}),
}  # fmt: skip


def read_file(path: Path) -> tuple[str, dict[str, Any]]:
    """A host's file as text and as an object; both empty where there is none.

    Raises:
        HostFileError: it is there, and not a JSON object.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return "", {}
    except OSError as error:
        raise HostFileError(f"cannot read {path}", found=error.strerror) from error
    try:
        document = strict_json.loads(data)
    except McpsError as error:
        raise HostFileError(f"{path} is not plain JSON", found=error.found or error.what) from error
    if not isinstance(document, dict):
        raise HostFileError(f"{path} is not a JSON object")
    return data.decode("utf-8"), document


def merged(document: Mapping[str, Any], kind: HostKind, alias: Alias, *, remove: bool) -> str:
    """The file's new text, with the server in it or taken out.

    Raises:
        HostFileError: the place of the servers holds something else.
    """
    servers = document.get(kind.key, {})
    if not isinstance(servers, dict):
        raise HostFileError(f"{kind.key} is not an object")
    if remove:
        servers = {name: value for name, value in servers.items() if name != alias}
    else:
        servers = {**servers, str(alias): kind.entry(alias)}
    return json.dumps({**document, kind.key: servers}, indent=2, ensure_ascii=False) + "\n"
