"""Wheels and tarballs that try to be something else."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcps_launcher.install.installed import StoreChangedError, manifest
from mcps_launcher.install.store import Store
from mcps_launcher.install.tarball import read_tarball
from mcps_launcher.install.tree import BadPackageError, PackageFile
from mcps_launcher.install.wheel import read_wheel
from mcps_trust.model.digest import Sha256
from mcps_trust.model.package_lock import LockedTarball
from mcps_trust.model.pylock import LockedWheel
from mcps_trust.model.submission import BadSubmissionError, unpack
from wheels import sha256, write_wheel

FILES = {"pkg/__init__.py": b"x = 1\n", "pkg/__pycache__/x.cpython-311.pyc": b"old",
         "pkg-1.0.data/scripts/run": b"#!/bin/sh\n", "pkg-1.0.data/purelib/more.py": b"y = 2\n"}  # fmt: skip


def locked(path: Path) -> LockedWheel:
    return LockedWheel(
        name="pkg", version="1.0", filename=path.name, sha256=Sha256(sha256(path.read_bytes()))
    )


def test_a_wheel_gives_its_files_without_scripts_and_shipped_bytecode(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, "pkg", "1.0", FILES)
    paths = [file.path for file in read_wheel(path, locked(path))]
    assert paths == ["pkg/__init__.py", "more.py", "pkg-1.0.dist-info/METADATA",
                     "pkg-1.0.dist-info/WHEEL"]  # fmt: skip


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The wheel with changed members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    target = path.with_name("pkg-1.0-py3-none-any.whl.new")
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return target


def drop(name: str) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        del members[name]

    return change


def put(name: str, data: bytes = b"evil") -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        members[name] = data

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("../outside.py"),
        put("/etc/cron.d/evil"),
        put("pkg/../../outside.py"),
        put("pkg\\evil.py"),
        put("pkg//evil.py"),
        put("pkg/unrecorded.py"),
        put("pkg/__init__.py", b"changed"),
        put("pkg/ev\x01il.py"),
        drop("pkg/__init__.py"),
        drop("pkg-1.0.dist-info/RECORD"),
    ],
)
def test_a_wheel_that_is_not_as_recorded_is_refused(
    tmp_path: Path, change: Callable[[dict[str, bytes]], None]
) -> None:
    path = write_wheel(tmp_path, "pkg", "1.0", FILES)
    bad = rewrite(path, change)
    store = Store(tmp_path / "store")
    with pytest.raises(BadPackageError), store.installing(Sha256("0" * 64)):
        store.add(Sha256("0" * 64), read_wheel(bad, locked(path)))
    assert store.find(Sha256("0" * 64)) is None
    assert store.entries() == [], "nothing half-done is left"


def test_a_wheel_with_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, "pkg", "1.0", {"pkg/a": b"/etc/passwd"})
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: (info, archive.read(info)) for info in archive.infolist()}
    members["pkg/a"][0].external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        for info, data in members.values():
            archive.writestr(info, data)
    with pytest.raises(BadPackageError, match="plain file"):
        list(read_wheel(path, locked(path)))


def test_a_wheel_under_another_name_is_refused(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, "other", "1.0", {"other.py": b""})
    with pytest.raises(BadPackageError, match="another package"):
        list(read_wheel(path, locked(path)))


def tarball(tmp_path: Path, *extra: tuple[tarfile.TarInfo, bytes]) -> tuple[Path, LockedTarball]:
    """An npm tarball with a package.json and whatever else."""
    path = tmp_path / "pkg.tgz"
    manifest_file = tarfile.TarInfo("package/package.json")
    body = json.dumps({"name": "pkg", "version": "1.0.0"}).encode()
    with tarfile.open(path, "w:gz") as archive:
        for info, data in ((manifest_file, body), *extra):
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    return path, LockedTarball(
        place="node_modules/pkg", name="pkg", version="1.0.0", integrity=f"sha512-{digest}"
    )


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, b"" if kind != tarfile.REGTYPE else b"x"


def test_a_tarball_gives_its_files(tmp_path: Path) -> None:
    path, lock = tarball(tmp_path, member("package/dist/index.js"))
    assert [file.path for file in read_tarball(path, lock)] == [
        "node_modules/pkg/package.json", "node_modules/pkg/dist/index.js",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "extra",
    [
        member("package/../../evil"),
        member("package//etc/evil"),
        member("package/null", tarfile.CHRTYPE),
        member("package/pipe", tarfile.FIFOTYPE),
        member("package/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("package/hard", tarfile.LNKTYPE, "package/package.json"),
        member("alone"),
    ],
)
def test_a_tarball_that_leaves_its_folder_is_refused(
    tmp_path: Path, extra: tuple[tarfile.TarInfo, bytes]
) -> None:
    path, lock = tarball(tmp_path, extra)
    with pytest.raises(BadPackageError):
        list(read_tarball(path, lock))


def test_a_tarball_of_another_package_is_refused(tmp_path: Path) -> None:
    path, lock = tarball(tmp_path)
    other = LockedTarball(
        place="node_modules/left", name="left", version="1.0.0", integrity=lock.integrity
    )
    with pytest.raises(BadPackageError, match="another package"):
        list(read_tarball(path, other))


def test_the_manifest_sees_every_change(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    key = Sha256("a" * 64)
    with store.installing(key):
        installed = store.add(key, [PackageFile("a/b.py", b"1"), PackageFile("c.py", b"2")])
    before = manifest(installed.path)
    assert manifest(installed.path) == before
    victim = installed.tree / "a" / "b.py"
    victim.chmod(0o644)
    victim.write_bytes(b"3")
    victim.chmod(0o444)
    assert manifest(installed.path) != before
    (installed.tree / "a").chmod(0o755)
    (installed.tree / "a" / "link").symlink_to("/etc/passwd")
    with pytest.raises(StoreChangedError):
        manifest(installed.path)


def test_two_files_that_differ_only_in_case_cannot_share_a_tree(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, "pkg", "1.0", {"pkg/a.py": b"", "pkg/A.py": b""})
    from mcps_launcher.install.tree import only_once

    with pytest.raises(BadPackageError, match="twice"):
        list(only_once(read_wheel(path, locked(path)), set(), "pkg"))


def packed(
    path: Path, members: list[tuple[tarfile.TarInfo, bytes]], **options: Any
) -> LockedTarball:
    with tarfile.open(path, mode="w:gz", **options) as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return LockedTarball(place="node_modules/x", name="x", version="1.0.0", integrity="")


def test_a_tarball_that_unpacks_to_more_than_it_may_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "x.tgz"
    manifest = (tarfile.TarInfo("package/package.json"), b'{"name": "x"}')
    assert list(read_tarball(place, packed(place, [manifest])))
    long = tarfile.TarInfo("package/a")
    long.pax_headers = {"comment": "x" * (1 << 20)}
    bomb = packed(place, [manifest, (long, b"")], format=tarfile.PAX_FORMAT)
    folders = []
    for number in range(300):
        folder = tarfile.TarInfo(f"package/{number}")
        folder.type = tarfile.DIRTYPE
        folders.append((folder, b""))
    with pytest.raises(BadPackageError, match="header"):
        list(read_tarball(place, bomb))
    monkeypatch.setattr("mcps_launcher.install.tarball.MAX_FILES", 100)
    many = packed(place, [manifest, *folders])
    with pytest.raises(BadPackageError, match="too many files"):
        list(read_tarball(place, many))
    monkeypatch.setattr("mcps_launcher.install.tarball.MAX_TREE_SIZE", 1 << 20)
    zeros = [(tarfile.TarInfo(f"package/{n}"), bytes(1 << 19)) for n in range(4)]
    with pytest.raises(BadPackageError, match="unpacks to more"):
        list(read_tarball(place, packed(place, [manifest, *zeros])))


@pytest.mark.parametrize(
    "headers",
    [
        None,
        {"GNU.sparse.map": "0,1", "GNU.sparse.size": "100000000", "GNU.sparse.numblocks": "1"},
        {"GNU.sparse.size": "100000000", "GNU.sparse.offset": "0", "GNU.sparse.numbytes": "1"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "100000000"},
    ],
    ids=["old GNU", "PAX 0.1", "PAX 0.0", "PAX 1.0"],
)
def test_a_sparse_file_is_refused_before_its_map_is_read(
    tmp_path: Path, headers: dict[str, str] | None
) -> None:
    place = tmp_path / "x.tgz"
    package = (tarfile.TarInfo("package/package.json"), b'{"name": "x"}')
    sparse = tarfile.TarInfo("package/sparse")
    if headers is None:
        sparse.type = tarfile.GNUTYPE_SPARSE
    else:
        sparse.pax_headers = headers
    lock = packed(place, [package, (sparse, b"x")], format=tarfile.PAX_FORMAT)
    with pytest.raises(BadPackageError, match="sparse"):
        list(read_tarball(place, lock))
    packed(place, [(sparse, b"x")], format=tarfile.PAX_FORMAT)
    with pytest.raises(BadSubmissionError, match="sparse"):
        unpack(io.BytesIO(gzip.decompress(place.read_bytes())))
    assert list(read_tarball(place, packed(place, [package])))


def test_a_wheel_that_is_packed_otherwise_is_refused(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        path = write_wheel(tmp_path, "pkg", "1.0", FILES)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w", compression=method) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        with pytest.raises(BadPackageError):
            list(read_wheel(path, locked(path)))
        spoiled = bytearray(path.read_bytes())
        spoiled[60:200] = bytes(140)
        path.write_bytes(bytes(spoiled))
        with pytest.raises(BadPackageError):
            list(read_wheel(path, locked(path)))
