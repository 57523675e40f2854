"""A registry's folder and its ``config.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import tomli_w

from mcps_registry.sigstore.tokens import Issuer
from mcps_trust.errors import ConfigurationError
from mcps_trust.locked_file import write_atomically
from mcps_trust.model.fields import Fields

__all__ = ["PRIVATE_INSTANCE", "NotARegistryError", "RegistryConfiguration", "RegistryFolder"]

PRIVATE_INSTANCE = "private"
"""The name of the embedded Sigstore instance in identities and target paths."""


class NotARegistryError(ConfigurationError):
    """The folder holds no registry."""

    code = "not-a-registry"
    advice = "make one with `mcps-registry init DIR`"


@dataclass(frozen=True, slots=True)
class RegistryFolder:
    """Where everything of one registry lies."""

    path: Path

    @property
    def public(self) -> Path:
        """What is served as it is: ``metadata/``, ``targets/``, ``blobs/``."""
        return self.path / "public"

    @property
    def keys(self) -> Path:
        """One folder for each holder."""
        return self.path / "keys"

    @property
    def sigstore(self) -> Path:
        """The embedded instance's log and certificates."""
        return self.path / "sigstore"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / "registry.db"

    @property
    def lock(self) -> Path:
        """Held while something is published."""
        return self.path / "lock"

    @property
    def configuration(self) -> Path:
        """The configuration file."""
        return self.path / "config.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistryConfiguration:
    """What an administrator may set.

    Attributes:
        name: shown in certificates and banners.
        url: where clients reach it; stands in the trusted root.
        development: whether the token issuer that trusts everybody exists.
        index_pypi, index_npm: base URLs of package indexes to compare with on this machine;
            empty means what its own uv and npm settings name.
        issuers: whose identity tokens the embedded authority accepts.
    """

    name: str
    url: str
    development: bool
    index_pypi: str = ""
    index_npm: str = ""
    issuers: tuple[Issuer, ...] = ()

    @classmethod
    def read(cls, folder: RegistryFolder) -> Self:
        """Read ``config.toml``.

        Raises:
            NotARegistryError: there is none.
            ConfigurationError: it is not valid.
        """
        try:
            text = folder.configuration.read_text("utf-8")
        except OSError as error:
            address = str(folder.path).startswith(("http:", "https:"))
            raise NotARegistryError(
                f"no registry at {folder.path}", found=error.strerror,
                remedy="run this on the registry's own host, with its folder" if address else None,
            ) from error  # fmt: skip
        try:
            fields = Fields(tomllib.loads(text), "config.toml")
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(
                f"{folder.configuration} is not TOML", found=str(error)
            ) from error
        index = fields.object("index")
        issuers = []
        for item in fields.objects("issuers"):
            issuers.append(
                Issuer(
                    url=item.text("url"),
                    subject=item.choice("subject", ("email", "uri", "workflow")),
                )
            )
            item.done()
        configuration = cls(
            name=fields.text("name", longest=60),
            url=fields.text("url").rstrip("/"),
            development=fields.boolean("development"),
            index_pypi=index.optional("pypi", index.text) or "",
            index_npm=index.optional("npm", index.text) or "",
            issuers=tuple(issuers),
        )
        index.done()
        fields.done()
        return configuration

    def write(self, folder: RegistryFolder) -> None:
        """Write ``config.toml``."""
        index = {"pypi": self.index_pypi, "npm": self.index_npm}
        document = {
            "name": self.name,
            "url": self.url,
            "development": self.development,
            "index": {name: value for name, value in index.items() if value},
            "issuers": [{"url": item.url, "subject": item.subject} for item in self.issuers],
        }
        write_atomically(folder.configuration, tomli_w.dumps(document).encode(), mode=0o644)

    @property
    def log_origin(self) -> str:
        """The name of the log in its checkpoints: no spaces, no scheme."""
        return self.url.partition("://")[2] + "/sigstore/rekor"
