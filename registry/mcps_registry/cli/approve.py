"""``mcps-registry approve`` and ``reject``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from mcps_registry.access import Access
from mcps_registry.cli.options import Keys, signing_options
from mcps_registry.configuration import RegistryFolder
from mcps_registry.desk import open_desk
from mcps_registry.review.draft import draft_entry
from mcps_registry.review.examine import Examined, examine
from mcps_registry.review.index_comparison import compare_with_index
from mcps_trust.bundle.approvals import sign_approval
from mcps_trust.command_line import emit, json_option, progress
from mcps_trust.errors import UntrustedDataError, UsageError
from mcps_trust.model import strict_json
from mcps_trust.model.approval import ApprovalStatement
from mcps_trust.model.digest import Sha256
from mcps_trust.model.entry import Artifacts, Entry
from mcps_trust.model.fields import Fields
from mcps_trust.model.index import Index, Profile
from mcps_trust.model.permissions import Permissions
from mcps_trust.model.vetting import APPROVALS, CLASSES, TIERS, Tier, ToolRule
from mcps_trust.printable import printable

__all__ = ["approve", "reject"]


class DraftMismatchError(UntrustedDataError):
    """An entry is about something else than the approver looked at."""

    code = "draft-mismatch"
    advice = "ask whoever wrote the draft, and whoever runs the registry"


@click.command()
@click.argument("release", metavar="RELEASE|SERVER@VERSION")
@signing_options
@click.option("--approver", required=True, metavar="NAME", help="Whose key signs.")
@click.option(
    "--profile",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="An index.json: take its grant, tool classes and tier for this server.",
)
@click.option(
    "--grant",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A JSON file with the permissions that are granted; else what is asked for.",
)
@click.option(
    "--tool",
    "tools",
    multiple=True,
    metavar="NAME=CLASS[:APPROVAL]",
    help="A tool's class (read, write, destructive, payment) and approval (none, user, "
    "two-person): none is the default for read, user for the others.",
)
@click.option(
    "--withhold",
    multiple=True,
    metavar="NAME",
    help="A tool that is not granted: it will be hidden and refused.",
)
@click.option("--tier", type=click.Choice(TIERS), help="How long it may run offline.")
@click.option("--comment", default="", help="Signed with the approval.")
@click.option("--notes", default="", help="Kept in the entry.")
@click.option("--revision", default=1, show_default=True, help="Revision of the entry.")
@click.option(
    "--allow-unindexed",
    multiple=True,
    metavar="FILE",
    help="A locked file that the package index does not know, and is meant.",
)
@click.option("--index-pypi", default="", help="Compare with this PyPI index.")
@click.option("--index-npm", default="", help="Compare with this npm registry.")
@click.option(
    "--entry",
    "draft",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Sign this very entry, as another approver wrote it with --save.",
)
@click.option(
    "--save",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the entry to this file, for the next approver.",
)
@click.option("--yes", is_flag=True, help="Do not ask before signing.")
@json_option
def approve(
    release: str,
    access: Access,
    keys: Keys,
    approver: str,
    profile: Path | None,
    grant: Path | None,
    tools: tuple[str, ...],
    withhold: tuple[str, ...],
    tier: str | None,
    comment: str,
    notes: str,
    revision: int,
    allow_unindexed: tuple[str, ...],
    index_pypi: str,
    index_npm: str,
    draft: Path | None,
    save: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Approve a release: sign an entry that says what it may do.

    \b
    Examples:
      mcps-registry approve io.example/clock@1.0.0 -r https://mcp.example.org \\
          --registry-root 1.root.json --keys ./approver-alice --approver alice \\
          --tool get_time=read:none --tier low
      mcps-registry approve io.example/clock@1.0.0 -r ./registry --keys ./keys \\
          --approver bob --profile index.json --yes
    """
    examined = examine(access, release)
    now = datetime.now(UTC)
    with progress("comparing every locked file with the package index"):
        artifacts = compare_with_index(
            examined.closures,
            pypi=index_pypi or access.index_pypi,
            npm=index_npm or access.index_npm,
        )
    if draft is not None:
        entry = Entry.parse(draft.read_bytes())
        _check_draft(entry, examined, artifacts)
    else:
        chosen = _profile(profile, examined)
        entry = draft_entry(
            examined.statement, release=examined.proof.release,
            bundle=(Sha256(examined.item["bundleSha256"]), int(examined.item["bundleSize"])),
            identity=examined.identity, revision=revision, artifacts=artifacts,
            allow_unindexed=frozenset(allow_unindexed), grant=_grant(grant, chosen, examined),
            tools=_rules(tools, withhold, chosen),
            withheld=frozenset((*withhold, *(chosen.withheld if chosen else ()))), tier=_tier(tier, chosen),
            notes=notes or (chosen.notes if chosen else ""), now=now,
        )  # fmt: skip
    if not yes:
        text = json.dumps(entry.to_dict(), indent=2, ensure_ascii=False)
        click.echo(printable(text), err=True)
        _ask(f"Sign this entry as {approver}?")
    state = _sign(access, entry, keys, approver, comment, now)
    if save is None and not state["published"]:
        path = entry.path
        save = Path(f"{path.server.name}-{path.version}-{path.revision}.entry.json")
    if save is not None:
        save.write_bytes(entry.to_bytes())
    emit(as_json, state, "\n".join(_said(state, entry, release, save)))


