"""Lock an npm package: npm resolves, and what it found is narrowed and written anew."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from mcps_signer.closure.source import Locked, Source
from mcps_signer.closure.tools import run_npm
from mcps_trust.model.package_lock import NodeClosure

__all__ = ["lock_npm"]

# What a reader of the lock needs; licences, funding and the like change without the code.
_KEPT = ("name", "version", "integrity", "optional", "os", "cpu", "libc", "engines", "bin",
         "dependencies", "optionalDependencies", "peerDependencies")  # fmt: skip


def lock_npm(source: Source, *, before: str, registry: str = "") -> Locked:
    """Resolve and lock.

    Args:
        source: a package of an npm registry.
        before: RFC 3339 time; what was published later is not considered.
        registry: base URL of the registry to use instead of the configured one.

    Raises:
        ResolverFailedError: npm could not resolve.
        BadLockError: the closure holds what cannot be run as signed.
    """
    with tempfile.TemporaryDirectory(prefix="mcps-lock-") as folder:
        work = Path(folder)
        root = {"name": "closure", "version": "0.0.0", "private": True,
                "dependencies": {source.name: source.version}}  # fmt: skip
        (work / "package.json").write_text(json.dumps(root), "utf-8")
        run_npm(
            ["install", "--package-lock-only", "--ignore-scripts", "--omit=dev", "--no-audit",
             "--no-fund", "--omit-lockfile-registry-resolved", "--before", before,
             *(["--registry", registry] if registry else [])],
            cwd=work,
        )  # fmt: skip
        document = json.loads((work / "package-lock.json").read_text("utf-8"))
    packages: dict[str, Any] = {"": {"dependencies": root["dependencies"]}}
    for place, item in sorted(document["packages"].items()):
        if place:
            packages[place] = {key: item[key] for key in _KEPT if key in item}
    lock = {"lockfileVersion": 3, "name": "closure", "packages": packages, "requires": True,
            "version": "0.0.0"}  # fmt: skip
    data = json.dumps(lock, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    NodeClosure.parse(data)
    return Locked(source=source, lock=data)
