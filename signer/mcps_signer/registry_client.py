"""The registry as a publisher needs it: its Sigstore instance, and a place to submit to."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mcps_signer.sign import Instance
from mcps_trust.http import Http
from mcps_trust.http_settings import HttpSettings
from mcps_trust.model.submission import Submission, pack
from mcps_trust.registry_answer import read_answer
from mcps_trust.tuf.client import open_registry

__all__ = ["registry_instance", "submit"]

_LIMIT = 4 * 1024 * 1024  # bytes


def registry_instance(url: str, root: bytes, name: str) -> Instance:
    """A Sigstore instance as the registry publishes it, verified from `root` on.

    Raises:
        McpsError: the registry does not answer, or its metadata does not verify.
    """
    with (
        tempfile.TemporaryDirectory(prefix="mcps-sign-") as folder,
        Http(HttpSettings()) as http,
        open_registry(Path(folder), url, root, http) as registry,
    ):
        registry.refresh()
        base = f"trust/sigstore/{name}"
        return Instance(
            name=name,
            trusted_root=registry.target(f"{base}/trusted_root.json"),
            signing_config=registry.target(f"{base}/signing_config.json"),
        )


def submit(url: str, submission: Submission) -> dict[str, Any]:
    """Send a submission; gives the registry's record of it.

    Raises:
        RefusedByRegistryError: it was refused.
        UnavailableError: nothing answers as a registry.
    """
    with Http(HttpSettings(timeout=180)) as http:
        answer = http.request(
            "POST",
            f"{url.rstrip('/')}/api/v1/submissions",
            limit=_LIMIT,
            body=pack(submission),
            headers={"Content-Type": "application/x-tar"},
        )
    return read_answer(answer)
