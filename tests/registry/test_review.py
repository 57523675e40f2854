"""Review from another machine: shown, approved, allowed, revoked; and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from commands import said, tell
from hosts import ECHO_SERVER
from mcps_registry.cli.commands import cli
from mcps_trust.model.approval import Approvers
from mcps_trust.model.digest import Sha256
from mcps_trust.model.entry import Entry
from mcps_trust.model.names import EntryPath, ServerName
from mcps_trust.model.tools import Captured
from office import ECHO, RULES, Office
from simulators.package_index import PackageIndex
from worlds import AUTHOR, NAMESPACE


def test_a_submission_is_shown_with_what_it_asks_for(office: Office) -> None:
    listed = tell(cli, "review", "list", *office.at())["submissions"]
    assert [(item["server"], item["state"]) for item in listed] == [
        (f"{NAMESPACE}/echo", "waiting")
    ]
    show = ["review", "show", ECHO, *office.at(), "--index-pypi", office.index.pypi]
    document = tell(cli, *show)
    assert document["signer"]["subject"] == AUTHOR
    assert (document["artifacts"]["matched"], document["artifacts"]["unmatched"]) == (1, [])
    assert {tool["name"] for tool in document["tools"]} == {"echo", "delete", "hidden"}
    text = said(cli, *show)
    for words in (f"{NAMESPACE}/echo 1.0.0", AUTHOR, "network    none", "1 files match", "hidden"):
        assert words in text


def captured(definition: dict[str, Any]) -> Captured:
    return Captured(definition=definition, eras=("legacy",), capabilities=("none",))


def test_everything_that_models_read_is_shown_whole(office: Office) -> None:
    release = office.world.release("echo", "2.0.0")
    long = "x" * 200
    tool = {"name": "quiet", "inputSchema": {"type": "object"},
            "description": f"Harmless.\nThen orders to the model, {long}, to the end."}  # fmt: skip
    tools = replace(
        release.statement.tools,
        items=(captured(tool),),
        prompts=(captured({"name": "p", "description": "of a prompt"}),),
        resource_templates=(
            captured({"uriTemplate": "x://{y}", "name": "t",
                                 "description": "of a template"}),
        ),
        instructions=(captured({"instructions": "first\nlast"}),),
    )  # fmt: skip
    office.world.submit(replace(release, statement=replace(release.statement, tools=tools)))
    show = ["review", "show", f"{NAMESPACE}/echo@2.0.0", *office.at(), "--no-index"]
    text = said(cli, *show)
    for words in ("Then orders to the model", long, "to the end.", "of a prompt", "x://{y}",
                  "of a template", "first", "last"):  # fmt: skip
        assert words in text
    document = tell(cli, *show)
    assert document["instructions"] == ["first\nlast"]
    assert [item["name"] for item in document["prompts"] + document["tools"]] == ["p", "quiet"]
    assert document["resourceTemplates"][0]["uriTemplate"] == "x://{y}"


@pytest.mark.parametrize("far", [True, False], ids=["from afar", "on its own host"])
def test_an_approval_publishes_an_entry_that_says_what_was_granted(
    office: Office, *, far: bool
) -> None:
    state = tell(cli, "approve", ECHO, *office.approving(far=far), *RULES, "--comment", "looked at")
    assert state["published"] and state["approvedBy"] == ["alice"]
    entry = Entry.parse(office.target(state["path"]))
    assert {name: rule.tool_class for name, rule in entry.tools.items()} == {
        "echo": "read", "delete": "destructive",
    }  # fmt: skip
    assert tell(cli, "review", "list", *office.at())["submissions"][0]["state"] == "approved"


def test_an_approval_that_is_handed_in_again_changes_nothing(office: Office) -> None:
    draft = office.world.folder / "entry.json"
    first = tell(cli, "approve", ECHO, *office.approving(), *RULES, "--save", draft)
    published = office.target(first["path"])
    again = tell(cli, "approve", ECHO, *office.approving(), "--entry", draft)
    assert again["published"] and office.target(first["path"]) == published
    other = tell(cli, "approve", ECHO, *office.approving(), *RULES, "--notes", "another", code=77)
    assert other["code"] == "refused-by-registry" and "already an entry" in other["what"]
    assert office.target(first["path"]) == published


def test_two_approvers_sign_one_entry(office: Office) -> None:
    approvers = Approvers.parse(office.target("trust/approvers.json"))
    place = office.world.folder / "approvers.json"
    place.write_bytes(Approvers(threshold=2, approvers=approvers.approvers).to_bytes())
    tell(
        cli, "trust", "update", f"trust/approvers.json={place}", *office.at(), "--keys", office.keys
    )
    draft = office.world.folder / "entry.json"
    alice = tell(cli, "approve", ECHO, *office.approving(), *RULES, "--save", draft)
    assert (alice["published"], alice["approvedBy"], alice["threshold"]) == (False, ["alice"], 2)
    text = said(cli, "approve", ECHO, *office.approving(), "--entry", draft, "--save", draft)
    assert f"the next approver signs this very entry: mcps-registry approve {ECHO}" in text
    assert f"--entry {draft}" in text
    assert not office.target(alice["path"])
    bob = tell(cli, "approve", ECHO, *office.at(), "--keys", office.keys, "--approver", "bob",
               "--yes", "--entry", draft, "--index-pypi", office.index.pypi)  # fmt: skip
    assert bob["published"] and set(bob["approvedBy"]) == {"alice", "bob"}


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (RULES[:4], "incomplete-review", 64),
        ((*RULES, "--tool", "nothing=read"), "incomplete-review", 64),
        ((*RULES, "--tool", "echo=harmless"), "usage", 64),
        ((*RULES, "--approver", "mallory"), "bad-key-file", 65),
        ((*RULES, "--profile", "{missing}"), "usage", 64),
        ((*RULES, "--profile", "{empty}"), "usage", 64),
        ((*RULES, "--grant", "{bad}"), "field", 65),
        ((*RULES, "--index-pypi", "{other}"), "unindexed-files", 77),
    ],
    ids=["a tool without class", "no such tool", "no such class", "no such key", "no such file",
         "no such profile", "not a grant", "not on the index"],
)  # fmt: skip
def test_an_approval_that_lacks_something_is_refused(
    office: Office, tmp_path: Path, words: tuple[str, ...], code: str, exit_code: int
) -> None:
    (tmp_path / "empty.json").write_text('{"version": 1, "servers": []}')
    (tmp_path / "bad.json").write_text('{"egress": []}')
    other = PackageIndex()
    places = {"missing": tmp_path / "none", "empty": tmp_path / "empty.json",
              "bad": tmp_path / "bad.json", "other": other.pypi}  # fmt: skip
    filled = [word.format(**places) for word in words]
    before = tell(cli, "review", "list", *office.at())
    error = tell(cli, "approve", ECHO, *office.approving(), *filled, code=exit_code)
    other.close()
    assert error["code"] == code
    assert tell(cli, "review", "list", *office.at()) == before
    assert tell(cli, "approve", ECHO, *office.approving(), *RULES)["published"]


def test_an_approver_is_asked_before_signing(office: Office) -> None:
    words = [word for word in office.approving() if word != "--yes"]
    said(cli, "approve", ECHO, *words, *RULES, code=130, answer="n\n")
    assert tell(cli, "review", "list", *office.at())["submissions"][0]["state"] == "waiting"
    nobody = tell(cli, "approve", ECHO, *words, *RULES, code=64)
    assert nobody["code"] == "usage" and nobody["expected"] == "--yes"
    text = said(cli, "approve", ECHO, *words, *RULES, answer="y\n")
    assert "published" in text
    assert "cannot be called yet, as no launcher asks people so far: delete" in text


def test_revisions_follow_one_another(office: Office) -> None:
    def approve(revision: str, code: int = 0) -> dict[str, Any]:
        choice = ("--revision", revision, "--notes", f"for {code}")
        return tell(cli, "approve", ECHO, *office.approving(), *RULES, *choice, code=code)

    assert "revisions follow one another" in approve("2", 77)["what"]
    assert approve("1")["published"]
    assert "--revision N" in approve("1", 77)["remedy"]
    assert "revisions follow one another" in approve("3", 77)["what"]
    assert approve("2")["published"]
    tell(cli, "team", "create", "blue", *office.at(root=False), "--keys", office.keys,
         "--new-keys", office.keys / "team-blue")  # fmt: skip
    done = tell(cli, "team", "allow", "blue", "say", ECHO, *office.at(), "--keys", office.keys)
    assert done["entry"].endswith("/1.0.0/2/entry.json"), "the newest"


def test_two_submissions_of_one_version_are_told_apart(office: Office) -> None:
    other = office.world.submit(office.world.release("echo", source=ECHO_SERVER + b"# other\n"))
    error = tell(cli, "review", "show", ECHO, *office.at(), code=77)
    assert "2 submissions are called" in error["what"] and other["release"][:12] in error["found"]
    folder = office.world.desk.folder.path
    tell(cli, "reject", other["release"], "-r", folder, "--reason", "twice")
    shown = tell(cli, "review", "show", ECHO, *office.at(), "--no-index")["submission"]
    assert shown["state"] == "waiting" and shown["release"] != other["release"]


def test_what_was_rejected_is_not_approved(office: Office) -> None:
    folder = office.world.desk.folder.path
    done = tell(cli, "reject", ECHO, "-r", folder, "--reason", "asks for too much")
    assert (done["state"], done["reason"]) == ("rejected", "asks for too much")
    error = tell(cli, "approve", ECHO, *office.approving(), *RULES, code=77)
    assert "rejected" in error["what"]
    assert tell(cli, "review", "show", "nothing@1", *office.at(), code=77)["code"]


def test_a_draft_about_something_else_is_not_signed(office: Office, tmp_path: Path) -> None:
    draft = tmp_path / "entry.json"
    tell(cli, "approve", ECHO, *office.approving(), *RULES, "--save", draft)
    entry = Entry.parse(draft.read_bytes())
    for changed in (
        replace(entry, release=Sha256("0" * 64)),
        replace(entry, bundle_sha256=Sha256("0" * 64)),
        replace(entry, path=EntryPath(ServerName(NAMESPACE, "other"), "1.0.0", 2)),
        replace(entry, identity=replace(entry.identity, subject="*@example.org")),
    ):
        draft.write_bytes(changed.to_bytes())
        error = tell(cli, "approve", ECHO, *office.approving(), "--entry", draft, code=65)
        assert error["code"] == "draft-mismatch"
    draft.write_bytes(replace(entry, path=replace(entry.path, revision=2)).to_bytes())
    empty = PackageIndex()
    words = [*office.approving(), "--entry", draft, "--index-pypi", empty.pypi]
    assert tell(cli, "approve", ECHO, *words, code=65)["code"] == "draft-mismatch"
    empty.close()
    assert tell(cli, "approve", ECHO, *office.approving(), "--entry", draft)["published"]
