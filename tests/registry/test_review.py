"""Review from another machine: shown, approved, allowed, revoked; and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from commands import said, tell
from hosts import ECHO_SERVER
from mcps_registry.cli.commands import cli
from mcps_trust.model.allow_list import AllowList
from mcps_trust.model.approval import Approvers
from mcps_trust.model.digest import Sha256
from mcps_trust.model.entry import Entry
from mcps_trust.model.names import EntryPath, ServerName, allow_list_path, parse_team
from mcps_trust.model.revocation import Reinstatements, Revocations
from mcps_trust.model.tools import Captured
from simulators.package_index import PackageIndex
from worlds import AUTHOR, NAMESPACE, PASSPHRASE, World, make_world, open_world

ECHO = f"{NAMESPACE}/echo@1.0.0"
RULES = ("--tool", "echo=read", "--tool", "delete=destructive:user", "--withhold", "hidden")


@dataclass
class Office:
    """A registry whose approvers sit elsewhere: they have its address, its root and their keys."""

    world: World
    index: PackageIndex

    @property
    def keys(self) -> Path:
        return self.world.desk.folder.keys

    @property
    def root(self) -> Path:
        return self.world.desk.folder.public / "metadata/1.root.json"

    @property
    def passphrase(self) -> Path:
        place = self.world.folder / "passphrase"
        place.write_bytes(PASSPHRASE + b"\n")
        return place

    def at(self, *, far: bool = True, root: bool = True) -> list[str | Path]:
        """Options that name the registry: by its address, or by its folder."""
        where: list[str | Path] = ["-r", self.world.url if far else self.world.desk.folder.path]
        trusted: list[str | Path] = ["--registry-root", self.root] if far and root else []
        return [*where, "--passphrase-file", self.passphrase, *trusted]

    def approving(self, *, far: bool = True) -> list[str | Path]:
        return [*self.at(far=far), "--keys", self.keys, "--approver", "alice", "--yes",
                "--index-pypi", self.index.pypi, "--tier", "low"]  # fmt: skip

    def target(self, path: str) -> bytes:
        return self.world.desk.repository.target(path) or b""


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with one submission, from which each test takes a copy."""
    folder = tmp_path_factory.mktemp("submitted") / "world"
    world, end = make_world(folder, approvers=["alice", "bob"])
    world.submit(world.release("echo", source=ECHO_SERVER))
    end()
    return folder


@pytest.fixture
def office(submitted: Path, tmp_path: Path) -> Iterator[Office]:
    shutil.copytree(submitted, tmp_path / "world")
    world, end = open_world(tmp_path / "world")
    index = PackageIndex()
    index.add_wheel(next((tmp_path / "world/echo-1.0.0").glob("*.whl")))
    yield Office(world, index)
    index.close()
    end()


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
        return tell(
            cli, "approve", ECHO, *office.approving(), *RULES, "--revision", revision, code=code
        )

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


def allowed(office: Office) -> dict[str, Any]:
    """Approve, make a team, allow; gives options for the team's key."""
    tell(cli, "approve", ECHO, *office.approving(), *RULES)
    tell(cli, "team", "create", "blue", *office.at(root=False), "--keys", office.keys,
         "--new-keys", office.keys / "team-blue")  # fmt: skip
    return tell(cli, "team", "allow", "blue", "say", ECHO, *office.at(), "--keys", office.keys)


def aliases(office: Office) -> set[str]:
    data = office.target(allow_list_path(parse_team("blue")))
    return {str(alias) for alias in AllowList.parse(data).aliases}


