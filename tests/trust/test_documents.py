"""Documents whose parts are well formed and contradict each other."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from documents import example
from mcps_trust.clock import SystemClock, format_time, parse_time
from mcps_trust.errors import McpsError
from mcps_trust.model import strict_json
from mcps_trust.model.allow_list import AllowList
from mcps_trust.model.approval import envelope_payload
from mcps_trust.model.digest import sha256
from mcps_trust.model.fields import Fields
from mcps_trust.model.index import Index
from mcps_trust.model.names import ServerName, parse_alias, parse_segment, parse_team
from mcps_trust.model.permissions import Permissions
from mcps_trust.model.revocation import Revocations
from mcps_trust.model.server_json import SCHEMA, ServerJson
from mcps_trust.model.statement import Closure, ReleaseStatement, Run
from mcps_trust.model.submission import MAX_MEMBERS, Submission, pack, unpack
from mcps_trust.model.tools import definition_key

Change = Callable[[dict[str, Any]], object]


def code_of(read: Callable[[], object]) -> str:
    with pytest.raises(McpsError) as caught:
        read()
    return caught.value.code


# the release statement ----------------------------------------------------------------------


def first(statement: dict[str, Any]) -> dict[str, Any]:
    package: dict[str, Any] = statement["predicate"]["packages"][0]
    return package


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["subject"].clear(),
        lambda s: s["subject"].append(s["subject"][0]),
        lambda s: s["subject"][0]["digest"].update(sha256="f" * 64),
        lambda s: s["subject"][0].update(name="pkg:pypi/other@1.0.0"),
        lambda s: s["predicate"].update(origin="endorsement"),
        lambda s: s["predicate"].update(upstream={"identity": "pypi", "checked": ["hashes"]}),
        lambda s: s["predicate"].update(
            origin="endorsement", upstream={"identity": "pypi", "checked": []}
        ),
        lambda s: s.update(subject=[]) or s["predicate"].update(packages=[]),
        lambda s: first(s)["run"].update(module="clock"),
        lambda s: first(s).update(run={"arguments": []}),
        lambda s: first(s).update(run={"bin": "clock", "arguments": []}),
        lambda s: first(s)["run"].update(arguments=["--data", "${mounts.data}"]),
        lambda s: first(s)["run"].update(arguments=["${secrets.token}"]),
        lambda s: first(s)["run"].update(arguments=["a\nb"]),
        lambda s: first(s)["closure"].update(
            mediaType="application/vnd.mcps.closure.package-lock.v3+json"
        ),
        lambda s: first(s)["closure"].update(mediaType="text/plain"),
        lambda s: first(s)["runtime"].update(python="three"),
        lambda s: first(s).update(runtime={"node": ">=18"}),
        lambda s: s["predicate"]["tools"].update(protocolVersions=[]),
        lambda s: s["predicate"]["tools"]["items"][0]["definition"].pop("name"),
        lambda s: s["predicate"]["tools"]["items"][0].update(eras=["modern", "legacy"]),
        lambda s: s["predicate"]["tools"]["items"][0].update(capabilities=[]),
    ],
    ids=["no subject", "a subject more", "another digest", "another name", "no upstream",
         "an upstream too many", "nothing checked", "no package", "two things to run",
         "nothing to run", "a bin for pypi", "a mount that is not asked for",
         "a template of another kind", "a line in an argument", "another kind's lock",
         "no kind of lock", "no requirement", "another runtime", "no protocol",
         "a tool without a name", "another order", "no capabilities"],
)  # fmt: skip
def test_a_statement_that_contradicts_itself_is_refused(change: Change) -> None:
    statement = example("release-statement")
    change(statement)
    assert code_of(lambda: ReleaseStatement.parse(strict_json.dumps(statement))) == "field"
    assert ReleaseStatement.parse(strict_json.dumps(example("release-statement")))


def test_an_endorsement_says_whose_it_is_and_what_was_checked() -> None:
    statement = example("release-statement")
    statement["predicate"] |= {
        "origin": "endorsement", "upstream": {"identity": "pypi: clock", "checked": ["hashes"]},
    }  # fmt: skip
    mount = {"name": "data", "mode": "ro", "target": "/data"}
    statement["predicate"]["permissions"]["mounts"] = [mount]
    first(statement)["run"] = {"module": "clock.main", "arguments": ["${mounts.data}"]}
    read = ReleaseStatement.parse(strict_json.dumps(statement))
    assert read.upstream is not None and read.upstream.checked == ("hashes",)
    assert read.to_dict() == statement


def test_an_integer_that_readers_differ_on_cannot_be_pinned() -> None:
    statement = example("release-statement")
    tool = statement["predicate"]["tools"]["items"][0]["definition"]
    tool["inputSchema"]["maximum"] = 2**60
    assert code_of(lambda: ReleaseStatement.parse(strict_json.dumps(statement))) == "not-canonical"
    assert definition_key("resourceTemplates") == "uriTemplate"


@pytest.mark.parametrize("kind", ["entryPoint", "module", "bin"])
def test_what_is_run_is_written_as_it_was_read(kind: str) -> None:
    document = {kind: "clock", "arguments": ["-v"]}
    assert Run.from_fields(Fields(document, "run")).to_dict() == document
    closure = first(example("release-statement"))["closure"]
    assert Closure.from_fields(Fields(closure, "closure")).to_dict() == closure


# permissions --------------------------------------------------------------------------------

MOUNT = {"name": "data", "mode": "ro", "target": "/data"}
VARIABLE = {"name": "MODE", "required": False}


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.update(mounts=[{**MOUNT, "target": "/proc/1"}]),
        lambda p: p.update(mounts=[{**MOUNT, "target": "/etc"}]),
        lambda p: p.update(mounts=[{**MOUNT, "target": "/data/../etc"}]),
        lambda p: p.update(mounts=[{**MOUNT, "target": "/data//x"}]),
        lambda p: p.update(mounts=[{**MOUNT, "mode": "rwx"}]),
        lambda p: p.update(mounts=[MOUNT, {**MOUNT, "target": "/more"}]),
        lambda p: p.update(mounts=[MOUNT, {**MOUNT, "name": "more"}]),
        lambda p: p.update(environment=[VARIABLE, VARIABLE]),
        lambda p: p.update(environment=[{**VARIABLE, "name": "LD_PRELOAD"}]),
        lambda p: p.update(environment=[{**VARIABLE, "name": "PYTHONPATH"}]),
        lambda p: p.update(environment=[{**VARIABLE, "name": "NODE_OPTIONS"}]),
        lambda p: p.update(environment=[{**VARIABLE, "name": "PATH"}]),
        lambda p: p.update(environment=[{**VARIABLE, "value": "a\0b"}]),
        lambda p: p.update(secrets=[{"name": "HOME", "required": True, "description": "x"}]),
        lambda p: p.update(egress=["example.org:443"]),
        lambda p: p.update(egress=["*.example.org:443"], seccomp="network"),
        lambda p: p.update(egress=["127.0.0.1:443"], seccomp="network"),
        lambda p: p.update(egress=["example.org"], seccomp="network"),
        lambda p: p.update(privileged=True),
        lambda p: p["resources"].update(cpus=True),
        lambda p: p["resources"].update(cpus=0),
        lambda p: p["resources"].update(cpus="1"),
        lambda p: p["resources"].update(memory=1),
    ],
)
def test_permissions_that_have_no_spelling_are_refused(change: Change) -> None:
    document = Permissions().to_dict()
    change(document)
    assert code_of(lambda: Permissions.from_fields(Fields(document, "permissions"))) == "field"


def test_permissions_are_written_as_they_were_read() -> None:
    document = {
        "egress": ["api.example.org:443"], "mounts": [MOUNT],
        "secrets": [{"name": "TOKEN", "required": True, "description": "for the service"}],
        "environment": [{**VARIABLE, "value": "fast"}],
        "resources": {"memory": 2**28, "pids": 64, "cpus": 0.5}, "seccomp": "network",
    }  # fmt: skip
    assert Permissions.from_fields(Fields(document, "permissions")).to_dict() == document


# names, times, server.json, index.json, lists -------------------------------------------------


def test_names_that_would_leave_their_place_are_refused() -> None:
    for text in ("", "a/b", "../a", ".a", "a\n", "é", "a" * 129):
        assert code_of(lambda t=text: parse_segment(t, "name")) == "bad-name"  # type: ignore[misc]  # a lambda's default
    for text in ("", "Team", "a/b", "a" * 33):
        assert code_of(lambda t=text: parse_team(t)) == "bad-name"  # type: ignore[misc]  # a lambda's default
    for text in ("", "Clock", "a_b", "-a", "a" * 65, "list", "doctor"):
        assert code_of(lambda t=text: parse_alias(t)) == "bad-name"  # type: ignore[misc]  # a lambda's default
    for text in ("clock", "/clock", "a/", "a/b/c"):
        assert code_of(lambda t=text: ServerName.parse(t)) == "bad-name"  # type: ignore[misc]  # a lambda's default
    assert str(ServerName.parse("io.example/clock")) == "io.example/clock"


def test_a_time_has_one_spelling() -> None:
    now = SystemClock().now()
    assert parse_time(format_time(now)) == now.replace(microsecond=0)
    for text in ("2026-11-21T09:30:00", "2026-11-21 09:30:00Z", "2026-13-21T09:30:00Z", ""):
        with pytest.raises(ValueError, match=r"time|month"):
            parse_time(text)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update({"$schema": "https://example.org/other.json"}),
        lambda d: d.update(name="clock"),
        lambda d: d.update(description="x" * 101),
        lambda d: d["packages"][0].update(version="latest"),
        lambda d: d["packages"][0].update(version="^1.0"),
        lambda d: d["packages"][0].pop("transport"),
    ],
)
def test_a_server_json_that_mcps_cannot_read_is_refused(change: Change) -> None:
    document: dict[str, Any] = {
        "$schema": SCHEMA, "name": "io.example/clock", "description": "Tells the time",
        "version": "1.0.0", "title": "Clock", "unknown": {"kept": True},
        "packages": [{"registryType": "pypi", "identifier": "clock", "version": "1.0.0",
                      "transport": {"type": "stdio"}}],
    }  # fmt: skip
    read = ServerJson.parse(document)
    assert read.to_dict() == document and read.packages[0].transport == "stdio"
    spoiled = json.loads(json.dumps(document))
    change(spoiled)
    assert code_of(lambda: ServerJson.parse(spoiled)) == "field"


def test_a_list_of_servers_names_each_once() -> None:
    document = example("index")
    index = Index.parse(json.dumps(document).encode())
    (profile,) = index.profiles
    for name in (profile.alias, str(profile.server.name), profile.identifier):
        assert index.find(name) is profile
    assert index.find("nothing") is None
    assert index.for_server(profile.server.name) is profile
    twice = {**document, "servers": document["servers"] * 2}
    assert code_of(lambda: Index.parse(json.dumps(twice).encode())) == "field"
    other = {**document["servers"][0], "alias": "another"}
    same = {**document, "servers": [document["servers"][0], other]}
    assert code_of(lambda: Index.parse(json.dumps(same).encode())) == "field"


@pytest.mark.parametrize(
    ("kind", "match"),
    [("digest", "x"), ("artifact", "sha512-x"), ("publisher", "a/b"), ("signer", "issuer"),
     ("signer", "https://id.example.org *"), ("signer", "https://id.example.org a b")],
)  # fmt: skip
def test_a_revocation_that_names_nothing_is_refused(kind: str, match: str) -> None:
    document = example("revocations")
    document["revocations"][0] |= {"kind": kind, "match": match}
    assert code_of(lambda: Revocations.parse(strict_json.dumps(document))) == "field"
    document["revocations"][0] |= {"kind": "package", "match": "pkg:pypi/A@1"}
    assert code_of(lambda: Revocations.parse(strict_json.dumps(document))) == "bad-purl"


def test_lists_have_bounds_and_booleans_are_no_numbers() -> None:
    fields = Fields({"list": [1] * 3, "flag": 1, "value": None}, "document")
    assert code_of(lambda: fields.array("list", longest=2)) == "field"
    assert code_of(lambda: fields.boolean("flag")) == "field"
    assert code_of(lambda: fields.text("value")) == "field"
    assert code_of(lambda: Fields([], "document")) == "field"
    allow_list = {**example("allow-list"), "version": 2}
    assert code_of(lambda: AllowList.parse(strict_json.dumps(allow_list))) == "unsupported-version"


def test_an_envelope_of_another_spelling_is_refused() -> None:
    envelope = example("entry")["approvals"][0]
    assert envelope_payload(envelope)[1] == envelope["signatures"][0]["keyid"]
    for key, value in (("payload", "?"), ("payload", envelope["payload"].rstrip("=") + "A=="),
                       ("payload", "AB=="), ("payloadType", "text/plain"), ("signatures", []),
                       ("signatures", envelope["signatures"] * 2)):  # fmt: skip
        spoiled = {**envelope, key: value}
        assert code_of(lambda e=spoiled: envelope_payload(e)) == "field"  # type: ignore[misc]  # a lambda's default
    signature = {**envelope["signatures"][0], "sig": "AB=="}
    assert code_of(lambda: envelope_payload({**envelope, "signatures": [signature]})) == "field"


# the submission -----------------------------------------------------------------------------

SENT = Submission(
    bundle=b"{}", closures={sha256(b"lock"): b"lock"}, artifacts={sha256(b"wheel"): b"wheel"}
)


def tar(*members: tuple[str, bytes], **header: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in header.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_a_submission_arrives_as_it_was_sent() -> None:
    assert unpack(io.BytesIO(pack(SENT))) == SENT


@pytest.mark.parametrize(
    "data",
    [
        tar(("other.txt", b"x")),
        tar(("bundle.json", b"{}"), ("bundle.json", b"{}")),
        tar(("bundle.json", b"{}"), (f"closures/{'0' * 64}", b"lock")),
        tar(("bundle.json", b"{}"), (f"closures/../{sha256(b'lock')}", b"lock")),
        tar(("bundle.json", b"x" * (9 * 1024 * 1024))),
        tar(("bundle.json", b""), type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        tar(("bundle.json", b""), type=tarfile.CHRTYPE),
        tar(*((f"artifacts/{sha256(str(n).encode())}", str(n).encode())
              for n in range(MAX_MEMBERS + 1))),
        tar(),
        b"not a tar file at all" * 100,
        pack(SENT)[:700],
        b"",
    ],
    ids=["another file", "a file twice", "another content", "upward", "too large", "a link",
         "a device", "too many", "nothing", "no archive", "cut off", "empty"],
)  # fmt: skip
def test_a_submission_of_another_form_is_refused(data: bytes) -> None:
    assert code_of(lambda: unpack(io.BytesIO(data))) == "bad-submission"


def test_a_submission_may_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcps_trust.model.submission.MAX_TOTAL", 8)
    assert code_of(lambda: unpack(io.BytesIO(pack(SENT)))) == "bad-submission"