@click.command()
@click.argument("release", metavar="RELEASE|SERVER@VERSION")
@click.option(
    "--registry",
    "-r",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="The registry's folder.",
)
@click.option("--reason", required=True, help="Why; shown to the publisher.")
@json_option
def reject(release: str, folder: Path, reason: str, as_json: bool) -> None:
    """Refuse a submission.

    \b
    Example:
      mcps-registry reject io.example/clock@1.0.0 -r ./registry --reason "asks for too much"
    """
    item = open_desk(RegistryFolder(folder), bytes).reject(release, reason)
    emit(as_json, item, f"{item['server']}@{item['version']} rejected: {reason}")


def _ask(question: str) -> None:
    """Go on only if somebody says yes.

    Raises:
        UsageError: there is nobody to ask.
        click.Abort: they say no.
    """
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo(err=True)  # after the question
        raise UsageError("there is nobody at a terminal to ask", expected="--yes") from None
    if not agreed:
        raise click.Abort


def _said(state: Mapping[str, Any], entry: Entry, release: str, saved: Path | None) -> list[str]:
    approved_by = ", ".join(state["approvedBy"])
    published = "published" if state["published"] else "not published yet"
    needed = f"{state['threshold']} needed"
    lines = [f"{state['path']}: approved by {approved_by} ({needed}), {published}"]
    if not state["published"]:
        lines.append(
            "  the next approver signs this very entry: "
            f"mcps-registry approve {release} … --entry {saved}"
        )
    asking = [name for name, rule in sorted(entry.tools.items()) if rule.approval != "none"]
    if asking:
        lines.append(
            f"  cannot be called yet, as no launcher asks people so far: {', '.join(asking)}"
            " (--tool NAME=CLASS:none allows it unasked)"
        )
    return lines


def _check_draft(entry: Entry, examined: Examined, artifacts: Artifacts) -> None:
    """Let pass another approver's draft that is about what was examined here.

    Raises:
        DraftMismatchError: it is about something else.
    """
    server = examined.statement.server
    wanted = (str(server.name), server.version, examined.proof.release, examined.proof.bundle,
              examined.identity)  # fmt: skip
    found = (str(entry.path.server), entry.path.version, entry.release, entry.bundle_sha256,
             entry.identity)  # fmt: skip
    if wanted != found:
        raise DraftMismatchError(
            "the draft is about another release", expected=str(wanted), found=str(found)
        )
    if not set(artifacts.unmatched) <= set(entry.artifacts.unmatched):
        raise DraftMismatchError(
            "this machine's package index lacks more files than the draft says",
            expected="; ".join(entry.artifacts.unmatched) or "every file on the index",
            found="; ".join(artifacts.unmatched),
        )


def _sign(
    access: Access, entry: Entry, keys: Keys, approver: str, comment: str,
    now: datetime,
) -> dict[str, Any]:  # fmt: skip
    statement = ApprovalStatement(
        path=entry.path,
        digest=entry.approved_digest,
        time=now.replace(microsecond=0),
        comment=comment,
    )
    envelope = sign_approval(statement, keys.signer(f"approver-{approver}"))
    state = access.approve(entry.to_bytes(), envelope, now)
    if state["path"] != str(entry.path):
        raise DraftMismatchError(
            "the registry answers about another entry than was signed",
            expected=str(entry.path),
            found=str(state["path"]),
        )
    return state


def _profile(path: Path | None, examined: Examined) -> Profile | None:
    if path is None:
        return None
    found = Index.parse(path.read_bytes()).for_server(examined.statement.server.name)
    if found is None:
        raise UsageError(f"{path} has no profile of {examined.statement.server.name}")
    return found


def _grant(path: Path | None, profile: Profile | None, examined: Examined) -> Permissions:
    if path is not None:
        return Permissions.from_fields(Fields(strict_json.loads(path.read_bytes()), "grant"))
    return profile.permissions if profile is not None else examined.statement.permissions


def _tier(tier: str | None, profile: Profile | None) -> Tier:
    for known in TIERS:
        if tier == known:
            return known
    if profile is None:
        raise UsageError("an entry needs a tier", expected="--tier low, normal or high")
    return profile.tier


def _rules(
    tools: tuple[str, ...], withhold: tuple[str, ...], profile: Profile | None
) -> dict[str, ToolRule]:
    rules = dict(profile.tools) if profile is not None else {}
    for name in withhold:
        rules.pop(name, None)
    for text in tools:
        name, _, rule = text.partition("=")
        kind, _, approval = rule.partition(":")
        default = "none" if kind == "read" else "user"
        fields = Fields({"class": kind, "approval": approval or default}, f"--tool {name}")
        if kind not in CLASSES or (approval and approval not in APPROVALS):
            raise UsageError(
                "not a tool's class",
                found=text,
                expected="NAME=read|write|destructive|payment[:none|user|two-person]",
            )
        rules[name] = ToolRule.from_fields(fields)
    return rules
