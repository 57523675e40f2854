"""Generate what documentation can be read off the code: errors, the command line, formats.

``python tools/generate_docs.py`` writes ``docs/errors.md``, ``docs/cli/`` and ``docs/formats/``;
``--check`` says whether they are as the code is, and whether the README names only
commands that exist.
"""

from __future__ import annotations

import importlib
import importlib.resources
import json
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from mcps_trust.errors import McpsError

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from format_examples import examples  # noqa: E402

PACKAGES = ("mcps_trust", "mcps_launcher", "mcps_signer", "mcps_registry")
INSIDE_SANDBOX = ("start_python", "compile_python", "__main__")


def main() -> int:
    """Write, or compare."""
    wanted = {ROOT / "docs" / "errors.md": errors(), **commands(), **formats(), **outputs()}
    if "--check" not in sys.argv:
        for path, text in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        print(f"wrote {len(wanted)} files")
        return 0
    stale = [path for path, text in wanted.items()
             if not path.exists() or path.read_text("utf-8") != text]  # fmt: skip
    for path in stale:
        print(f"{path.relative_to(ROOT)} is not as the code is; run `make docs`")
    unknown = list(unknown_commands())
    for text in unknown:
        print(f"README.md names a command that does not exist: {text}")
    return 1 if stale or unknown else 0


def errors() -> str:
    """Every error class with its code, exit code and meaning."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        for info in pkgutil.walk_packages(module.__path__, f"{package}."):
            if not info.name.endswith(INSIDE_SANDBOX):
                importlib.import_module(info.name)
    rows: dict[str, tuple[int, str, str]] = {}
    for kind in subclasses(McpsError):
        if "code" in vars(kind):
            meaning = " ".join((kind.__doc__ or "").split())
            rows[kind.code] = (kind.exit_code, meaning, kind.advice)
    lines = [
        "# Errors",
        "",
        "Generated from the code by `make docs`. Every error has a stable code, an exit code as in",
        "`sysexits.h`, and says what was expected, what was found, and what to do.",
        "",
        "| code | exit | meaning | what to do |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{code}` | {number} | {meaning} | {advice} |".replace("|  |", "| |")
        for code, (number, meaning, advice) in sorted(rows.items())
    ]
    return "\n".join(lines) + "\n"


def subclasses(kind: type[McpsError]) -> Iterator[type[McpsError]]:
    """All classes below `kind`."""
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def command_trees() -> dict[str, click.Command]:
    """The three command lines."""
    return {
        "mcps-sign": importlib.import_module("mcps_signer.cli.commands").cli,
        "mcps-registry": importlib.import_module("mcps_registry.cli.commands").cli,
        "mcps-launch": importlib.import_module("mcps_launcher.cli.commands").cli,
    }


def commands() -> dict[Path, str]:
    """A page for each command line, with the help of every command."""
    pages = {}
    for name, tree in command_trees().items():
        lines = [f"# {name}", "", "Generated from the code by `make docs`.", ""]
        for path, command in walk((name,), tree):
            context = click.Context(command, info_name=" ".join(path), max_content_width=90,
                                    help_option_names=["-h", "--help"])  # fmt: skip
            lines += [f"## {' '.join(path)}", "", "```", command.get_help(context), "```", ""]
        pages[ROOT / "docs" / "cli" / f"{name}.md"] = "\n".join(lines)
    return pages


def formats() -> dict[Path, str]:
    """A page for each format of ours: its fields, by the JSON schema, and an example."""
    pages = {}
    for name, example in examples().items():
        file = f"{name}.schema.json"
        schema = json.loads((importlib.resources.files("mcps_trust.schemas") / file).read_text())
        title = schema["title"].capitalize()
        lines = [
            f"# {title}", "", "Generated from the code by `make docs`.", "", schema["description"],
            "", f"JSON schema: [`{file}`](../../trust/mcps_trust/schemas/{file}), in the package as "
            "`mcps_trust.schemas`.", "", "| field | | meaning |", "|---|---|---|",
            *(f"| `{path}` | {kind} | {text} |" for path, kind, text in fields(schema)),
            "", "## Example", "", "```json", json.dumps(example, indent=2, ensure_ascii=False),
            "```", "",
        ]  # fmt: skip
        pages[ROOT / "docs" / "formats" / f"{name}.md"] = "\n".join(lines)
    return pages


def outputs() -> dict[Path, str]:
    """A page with an example of what each command of ``mcps-launch`` prints for machines."""
    lines = [
        "# mcps-launch --json", "", "Generated by `make docs`. Each command prints one document; the "
        "schemas are in the package, as `mcps_launcher.schemas`. An error is printed on stderr.", "",
    ]  # fmt: skip
    folder = ROOT / "docs" / "cli" / "examples"
    for place in sorted(folder.glob("*.json")):
        file = f"{place.stem}.schema.json"
        schema = json.loads((importlib.resources.files("mcps_launcher.schemas") / file).read_text())
        lines += [
            f"## {schema['title']}", "", f"[schema](../../launcher/mcps_launcher/schemas/{file})",
            "", "```json", place.read_text("utf-8").rstrip(), "```", "",
        ]  # fmt: skip
    return {ROOT / "docs" / "cli" / "mcps-launch-json.md": "\n".join(lines)}


def fields(schema: dict[str, Any], above: str = "") -> Iterator[tuple[str, str, str]]:
    """Path, kind and meaning of each field of a schema."""
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        path = f"{above}{name}"
        optional = "" if name in required else ", optional"
        yield path, kind_of(field) + optional, field.get("description", "")
        yield from fields(field, f"{path}.")
        if isinstance(field.get("items"), dict):
            yield from fields(field["items"], f"{path}[].")
        if isinstance(field.get("additionalProperties"), dict):
            yield from fields(field["additionalProperties"], f"{path}.*.")


def kind_of(field: dict[str, Any]) -> str:
    """What a field holds, in a few words."""
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    kinds = field.get("type", "any")
    return " or ".join(kinds) if isinstance(kinds, list) else str(kinds)


def walk(
    path: tuple[str, ...], command: click.Command
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all below it."""
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from walk((*path, name), child)


def unknown_commands() -> Iterator[str]:
    """Commands of code blocks in the README that the code does not have."""
    known = {" ".join(path) for name, tree in command_trees().items()
             for path, _ in walk((name,), tree)}  # fmt: skip
    text = (ROOT / "README.md").read_text("utf-8")
    for words in re.findall(
        r"^(?:\$ )?(mcps-(?:sign|registry|launch)(?: [a-z-]+)*)", text, re.MULTILINE
    ):
        parts = words.split()
        longest = next((n for n in range(len(parts), 0, -1) if " ".join(parts[:n]) in known), 0)
        is_alias = parts[0] == "mcps-launch" and len(parts) == 2
        if longest < min(2, len(parts)) and not is_alias:
            yield words


if __name__ == "__main__":
    sys.exit(main())
