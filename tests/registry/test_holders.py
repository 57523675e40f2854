"""What the holders of keys do: teams, revocations, trust, renewal; and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commands import said, tell
from mcps_registry.cli.commands import cli
from mcps_trust.model.allow_list import AllowList
from mcps_trust.model.names import allow_list_path, parse_team
from mcps_trust.model.revocation import Reinstatements, Revocations
from office import ECHO, RULES, Office
from worlds import NAMESPACE


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


def test_an_older_list_of_ones_own_is_not_built_on(office: Office) -> None:
    """A registry that was taken over shows the state before what was signed last."""
    allowed(office)
    key = office.keys / "team-blue"
    options = [*office.at(far=False), "--keys", key]
    tell(cli, "team", "allow", "blue", "more", ECHO, *options)
    (place,) = key.glob("*.signed")
    newest = int(place.read_text())
    tell(cli, "team", "deny", "blue", "say", *options)
    assert int(place.read_text()) == newest + 1
    place.write_text(f"{newest + 2}\n")
    error = tell(cli, "team", "deny", "blue", "more", *options, code=65)
    assert error["code"] == "older-than-signed" and str(place) in error["remedy"]
    assert aliases(office) == {"more"}
    place.unlink()
    tell(cli, "team", "deny", "blue", "more", *options)
    assert aliases(office) == set()


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
