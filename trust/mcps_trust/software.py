"""The versions that a proof depends on besides its inputs."""

from __future__ import annotations

from importlib.metadata import version

__all__ = ["software_versions"]


def software_versions() -> str:
    """Mcps and the libraries that verify for it; a kept proof of others is not used."""
    return " ".join(f"{name}=={version(name)}" for name in ("mcps", "sigstore", "cryptography"))