def test_a_team_allows_and_denies_with_its_own_key(office: Office) -> None:
    done = allowed(office)
    assert done["entry"].startswith("servers/") and aliases(office) == {"say"}
    listed = tell(cli, "team", "list", *office.at())["teams"]
    assert listed["blue"] == {"say": done["entry"]}
    assert "say" in said(cli, "team", "list", *office.at(far=False))
    options = [*office.at(), "--keys", office.keys]
    tighten = office.world.folder / "tighten.json"
    tighten.write_text(json.dumps({"denyTools": ["delete"]}))
    tell(cli, "team", "allow", "blue", "less", done["entry"], "--tighten", tighten, *options)
    assert aliases(office) == {"say", "less"}
    tell(cli, "team", "deny", "blue", "say", *options)
    assert aliases(office) == {"less"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("allow", "blue", "run", ECHO), "bad-name"),
        (("allow", "blue", "other", f"{NAMESPACE}/other@1.0.0"), "usage"),
        (("allow", "blue", "other", "echo"), "usage"),
        (("allow", "green", "say", ECHO), "no-such-team"),
        (("deny", "blue", "other"), "usage"),
    ],
    ids=["a command's name", "not in the catalogue", "not an entry", "no such team", "no alias"],
)
def test_what_a_team_may_not_say_is_refused(
    office: Office, words: tuple[str, ...], code: str
) -> None:
    allowed(office)
    options = [*office.at(), "--keys", office.keys]
    error = tell(cli, "team", *words, *options, code=65 if code == "bad-name" else 64)
    assert error["code"] == code and aliases(office) == {"say"}
    taken = tell(cli, "team", "create", "blue", *options, "--new-keys", office.keys / "x", code=64)
    assert "already" in taken["what"]


def test_a_revocation_needs_the_on_call_key_alone_and_is_taken_back_by_two_others(
    office: Office,
) -> None:
    on_call: list[str | Path] = [*office.at(root=False), "--keys", office.keys / "on-call"]
    done = tell(cli, "revoke", "publisher", NAMESPACE, *on_call, "--reason", "taken over")
    found = Revocations.parse(office.target("revoked/list.json")).revocations
    assert [(r.kind, r.match, r.id) for r in found] == [("publisher", NAMESPACE, done["id"])]
    assert done["reaches"] == [ECHO]
    text = said(cli, "revoke", "package", "pkg:pypi/ecoh-server@1.0.0", *on_call, "--reason", "x")
    assert "WARNING: it matches nothing that was submitted here" in text
    misspelt = Revocations.parse(office.target("revoked/list.json")).revocations[-1]
    again = tell(cli, "revoke", "publisher", NAMESPACE, *on_call, "--reason", "taken over")
    since = ("--since", "yesterday")
    words = ("revoke", "publisher", NAMESPACE, *on_call, "--reason", "x")
    assert tell(cli, *words, *since, code=64)["code"] == "usage"
    state = ("status", office.world.desk.folder.path)
    assert [item["id"] for item in tell(cli, *state)["revocations"]] == [
        done["id"], misspelt.id, again["id"],
    ]  # fmt: skip
    assert f"{done['id']}  publisher {NAMESPACE}" in said(cli, *state)
    options = [*office.at(), "--keys", office.keys]
    unknown = tell(cli, "reinstate", "20261121-000000000000", *options, "--reason", "x", code=64)
    assert unknown["code"] == "usage"
    one: list[str | Path] = ["--keys", office.keys / "on-call", "--reason", "mistake"]
    assert tell(cli, "reinstate", done["id"], *office.at(), *one, code=65)["code"] == "bad-key-file"
    assert not Reinstatements.parse(office.target("reinstated/list.json")).ids
    text = said(cli, "reinstate", done["id"], *options, "--reason", "mistake")
    assert f"STILL REVOKED by {again['id']}" in text
    assert Reinstatements.parse(office.target("reinstated/list.json")).ids == {
        done["id"]: "mistake"
    }
    twice = tell(cli, "reinstate", done["id"], *options, "--reason", "mistake", code=64)
    assert "already" in twice["what"]
    for item in (misspelt.id, again["id"]):
        assert tell(cli, "reinstate", item, *options, "--reason", "x")["stillRevokedBy"] == []
    assert tell(cli, "status", office.world.desk.folder.path)["revocations"] == []


