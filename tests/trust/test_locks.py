"""Locks that name what cannot be run as signed."""

from __future__ import annotations

import base64
import json
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
import tomli_w
from packaging.tags import Tag

from mcps_trust.errors import McpsError
from mcps_trust.model.closure import parse_closure
from mcps_trust.model.package_lock import NodeClosure
from mcps_trust.model.purl import Purl
from mcps_trust.model.pylock import PythonClosure, marker_environment

INTEGRITY = "sha512-" + base64.b64encode(bytes(64)).decode()
OTHER_INTEGRITY = "sha512-" + base64.b64encode(bytes(63) + b"x").decode()
PYLOCK = f"""
lock-version = "1.0"
created-by = "tests"
requires-python = ">=3.11"

[[packages]]
name = "alpha"
version = "1.0"
wheels = [{{path = "alpha-1.0-py3-none-any.whl", hashes = {{sha256 = "{"a" * 64}"}}}}]

[[packages]]
name = "beta"
version = "2.0"
marker = "python_version >= '3.12'"
wheels = [{{path = "beta-2.0-py3-none-any.whl", hashes = {{sha256 = "{"b" * 64}"}}}}]
"""
SOURCE = {"path": "alpha-1.0.tar.gz", "hashes": {"sha256": "c" * 64}}
TAGS = [Tag("py3", "none", "any")]


def refused(read: Callable[[], object]) -> str:
    with pytest.raises(McpsError) as caught:
        read()
    return caught.value.code


def test_a_python_lock_gives_its_files_and_those_for_one_runtime() -> None:
    closure = parse_closure("pypi", PYLOCK.encode())
    assert isinstance(closure, PythonClosure)
    assert [wheel.name for wheel in closure.files()] == ["alpha", "beta"]
    assert str(closure.files()[0].purl) == "pkg:pypi/alpha@1.0"
    assert closure.requires_python == ">=3.11"
    chosen = closure.select(marker_environment("3.11", "3.11.2", "x86_64"), TAGS)
    assert [wheel.name for wheel in chosen] == ["alpha"]
    chosen = closure.select(marker_environment("3.13", "3.13.0", "x86_64"), TAGS)
    assert [wheel.name for wheel in chosen] == ["alpha", "beta"]
    nothing = [Tag("cp310", "cp310", "win_amd64")]
    environment = marker_environment("3.11", "3.11.2", "x86_64")
    assert refused(lambda: closure.select(environment, nothing)) == "no-matching-file"


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(packages=[]),
        lambda d: d["packages"][0].pop("version"),
        lambda d: d["packages"][0].pop("wheels"),
        lambda d: d["packages"][0].update(sdist=SOURCE),
        lambda d: d["packages"][0].update(index="https://index.example.org/simple"),
        lambda d: d["packages"][0]["wheels"][0].update(url="https://files.example.org/a.whl"),
        lambda d: d["packages"][0]["wheels"][0].update(path="../alpha-1.0-py3-none-any.whl"),
        lambda d: d["packages"][0]["wheels"][0].update(path="sub/alpha-1.0-py3-none-any.whl"),
        lambda d: d["packages"][0]["wheels"][0].update(hashes={"sha512": "a" * 128}),
        lambda d: d["packages"][0]["wheels"][0].update(hashes={"sha256": "A" * 64}),
        lambda d: d["packages"][0]["wheels"][0].update(path="alpha-1.0.whl"),
        lambda d: d["packages"][0]["wheels"][0].update(path="beta-1.0-py3-none-any.whl"),
        lambda d: d["packages"][0]["wheels"][0].update(path="alpha-1.1-py3-none-any.whl"),
        lambda d: d["packages"][0].update(version="1.0.0"),
        lambda d: d["packages"][0]["wheels"].append(d["packages"][0]["wheels"][0]),
        lambda d: d.pop("created-by"),
        lambda d: d["packages"][0].update(marker="no marker"),
    ],
    ids=["no package", "no version", "no wheel", "a source", "an index", "an address", "upward",
         "a folder", "another hash", "another spelling", "no wheel's name", "another package's",
         "another version's", "a version in two spellings", "a file twice", "not PEP 751", "no marker"],
)  # fmt: skip
def test_a_python_lock_that_cannot_be_run_as_signed_is_refused(
    change: Callable[[dict[str, Any]], None],
) -> None:
    document = tomllib.loads(PYLOCK)
    change(document)
    assert refused(lambda: PythonClosure.parse(tomli_w.dumps(document).encode())) == "bad-lock"
    assert PythonClosure.parse(PYLOCK.encode())


