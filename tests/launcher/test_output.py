"""What each command of ``mcps-launch`` prints with ``--json`` is as its schema says."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mcps_launcher.cli.commands import cli
from worlds import INITIALIZE, Host, World, call

pytestmark = pytest.mark.bwrap

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "docs" / "cli" / "examples"
NAMES = sorted(
    item.name.removesuffix(".schema.json")
    for item in files("mcps_launcher.schemas").iterdir()
    if item.name.endswith(".schema.json")
)


def schema(name: str) -> dict[str, Any]:
    text = (files("mcps_launcher.schemas") / f"{name}.schema.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def errors(document: Any, name: str) -> list[str]:
    """What a schema has to say against a document."""
    validator = jsonschema.Draft202012Validator(schema(name))
    return [error.message for error in validator.iter_errors(document)]


@pytest.mark.parametrize("name", NAMES)
def test_each_schema_has_an_example_in_the_documentation(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))
    example = json.loads((EXAMPLES / f"{name}.json").read_bytes())
    jsonschema.validate(example, schema(name))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**example, "extra": 1}, schema(name))


def test_every_command_that_prints_json_has_a_schema() -> None:
    for name, command in cli.commands.items():
        children = getattr(command, "commands", {"": command})
        for child, leaf in children.items():
            if any(p.name == "as_json" for p in leaf.params):
                assert "-".join(filter(None, (name, child))) in NAMES


@pytest.fixture(scope="module")
def used(world: World) -> Host:
    """A host that has run something."""
    world.serve("echo")
    host = world.host("output")
    host.talk("echo", INITIALIZE, call(2, "echo"))
    return host


def printed(host: Host, *words: str, code: int = 0) -> dict[str, Any]:
    done = host.run(*words, "--json")
    assert done.returncode == code, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    document: dict[str, Any] = json.loads(
        done.stdout if code == 0 else done.stderr.splitlines()[-1]
    )
    return document


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("list", ["list"]),
        ("inspect", ["inspect", "echo"]),
        ("verify", ["verify", "echo"]),
        ("prefetch", ["prefetch", "echo"]),
        ("logs", ["logs", "echo"]),
        ("doctor", ["doctor"]),
        ("audit-show", ["audit", "show"]),
        ("audit-show-session", ["audit", "show", "--last"]),
        ("audit-verify", ["audit", "verify"]),
        ("configure-print", ["configure", "vscode", "echo", "--print"]),
        ("configure-dry-run", ["configure", "claude-code", "echo", "--dry-run"]),
        ("gc", ["gc"]),
    ],
)
def test_output_is_as_its_schema_says(used: Host, name: str, words: list[str]) -> None:
    assert errors(printed(used, *words), name) == []


def test_a_running_session_is_listed(used: Host) -> None:
    process = used.start("echo")
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
    process.stdin.flush()
    process.stdout.readline()
    document = printed(used, "ps")
    process.communicate(timeout=20)
    jsonschema.validate(document, schema("ps"))
    assert [session["alias"] for session in document["sessions"]] == ["echo"]
    assert printed(used, "ps") == {"sessions": []}


def test_enrolment_is_told_and_taken_back(world: World, tmp_path: Path) -> None:
    host = world.host("enrolling")
    root = world.desk.folder.public / "metadata/1.root.json"
    words = ["enroll", world.url, "--root", str(root), "--team", "demo", "--development"]
    jsonschema.validate(printed(host, *words), schema("enroll"))
    file = tmp_path / "mcp.json"
    document = printed(host, "configure", "vscode", "echo", "--file", str(file))
    jsonschema.validate(document, schema("configure"))
    assert json.loads(file.read_bytes())["servers"]["echo"]["command"]
    jsonschema.validate(printed(host, "unenroll"), schema("unenroll"))
    error = printed(host, "list", code=78)
    jsonschema.validate(error, schema("error"))
    assert error["error"]["code"] == "not-enrolled"


@pytest.mark.docker
def test_runtime_images_are_told(world: World) -> None:
    host = world.host("images")
    built = printed(host, "runtime", "build")
    jsonschema.validate(built, schema("runtime-build"))
    found = printed(host, "runtime", "list")
    jsonschema.validate(found, schema("runtime-list"))
    assert built["image"] in found["images"]


def test_an_unknown_server_is_an_error_for_machines(used: Host) -> None:
    for words in (["inspect", "nope"], ["verify", "nope"], ["prefetch", "nope"]):
        document = printed(used, *words, code=77)
        jsonschema.validate(document, schema("error"))
        assert document["error"]["code"] == "alias-unknown"
