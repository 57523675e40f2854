"""Wheels and locks made by hand, so that tests need no package index."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path


def write_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, bytes],
    *,
    scripts: Mapping[str, str] | None = None,
    requires: tuple[str, ...] = (),
) -> Path:
    """A valid pure-Python wheel with these files, console scripts and dependencies."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    contents = dict(files)
    needs = "".join(f"Requires-Dist: {need}\n" for need in requires)
    contents[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}".encode()
    )
    contents[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if scripts:
        lines = "".join(f"{key} = {value}\n" for key, value in scripts.items())
        contents[f"{info}/entry_points.txt"] = f"[console_scripts]\n{lines}".encode()
    record = "".join(f"{path},{_hash(data)},{len(data)}\n" for path, data in contents.items())
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in contents.items():
            archive.writestr(zipfile.ZipInfo(member), data)
    return path


def write_lock(wheels: Mapping[tuple[str, str], Path]) -> bytes:
    """A pylock.toml that names these wheels."""
    import tomli_w  # not there where a test's own build back end uses this module

    packages = [
        {
            "name": name,
            "version": version,
            "wheels": [{"path": path.name, "hashes": {"sha256": sha256(path.read_bytes())}}],
        }
        for (name, version), path in sorted(wheels.items())
    ]
    document = {
        "lock-version": "1.0",
        "created-by": "tests",
        "requires-python": ">=3.11",
        "packages": packages,
    }
    return tomli_w.dumps(document).encode()


def sha256(data: bytes) -> str:
    """The digest in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _hash(data: bytes) -> str:
    digest = hashlib.sha256(data).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