def test_trust_files_are_replaced_with_the_targets_key(office: Office) -> None:
    place = office.world.folder / "runtimes.json"
    place.write_text('{"version": 1, "runtimes": [], "note": "new"}')
    options = [*office.at(root=False), "--keys", office.keys]
    before = office.target("trust/runtimes.json")
    for words, code in (
        ("trust/runtimes.json", 64),
        (f"trust/runtimes.json={place}x", 64),
        (f"trust/nothing.json={place}", 77),
        (f"teams/blue/allow-list.json={place}", 65),
    ):
        assert tell(cli, "trust", "update", words, *options, code=code)
        assert office.target("trust/runtimes.json") == before
    tell(cli, "trust", "update", f"trust/runtimes.json={place}", *options)
    assert office.target("trust/runtimes.json") == place.read_bytes()


def test_namespaces_are_listed(office: Office) -> None:
    folder = office.world.desk.folder.path
    tell(cli, "namespace", "allow", "io.example", "-r", folder, "--issuer", "https://id.example.org",
         "--subject", "it@example.org")  # fmt: skip
    listed = tell(cli, "namespace", "list", "-r", folder)["namespaces"]
    assert set(listed) == {NAMESPACE, "io.example"}
    assert "it@example.org may" not in said(cli, "namespace", "list", "-r", folder)
    error = tell(cli, "namespace", "allow", "../up", "-r", folder, "--issuer",
                 "https://id.example.org", "--subject", "x@example.org", code=65)  # fmt: skip
    assert error["code"] == "bad-name"


def test_the_state_of_the_registry_is_told(office: Office) -> None:
    folder = office.world.desk.folder.path
    assert tell(cli, "status", folder)["queue"] == {"waiting": 1}
    assert "to be carried away" in said(cli, "status", folder)
    before = version(office, "timestamp")
    tell(cli, "refresh", folder, "--passphrase-file", office.passphrase)
    assert version(office, "timestamp") == before + 1


def version(office: Office, role: str) -> int:
    data = office.world.desk.repository.role(role) or b""
    return int(json.loads(data)["signed"]["version"])


def test_offline_roles_are_renewed_before_they_expire(office: Office) -> None:
    allowed(office)
    options = [*office.at(), "--keys", office.keys]
    names = ("root", "targets", "catalog", "teams", "revoked", "reinstated", "team-blue")
    before = {name: version(office, name) for name in names}
    contents = {path: office.target(path) for path in ("trust/approvers.json", "revoked/list.json")}
    done = tell(cli, "renew", *names, *options)["renewed"]
    assert done.keys() == set(names)
    assert {name: version(office, name) for name in names} == {n: v + 1 for n, v in before.items()}
    assert {path: office.target(path) for path in contents} == contents
    tell(cli, "renew", "root", *office.at(far=False), "--keys", office.keys)
    assert version(office, "root") == before["root"] + 2
    assert tell(cli, "review", "show", ECHO, *office.at(), "--no-index")["signer"]
    assert "until" in said(cli, "renew", "revoked", *options)


@pytest.mark.parametrize(
    ("role", "keys", "code"),
    [("timestamp", "", "usage"), ("bin-0", "", "usage"), ("nothing", "", "usage"),
     ("root", "on-call", "bad-key-file"), ("targets", "on-call", "bad-key-file")],
)  # fmt: skip
def test_a_role_that_one_has_no_key_for_is_not_renewed(
    office: Office, role: str, keys: str, code: str
) -> None:
    words = ("renew", role, *office.at(), "--keys", office.keys / keys)
    assert tell(cli, *words, code=64 if code == "usage" else 65)["code"] == code


def test_the_state_says_what_is_to_be_renewed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = office.world.desk.folder.path
    assert tell(cli, "status", folder)["toRenew"] == []
    monkeypatch.setattr("mcps_registry.cli.status._SOON", 200)
    assert set(tell(cli, "status", folder)["toRenew"]) == {"revoked", "team-demo"}
    assert "renew revoked team-demo" in said(cli, "status", folder)


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