def test_a_python_lock_of_another_version_or_no_lock_is_refused() -> None:
    newer = PYLOCK.replace('lock-version = "1.0"', 'lock-version = "2.0"').encode()
    assert refused(lambda: PythonClosure.parse(newer)) == "unsupported-version"
    for data in (b"", b"\xff", b"= =", b"a = 1"):
        assert refused(lambda d=data: PythonClosure.parse(d)) == "bad-lock"  # type: ignore[misc]  # a lambda's default


def node_lock() -> dict[str, Any]:
    return {
        "lockfileVersion": 3, "name": "closure", "packages": {
            "": {"dependencies": {"alpha": "1.0.0"}},
            "node_modules/alpha": {"version": "1.0.0", "integrity": INTEGRITY},
            "node_modules/@a/beta": {"version": "2.0.0", "integrity": INTEGRITY, "optional": True,
                                     "os": ["!linux"]},
            "node_modules/alpha/node_modules/gamma": {
                "name": "delta", "version": "3.0.0", "integrity": INTEGRITY, "cpu": ["x64", "arm64"],
                "libc": ["any"]},
        },
    }  # fmt: skip


def read(document: dict[str, Any]) -> NodeClosure:
    closure = parse_closure("npm", json.dumps(document).encode())
    assert isinstance(closure, NodeClosure)
    return closure


def test_a_node_lock_gives_its_files_and_those_for_one_platform() -> None:
    closure = read(node_lock())
    assert {tarball.name for tarball in closure.files()} == {"alpha", "@a/beta", "delta"}
    assert closure.files()[0].sha512 == bytes(64)
    assert {str(tarball.purl) for tarball in closure.files()} >= {"pkg:npm/%40a/beta@2.0.0"}
    chosen = closure.select("linux", "x64", "glibc")
    assert {tarball.name for tarball in chosen} == {"alpha", "delta"}
    assert {t.name for t in closure.select("darwin", "arm64", "")} == {"alpha", "@a/beta", "delta"}
    assert refused(lambda: closure.select("linux", "s390x", "glibc")) == "bad-lock"


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.clear(),
        lambda p: p.pop(""),
        lambda p: p.update({"../alpha": p["node_modules/alpha"]}),
        lambda p: p.update({"node_modules/..": p["node_modules/alpha"]}),
        lambda p: p.update({"node_modules/a/../b": p["node_modules/alpha"]}),
        lambda p: p.update({"node_modules/ALPHA": p["node_modules/alpha"]}),
        lambda p: p["node_modules/alpha"].update(resolved="https://files.example.org/a.tgz"),
        lambda p: p["node_modules/alpha"].update(link=True),
        lambda p: p["node_modules/alpha"].update(inBundle=True),
        lambda p: p.update({"node_modules/z/node_modules/alpha": {
            "version": "1.0.0", "integrity": OTHER_INTEGRITY}}),
    ],
    ids=["nothing", "no root", "upward", "upward inside", "upward between", "case", "an address",
         "a link", "inside another", "one version with two contents"],
)  # fmt: skip
def test_a_node_lock_that_cannot_be_run_as_signed_is_refused(
    change: Callable[[dict[str, Any]], None],
) -> None:
    document = node_lock()
    change(document["packages"])
    assert refused(lambda: read(document)) == "bad-lock"
    assert read(node_lock())


@pytest.mark.parametrize(
    ("key", "value"),
    [("version", "latest"), ("integrity", "sha1-AAAA"), ("integrity", "sha512-????"),
     ("integrity", "sha512-AAAA"), ("optional", 1), ("os", "linux"), ("name", "a b")],
)  # fmt: skip
def test_a_node_lock_with_a_field_that_is_not_of_its_kind_is_refused(
    key: str, value: object
) -> None:
    document = node_lock()
    document["packages"]["node_modules/alpha"][key] = value
    assert refused(lambda: read(document)) == "field"
    older = {**node_lock(), "lockfileVersion": 2}
    assert refused(lambda: read(older)) == "unsupported-version"


@pytest.mark.parametrize(
    "text",
    ["pkg:oci/a@1", "pkg:pypi/a", "pkg:pypi/A_b@1", "pkg:pypi/a@1?x=y", "a@1",
     "pkg:npm/@a/b@1.0.0", "pkg:pypi/a@1?platform=linux%2Fx86_64,linux%2Faarch64"],
)  # fmt: skip
def test_a_package_address_has_one_spelling(text: str) -> None:
    assert refused(lambda: Purl.parse(text)) == "bad-purl"
    for good in ("pkg:pypi/a-b@1.0", "pkg:npm/%40a/b@1.0.0",
                 "pkg:pypi/a@1?platform=linux%2Faarch64%2Clinux%2Fx86_64"):  # fmt: skip
        assert str(Purl.parse(good)) == good
    assert Purl.parse("pkg:pypi/a@1?platform=linux%2Fx86_64").plain == "pkg:pypi/a@1"
