"""Publishing, as its author does it: made, locked, captured, signed, verified, submitted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from commands import said, tell
from hosts import ECHO_SERVER
from mcps_signer.cli.commands import cli
from mcps_trust.bundle.parse import parse_bundle
from mcps_trust.model.digest import Sha256
from mcps_trust.model.names import blob_path
from mcps_trust.model.permissions import Permissions
from mcps_trust.model.statement import ReleaseStatement
from simulators.package_index import PackageIndex
from wheels import sha256, write_wheel
from worlds import AUTHOR, NAMESPACE, World, free_port

pytestmark = pytest.mark.bwrap

# A build back end that needs nothing from anywhere (PEP 517, backend-path).
BACKEND = """
import pathlib, sys
sys.path.insert(0, {tests!r})
from wheels import write_wheel

def build_wheel(folder, config_settings=None, metadata_directory=None):
    source = pathlib.Path("main.py").read_bytes()
    files = {{"hello_server/__init__.py": b"", "hello_server/main.py": source}}
    scripts = {{"hello-server": "hello_server.main:main"}}
    place = pathlib.Path(folder)
    return write_wheel(place, "hello-server", "1.0.0", files, scripts=scripts).name
"""
PYPROJECT = """
[project]
name = "hello-server"
version = "1.0.0"
description = "Says hello"

