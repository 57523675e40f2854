"""The curated list, and formats of other people, as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcps_trust.errors import McpsError
from mcps_trust.model.index import Index
from mcps_trust.model.names import (
    RESERVED_ALIASES,
    EntryPath,
    ServerName,
    parse_alias,
    parse_team,
)
from mcps_trust.model.package_lock import NodeClosure
from mcps_trust.model.purl import Purl
from mcps_trust.model.pylock import PythonClosure

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_curated_list_is_valid_and_has_exact_versions_and_no_urls() -> None:
    data = (ROOT / "index.json").read_bytes()
    index = Index.parse(data)
    assert {p.alias for p in index.profiles} == {"clock", "thinking", "everything"}
    for profile in index.profiles:
        assert profile.server.version == profile.version
        assert not set(profile.tools) & set(profile.withheld)
    text = data.decode().replace("https://static.modelcontextprotocol.io/schemas", "")
    assert "://" not in text


@pytest.mark.parametrize(
    "text",
    ["../x", "a/../b", "/a/b", "a//b", "a", "a/b/c", "a/b ", "a/\u0430", "A/" + "x" * 200, "a/-b"],
)
def test_a_name_that_does_not_fit_into_a_path_is_refused(text: str) -> None:
    assert str(ServerName.parse("io.example/clock")) == "io.example/clock"
    with pytest.raises(McpsError) as caught:
        ServerName.parse(text)
    assert caught.value.code == "bad-name"


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,20}", fullmatch=True),
       st.integers(1, 10**8))  # fmt: skip
def test_a_path_is_read_as_it_is_written(segment: str, revision: int) -> None:
    path = EntryPath(ServerName(segment, segment), segment, revision)
    assert EntryPath.parse(str(path)) == path


@pytest.mark.parametrize("word", sorted(RESERVED_ALIASES))
def test_a_command_word_cannot_be_an_alias(word: str) -> None:
    with pytest.raises(McpsError):
        parse_alias(word)
    assert parse_alias(f"{word}-server")


@pytest.mark.parametrize("text", ["", "A", "a_b", "x" * 33, "a/b", "ü"])
def test_team_ids_are_narrow(text: str) -> None:
    assert parse_team("demo-1")
    with pytest.raises(McpsError):
        parse_team(text)


@pytest.mark.parametrize(
    "text",
    ["pkg:pypi/a", "pkg:gem/a@1", "pkg:pypi/A@1", "pkg:pypi/a@1?x=1", "pkg:npm/@a/b/c@1", "a"],
)
def test_only_normal_package_urls_are_read(text: str) -> None:
    for good in ("pkg:pypi/a@1", "pkg:npm/%40scope/name@1.0.0", "pkg:pypi/a@1?platform=linux%2Fx"):
        assert str(Purl.parse(good)) == good
    with pytest.raises(McpsError) as caught:
        Purl.parse(text)
    assert caught.value.code == "bad-purl"


LOCK = """
lock-version = "{version}"
created-by = "x"
[[packages]]
name = "a"
version = "1.0"
{package}
"""
GOOD_WHEEL = 'wheels = [{ path = "a-1.0-py3-none-any.whl", hashes = { sha256 = "%s" } }]' % (
    "0" * 64
)


@pytest.mark.parametrize(
    ("package", "code"),
    [
        (GOOD_WHEEL.replace("path =", 'url = "https://example.org/a.whl", path ='), "bad-lock"),
        (GOOD_WHEEL.replace("a-1.0", "../a-1.0"), "bad-lock"),
        (GOOD_WHEEL.replace("a-1.0", "b-1.0"), "bad-lock"),
        (GOOD_WHEEL.replace("a-1.0", "a-1.1"), "bad-lock"),
        (GOOD_WHEEL.replace("sha256", "md5"), "bad-lock"),
        (GOOD_WHEEL.replace("0" * 64, "0" * 63), "bad-lock"),
        ("", "bad-lock"),
        ('sdist = { path = "a-1.0.tar.gz", hashes = { sha256 = "%s" } }' % ("0" * 64), "bad-lock"),
        ('index = "https://example.org"\n' + GOOD_WHEEL, "bad-lock"),
    ],
)
def test_a_python_lock_is_wheels_by_hash_and_nothing_else(package: str, code: str) -> None:
    assert len(PythonClosure.parse(LOCK.format(version="1.0", package=GOOD_WHEEL).encode()).files())
    with pytest.raises(McpsError) as caught:
        PythonClosure.parse(LOCK.format(version="1.0", package=package).encode())
    assert caught.value.code == code


def test_a_newer_lock_format_is_an_error_of_its_own() -> None:
    with pytest.raises(McpsError) as caught:
        PythonClosure.parse(LOCK.format(version="2.0", package=GOOD_WHEEL).encode())
    assert caught.value.code == "unsupported-version"


SHA512 = "sha512-" + "A" * 86 + "=="


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("node_modules/a", {"resolved": "https://example.org/a.tgz"}),
        ("node_modules/a", {"link": True}),
        ("node_modules/a", {"integrity": "sha1-AAAA"}),
        ("node_modules/a", {"integrity": SHA512[:-4]}),
        ("node_modules/a", {"version": "^1"}),
        ("../a", {}),
        ("node_modules/../a", {}),
        ("node_modules/a/../../b", {}),
        ("/node_modules/a", {}),
        ("lib/a", {}),
    ],
)
def test_a_node_lock_is_tarballs_by_hash_and_nothing_else(
    place: str, change: dict[str, object]
) -> None:
    import json

    def lock(place: str, package: dict[str, object]) -> bytes:
        packages = {"": {}, place: {"version": "1.0.0", "integrity": SHA512, **package}}
        return json.dumps({"lockfileVersion": 3, "packages": packages}).encode()

    assert NodeClosure.parse(lock("node_modules/@s/a", {})).tarballs[0].name == "@s/a"
    with pytest.raises(McpsError) as caught:
        NodeClosure.parse(lock(place, change))
    assert caught.value.code in ("bad-lock", "field")
