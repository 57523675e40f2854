"""``mcps-registry review``."""

from __future__ import annotations

from typing import Any

import click

from mcps_registry.access import Access
from mcps_registry.cli.options import registry_options
from mcps_registry.review.examine import Examined, examine
from mcps_registry.review.index_comparison import compare_with_index
from mcps_trust.command_line import emit, json_option, progress
from mcps_trust.model.entry import Artifacts

__all__ = ["review"]


@click.group()
def review() -> None:
    """Look at what was submitted."""


@review.command("list")
@registry_options
@json_option
def list_(access: Access, as_json: bool) -> None:
    """Show what waits for review, and what became of the rest.

    \b
    Example:
      mcps-registry review list -r https://mcp.example.org
    """
    items = access.submissions()
    lines = [
        f"{item['release'][:12]}  {item['state']:<9} {item['server']}@{item['version']}  "
        f"{item['origin']} by {item['signer']['subject']}"
        for item in items
    ]
    emit(as_json, {"submissions": items}, "\n".join(lines) or "nothing was submitted yet")


@review.command("show")
@click.argument("release", metavar="RELEASE|SERVER@VERSION")
@registry_options
@click.option("--index-pypi", default="", help="Compare with this PyPI index.")
@click.option("--index-npm", default="", help="Compare with this npm registry.")
@click.option("--no-index", is_flag=True, help="Do not ask a package index now.")
@json_option
def show(
    release: str,
    access: Access,
    index_pypi: str,
    index_npm: str,
    no_index: bool,
    as_json: bool,
) -> None:
    """Show one submission: who signed, what it asks for, its tools, its files.

    \b
    Example:
      mcps-registry review show io.example/clock@1.0.0 -r https://mcp.example.org \\
          --registry-root 1.root.json
    """
    examined = examine(access, release)
    artifacts = None
    if not no_index:
        with progress("comparing every locked file with the package index"):
            artifacts = compare_with_index(
                examined.closures,
                pypi=index_pypi or access.index_pypi,
                npm=index_npm or access.index_npm,
            )
    emit(as_json, _document(examined, artifacts), _text(examined, artifacts))


def _document(examined: Examined, artifacts: Artifacts | None) -> dict[str, Any]:
    statement = examined.statement
    return {
        "submission": examined.item,
        "signer": examined.proof.signer.to_dict(),
        "upstream": None if statement.upstream is None else statement.upstream.identity,
        "permissions": statement.permissions.to_dict(),
        "packages": [package.to_dict() for package in statement.packages],
        "tools": [item.definition for item in statement.tools.items],
        "prompts": [item.definition for item in statement.tools.prompts],
        "resourceTemplates": [item.definition for item in statement.tools.resource_templates],
        "instructions": [item.definition["instructions"] for item in statement.tools.instructions],
        "artifacts": None if artifacts is None else artifacts.to_dict(),
    }


def _text(examined: Examined, artifacts: Artifacts | None) -> str:
    statement, proof = examined.statement, examined.proof
    asks = statement.permissions
    lines = [
        f"{statement.server.name} {statement.server.version}: {statement.server.description}",
        f"  release      {proof.release}",
        f"  state        {examined.item['state']}",
        f"  signed by    {proof.signer}",
        f"  signed at    {proof.signed_at:%Y-%m-%d %H:%M:%S} UTC, log index {proof.log_index}",
        f"  origin       {statement.origin}",
    ]
    if statement.upstream is not None:
        lines.append(f"  upstream     {statement.upstream.identity}")
        lines += [f"               checked: {what}" for what in statement.upstream.checked]
    for package, closure in zip(statement.packages, examined.closures, strict=True):
        lines.append(f"  package      {package.purl}: {len(closure.files())} locked files")
    if artifacts is not None:
        lines.append(
            f"  index        {artifacts.matched} files match, "
            f"{len(artifacts.unmatched)} do not ({artifacts.index})"
        )
        lines += [f"               NOT ON THE INDEX: {item}" for item in artifacts.unmatched]
    limits = asks.resources
    lines += [
        "  asks for",
        f"    network    {', '.join(asks.egress) or 'none'}",
        f"    mounts     {', '.join(f'{m.target} ({m.mode})' for m in asks.mounts) or 'none'}",
        f"    secrets    {', '.join(s.name for s in asks.secrets) or 'none'}",
        f"    variables  {', '.join(v.name for v in asks.environment) or 'none'}",
        f"    limits     {limits.memory // 2**20} MiB, {limits.pids} processes, {limits.cpus:g} CPU",
        f"    seccomp    {asks.seccomp}",
        "  tools",
    ]
    for item in statement.tools.items:
        tool = item.definition
        hints = tool.get("annotations") or {}
        claims = ", ".join(k for k, v in sorted(hints.items()) if v is True) or "no hints"
        lines.append(f"    {tool['name']}  ({claims})")
        lines += _whole(tool.get("description", ""))
    # Models read these as they read a tool's description: whole, so nothing of them is cut.
    for title, items, key in (
        ("prompts", statement.tools.prompts, "name"),
        ("resource templates", statement.tools.resource_templates, "uriTemplate"),
    ):
        if items:
            lines.append(f"  {title}")
        for item in items:
            lines.append(f"    {item.definition[key]}")
            lines += _whole(item.definition.get("description", ""))
    for item in statement.tools.instructions:
        lines.append("  instructions to the model")
        lines += _whole(item.definition["instructions"])
    return "\n".join(lines)


def _whole(text: object) -> list[str]:
    return [f"        {line}" for line in str(text).strip().splitlines()]