[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


@dataclass
class Author:
    """Somebody with a project folder, a registry to publish to, and a token."""

    world: World
    project: Path
    token: Path
    index: PackageIndex

    @property
    def cache(self) -> list[str | Path]:
        return ["--cache", self.project.parent / "packages", "--index", self.index.pypi]

    @property
    def signing(self) -> list[str | Path]:
        root = self.world.desk.folder.public / "metadata/1.root.json"
        return ["--registry", self.world.url, "--registry-root", root,
                "--identity-token", self.token]  # fmt: skip

    def init(self, name: str = f"{NAMESPACE}/hello") -> None:
        tell(cli, "init", self.project, "--name", name, "--folder", self.project)
        text = (self.project / "mcps.toml").read_text()
        (self.project / "mcps.toml").write_text(text.replace(str(self.project), "."))


@pytest.fixture
def author(world: World, tmp_path: Path) -> Iterator[Author]:
    project = tmp_path / "project"
    project.mkdir()
    tests = str(Path(__file__).parent.parent)
    (project / "pyproject.toml").write_text(PYPROJECT)
    (project / "backend.py").write_text(BACKEND.format(tests=tests))
    (project / "main.py").write_bytes(ECHO_SERVER)
    (tmp_path / "token").write_text(world.token())
    index = PackageIndex()
    yield Author(world, project, tmp_path / "token", index)
    index.close()


def test_a_starter_pair_is_written_and_nothing_is_overwritten(author: Author) -> None:
    done = tell(cli, "init", author.project, "--name", f"{NAMESPACE}/hello", "--folder",
                author.project)  # fmt: skip
    assert [Path(path).name for path in done["written"]] == ["server.json", "mcps.toml"]
    server = json.loads((author.project / "server.json").read_bytes())
    assert (server["name"], server["version"]) == (f"{NAMESPACE}/hello", "1.0.0")
    assert server["description"] == "Says hello"
    before = (author.project / "mcps.toml").read_bytes()
    words = ("init", author.project, "--name", f"{NAMESPACE}/other", "--folder", author.project)
    assert tell(cli, *words, code=73)["code"] == "already-there"
    assert (author.project / "mcps.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("source", "run"),
    [("pypi:clock==1.0.0", 'entryPoint = "clock"'), ("npm:@a/clock@1.0.0", 'bin = "clock"')],
)
def test_a_starter_pair_for_a_package(tmp_path: Path, source: str, run: str) -> None:
    tell(cli, "init", source, "--name", "io.example/clock", "--folder", tmp_path / "new")
    assert run in (tmp_path / "new" / "mcps.toml").read_text()
    error = tell(cli, "init", "clock", "--name", "io.example/clock", code=64)
    assert error["code"] == "bad-source"
    assert tell(cli, "init", source, "--name", "clock", code=65)["code"] == "bad-name"


def test_ones_own_server_is_published_in_three_commands(author: Author) -> None:
    author.init()
    item = tell(cli, "publish", author.project, *author.signing, *author.cache)
    assert (item["server"], item["state"], item["origin"]) == (
        f"{NAMESPACE}/hello", "waiting", "publisher",
    )  # fmt: skip
    assert item["signer"]["subject"] == AUTHOR
    bundle = author.world.desk.blobs.get(Sha256(item["bundleSha256"]))
    statement = ReleaseStatement.parse(parse_bundle(bundle).payload)
    assert statement.tools.tool_names() == ("delete", "echo", "hidden")
    assert statement.permissions == Permissions()
    lock = author.world.desk.blobs.get(statement.packages[0].closure.sha256).decode()
    (wheel,) = (
        line.partition('sha256 = "')[2][:64] for line in lock.splitlines() if "sha256" in line
    )
    assert (author.world.desk.folder.public / blob_path(Sha256(wheel))).exists(), "it travels along"
    again = tell(cli, "publish", author.project, *author.signing, *author.cache)
    assert again["release"] == item["release"], "the same input gives the same release"


def test_a_bundle_is_made_shown_and_verified_without_a_submission(author: Author) -> None:
    author.init(f"{NAMESPACE}/shown")
    place = author.project.parent / "bundle.json"
    before = len(author.world.desk.submissions())
    proof = tell(cli, "sign", author.project, "-o", place, *author.signing, *author.cache)
    assert len(author.world.desk.submissions()) == before
    assert place.with_suffix(".lock").read_bytes()
    shown = said(cli, "inspect", place)
    assert shown.startswith("NOT VERIFIED") and proof["release"] in shown
    assert tell(cli, "inspect", place)["predicate"]["origin"] == "publisher"
    who = ["--issuer", author.world.issuer.issuer.url, "--subject", AUTHOR]
    far = author.signing[:4]
    assert tell(cli, "verify", place, *who, *far)["release"] == proof["release"]
    root = author.project.parent / "trusted_root.json"
    root.write_bytes(author.world.signing_instance().trusted_root)
    assert AUTHOR in said(cli, "verify", place, *who, "--trusted-root", root)
    other = [*who[:3], "mallory@example.org"]
    refused = tell(cli, "verify", place, *other, "--trusted-root", root, code=77)
    assert refused["code"] == "signer-not-trusted"
    document = json.loads(place.read_bytes())
    document["dsseEnvelope"]["signatures"][0]["sig"] = "AAAA"
    place.write_text(json.dumps(document))
    spoiled = tell(cli, "verify", place, *who, "--trusted-root", root, code=65)
    assert spoiled["code"] == "signature-invalid"
    place.write_text("{}")
    assert tell(cli, "inspect", place, code=65)["code"] == "field"
    assert tell(cli, "verify", place, *who, code=64)["code"] == "usage"


def test_what_a_server_offers_is_captured(author: Author) -> None:
    author.init()
    tools = tell(cli, "capture", author.project, *author.cache)
    assert {item["definition"]["name"] for item in tools["items"]} == {"echo", "delete", "hidden"}
    text = said(cli, "capture", author.project, *author.cache)
    assert "speaks 2025-11-25" in text and "tool echo" in text


def test_a_server_that_does_not_start_says_why(author: Author) -> None:
    author.init()
    (author.project / "main.py").write_bytes(
        b"import sys\ndef main():\n    sys.exit('the flux capacitor is missing')\n"
    )
    error = tell(cli, "capture", author.project, *author.cache, code=65)
    assert error["code"] == "server-did-not-start"
    assert "the flux capacitor is missing" in error["found"]
    (author.project / "main.py").write_bytes(b"import time\ndef main():\n    print('hi')\n")
    error = tell(cli, "publish", author.project, *author.signing, *author.cache, code=65)
    assert error["code"] == "server-did-not-start"


def test_a_lock_is_written(author: Author, tmp_path: Path) -> None:
    place = tmp_path / "pylock.toml"
    done = tell(cli, "lock", author.project, "-o", place, "--index", author.index.pypi)
    assert (done["files"], done["sha256"]) == (1, sha256(place.read_bytes()))
    assert done["artifacts"] == ["hello_server-1.0.0-py3-none-any.whl"]
    text = said(cli, "lock", author.project, "-o", place, "--index", author.index.pypi)
    assert "1 files locked" in text
    nowhere = ("-o", tmp_path / "none" / "lock", "--index", author.index.pypi)
    assert tell(cli, "lock", author.project, *nowhere, code=73)["code"] == "storage"


def test_what_earlier_builds_left_behind_is_not_built(author: Author, tmp_path: Path) -> None:
    """A back end that takes files from build/ would have signed what nobody looks at."""
    backend = (author.project / "backend.py").read_text()
    (author.project / "backend.py").write_text(backend.replace(
        "    scripts =",
        "    for made in ('build/lib', 'hello.egg-info'):\n"
        "        pathlib.Path(made).mkdir(parents=True)\n"
        "    scripts =",
    ))  # fmt: skip
    before = sorted(author.project.rglob("*"))
    lock = ("lock", author.project, "-o", tmp_path / "lock", "--index", author.index.pypi)
    first = tell(cli, *lock)["sha256"]
    left = [place for place in author.project.rglob("*") if "__pycache__" not in place.parts]
    assert sorted(left) == before, "the project is left as it was"
    assert tell(cli, *lock)["sha256"] == first
    (author.project / "build" / "lib").mkdir(parents=True)
    error = tell(cli, *lock, code=65)
    assert error["code"] == "stale-build" and "remove " in error["remedy"]
    assert (author.project / "build" / "lib").exists(), "whose it is, is not ours to say"


def test_what_was_rejected_is_said_to_the_publisher(author: Author) -> None:
    author.init(f"{NAMESPACE}/unwanted")
    item = tell(cli, "publish", author.project, *author.signing, *author.cache)
    author.world.desk.reject(item["release"], "asks for too much")
    text = said(cli, "publish", author.project, *author.signing, *author.cache)
    assert "REJECTED: asks for too much" in text


def test_somebody_elses_package_is_endorsed_and_the_statement_says_so(
    author: Author, tmp_path: Path
) -> None:
    files = {"other_server/__init__.py": b"", "other_server/main.py": ECHO_SERVER}
    wheel = write_wheel(tmp_path, "other-server", "2.0", files,
                        scripts={"other-server": "other_server.main:main"})  # fmt: skip
    author.index.add_wheel(wheel)
    cache = tmp_path / "packages"
    cache.mkdir(exist_ok=True)
    (cache / sha256(wheel.read_bytes())).write_bytes(wheel.read_bytes())
    rule = {"class": "read", "approval": "none"}
    profile = {
        "alias": "other", "server": {"name": f"{NAMESPACE}/other", "version": "2.0",
                                     "description": "Somebody else's"},
        "package": {"registryType": "pypi", "identifier": "other-server", "version": "2.0",
                    "integrity": "sha256-" + "A" * 43 + "="},
        "run": {"entryPoint": "other-server", "arguments": []},
        "permissions": Permissions().to_dict(), "tools": {"echo": rule},
        "withheld": ["delete", "hidden"], "tier": "low", "notes": "for a test",
    }  # fmt: skip
    listed = tmp_path / "index.json"
    listed.write_text(json.dumps({"version": 1, "servers": [profile]}))
    words = ("endorse", "--from", listed, *author.signing, *author.cache, "--carry", "all")
    done = tell(cli, *words, "other", "--checked", "read its code")
    (item,) = done["submissions"]
    assert item["origin"] == "endorsement"
    bundle = author.world.desk.blobs.get(Sha256(item["bundleSha256"]))
    upstream = ReleaseStatement.parse(parse_bundle(bundle).payload).upstream
    assert upstream is not None and "other-server 2.0" in upstream.identity
    assert "read its code" in upstream.checked
    carried = author.world.desk.folder.public / blob_path(Sha256(sha256(wheel.read_bytes())))
    assert carried.exists()
    assert tell(cli, *words, "nothing", code=64)["expected"] == "other"
    alone = ("endorse", "--from", listed, "other")
    assert tell(cli, *alone, code=64)["code"] == "usage"


def test_what_cannot_be_signed_or_submitted_is_refused(author: Author, tmp_path: Path) -> None:
    publish = ("publish", author.project)
    assert tell(cli, *publish, *author.signing, *author.cache, code=78)["code"] == "bad-project"
    author.init()
    assert tell(cli, *publish, *author.cache, code=64)["code"] == "usage"
    nobody = [*author.signing[:4], "--identity-token", tmp_path / "none"]
    assert tell(cli, *publish, *nobody, *author.cache, code=78)["code"] == "no-identity"
    garbage = tmp_path / "garbage"
    garbage.write_text("not a token")
    nobody[-1] = garbage
    assert tell(cli, *publish, *nobody, *author.cache, code=78)["code"] == "no-identity"
    (author.project / "server.json").write_bytes(
        (author.project / "server.json").read_bytes().replace(NAMESPACE.encode(), b"io.victim")
    )
    refused = tell(cli, *publish, *author.signing, *author.cache, code=77)
    assert refused["code"] == "refused-by-registry" and "io.victim" in refused["what"]
    gone = ["--registry", f"http://127.0.0.1:{free_port()}", *author.signing[2:]]
    assert tell(cli, *publish, *gone, *author.cache, code=69)["code"] == "registry-unavailable"


def test_a_public_log_is_not_written_to_without_a_word(author: Author) -> None:
    author.init()
    words = ("publish", author.project, "--registry", author.world.url, "--instance", "public",
             "--identity-token", author.token)  # fmt: skip
    before = author.world.desk.submissions()
    said(cli, *words, *author.cache, code=130, answer="n\n")
    assert author.world.desk.submissions() == before
