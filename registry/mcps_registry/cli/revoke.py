"""``mcps-registry revoke`` and ``reinstate``."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import click

from mcps_registry.access import Access
from mcps_registry.cli.options import Keys, signing_options
from mcps_registry.own_target import change_target
from mcps_registry.review.reach import reached
from mcps_trust.clock import parse_time
from mcps_trust.command_line import emit, json_option, progress
from mcps_trust.errors import McpsError, UsageError
from mcps_trust.model.fields import Fields
from mcps_trust.model.revocation import KINDS, Reinstatements, Revocation, Revocations

__all__ = ["reinstate", "revoke"]


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("match")
@signing_options
@click.option("--reason", required=True, help="Why; shown to whoever is refused.")
@click.option(
    "--since",
    default="",
    metavar="TIME",
    help="For a signer: since when, such as 2026-11-21T09:30:00Z; else always.",
)
@json_option
def revoke(
    kind: str,
    match: str,
    access: Access,
    keys: Keys,
    reason: str,
    since: str,
    as_json: bool,
) -> None:
    """Take something back, within minutes, everywhere. Signed with an on-call key.

    MATCH is, for KIND digest: the SHA-256 of a release, bundle, lock or entry; signer:
    "ISSUER SUBJECT"; publisher: a namespace; package: a package URL; artifact: the hash of
    one locked file.

    \b
    Examples:
      mcps-registry revoke package pkg:pypi/clock@1.0.0 -r https://mcp.example.org \\
          --keys ./on-call --reason "sends data home"
      mcps-registry revoke publisher io.example -r ./registry --keys ./keys --reason "taken over"
    """
    now = datetime.now(UTC).replace(microsecond=0)
    document = {
        "id": f"{now:%Y%m%d}-{secrets.token_hex(6)}", "kind": kind, "match": match,
        "since": since or "1970-01-01T00:00:00Z", "reason": reason,
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }  # fmt: skip
    if since:
        try:
            parse_time(since)
        except ValueError as error:
            raise UsageError("not a time", expected="2026-11-21T09:30:00Z", found=since) from error
    revocation = Revocation.from_fields(Fields(document, "revocation"))

    def add(data: bytes) -> bytes:
        old = Revocations.parse(data).revocations
        return Revocations(revocations=(*old, revocation)).to_bytes()

    signers = [keys.signer("revoked")]
    change_target(
        access, "revoked/list.json", role="revoked", signers=signers, change=add, now=now,
        last=keys.last_signed("revoked"),
    )  # fmt: skip
    click.echo(f"revoked, as {revocation.id}", err=True)  # before anything that may take long
    with progress("looking what it reaches"):
        found, whole = _reached(access, revocation)
    lines = [f"revoked {kind} {match}", f"  id {revocation.id}"]
    lines += [f"  reaches {item}" for item in found]
    if not found:
        seen = "nothing" if whole else "nothing of the part that could be read"
        but = ", entries apart" if kind == "digest" else ""
        lines.append(
            f"  WARNING: it matches {seen} that was submitted here{but}: is it spelt right?"
        )
    emit(as_json, {**revocation.to_dict(), "reaches": found}, "\n".join(lines))


@click.command()
@click.argument("revocation", metavar="REVOCATION-ID")
@signing_options
@click.option("--reason", required=True, help="Why it holds no longer.")
@json_option
def reinstate(
    revocation: str,
    access: Access,
    keys: Keys,
    reason: str,
    as_json: bool,
) -> None:
    """Take a revocation back. Signed with two keys, neither of which can revoke.

    The keys are reinstated-1 of the folder targets and reinstated-2 of the folder it: --keys
    names the folder that has both folders.

    \b
    Example:
      mcps-registry reinstate 20261121-0a1b2c3d4e5f -r ./registry --keys ./keys --reason "mistake"
    """
    known = Revocations.parse(access.target("revoked/list.json") or b"").revocations
    taken_back = Reinstatements.parse(access.target("reinstated/list.json") or b"").ids
    chosen = next((item for item in known if item.id == revocation), None)
    if chosen is None:
        raise UsageError("there is no such revocation", found=revocation)
    if revocation in taken_back:
        raise UsageError("it was reinstated already", found=revocation)
    others = [
        item.id for item in known
        if item != chosen and (item.kind, item.match) == (chosen.kind, chosen.match)
        and item.id not in taken_back
    ]  # fmt: skip

    def add(data: bytes) -> bytes:
        return Reinstatements(ids={**Reinstatements.parse(data).ids, revocation: reason}).to_bytes()

    signers = [keys.signer(f"reinstated-{n}") for n in (1, 2)]
    change_target(
        access, "reinstated/list.json", role="reinstated", signers=signers, change=add,
        now=datetime.now(UTC), last=keys.last_signed("reinstated-1"),
    )  # fmt: skip
    lines = [f"reinstated {revocation}"]
    lines += [f"  STILL REVOKED by {other}, which says the same" for other in others]
    emit(
        as_json,
        {"reinstated": revocation, "reason": reason, "stillRevokedBy": others},
        "\n".join(lines),
    )


def _reached(access: Access, revocation: Revocation) -> tuple[list[str], bool]:
    """What it reaches, as far as the registry tells: it is published already."""
    try:
        return reached(access, revocation)
    except McpsError:
        return [], False
