"""``mcps-launch list``, ``inspect``, ``verify`` and ``prefetch``."""

from __future__ import annotations

import click

from mcps_launcher.back_ends import choose_back_end
from mcps_launcher.cli.options import Home, pass_home
from mcps_launcher.configuration import Configuration
from mcps_launcher.guard.pins import refusal_of
from mcps_launcher.proved import Chain
from mcps_trust.clock import format_time
from mcps_trust.command_line import emit, json_option

__all__ = ["inspect_server", "list_", "prefetch", "verify"]


@click.command("list")
@json_option
@pass_home
def list_(home: Home, as_json: bool) -> None:
    """Show what this team may start.

    \b
    Example:
      mcps-launch list
    """
    allow_list = home.resolver(quiet=as_json).allow_list()
    lines = [
        f"{alias:<20} {item.entry.server} {item.entry.version}"
        for alias, item in sorted(allow_list.aliases.items())
    ]
    emit(as_json, {"team": allow_list.team, "servers": [
        {"alias": alias, "server": str(item.entry.server), "version": item.entry.version,
         "entry": str(item.entry), "sha256": item.sha256}
        for alias, item in sorted(allow_list.aliases.items())
    ]}, "\n".join(lines) or f"team {allow_list.team} may start nothing yet")  # fmt: skip


@click.command("inspect")
@click.argument("name")
@json_option
@pass_home
def inspect_server(home: Home, name: str, as_json: bool) -> None:
    """Show what a server may do and who vouched for it, without starting it.

    \b
    Example:
      mcps-launch inspect clock
    """
    chain = home.resolver(quiet=as_json).prove(name)
    emit(as_json, _document(name, chain), _text(name, chain))


@click.command()
@click.argument("name")
@json_option
@pass_home
def verify(home: Home, name: str, as_json: bool) -> None:
    """Verify every link of the chain for a server, and say what each proved.

    \b
    Example:
      mcps-launch verify clock
    """
    places = home.places()
    back_end = choose_back_end(Configuration.read(places), places)
    decision, links = home.resolver(quiet=as_json).resolve(name, back_end)
    lines = [f"✓ {link.name:<12} {link.proved}" for link in links]
    emit(
        as_json,
        {
            "alias": name,
            "decision": decision.to_dict(),
            "links": [{"name": link.name, "proved": link.proved} for link in links],
        },
        "\n".join(lines),
    )


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@json_option
@pass_home
def prefetch(home: Home, names: tuple[str, ...], as_json: bool) -> None:
    """Fetch, verify and install servers now, so that they start at once later.

    \b
    Examples:
      mcps-launch prefetch clock
      mcps-launch prefetch
    """
    places = home.places()
    back_end = choose_back_end(Configuration.read(places), places)
    chosen = list(names) or sorted(home.resolver(quiet=as_json).allow_list().aliases)
    done = []
    for name in chosen:
        decision, _ = home.resolver(quiet=as_json).resolve(name, back_end)
        done.append({"alias": name, "closure": decision.closure})
    emit(as_json, {"installed": done}, "\n".join(f"ready: {item['alias']}" for item in done))


def _document(name: str, chain: Chain) -> dict[str, object]:
    entry = chain.targets.entry
    return {
        "alias": name,
        "server": str(entry.path.server),
        "version": entry.path.version,
        "entry": str(entry.path),
        "entrySha256": chain.targets.allowed.sha256,
        "release": chain.proof.release,
        "origin": chain.statement.origin,
        "signer": chain.proof.signer.to_dict(),
        "signedAt": format_time(chain.proof.signed_at),
        "approvedBy": list(chain.approved_by),
        "expiresAt": format_time(entry.expires_at),
        "tier": entry.tier,
        "runtime": chain.runtime.to_dict(),
        "files": len(chain.closure.files()),
        "permissions": chain.profile.permissions.to_dict(),
        "tools": {
            tool: {**rule.to_dict(), "callable": refusal_of(rule) is None
                   and tool not in chain.profile.deny_tools}
            for tool, rule in sorted(chain.profile.tools.items())
        },
    }  # fmt: skip


def _text(name: str, chain: Chain) -> str:
    entry, gets = chain.targets.entry, chain.profile.permissions
    limits = gets.resources
    lines = [
        f"{name}: {entry.path.server} {entry.path.version}",
        f"  {chain.statement.server.description}",
        f"  signed by    {chain.proof.signer}",
        f"  origin       {chain.statement.origin}"
        + (f" of {chain.statement.upstream.identity}" if chain.statement.upstream else ""),
        f"  approved by  {', '.join(chain.approved_by)}, until {format_time(entry.expires_at)}",
        f"  runs on      {chain.runtime.path} {chain.runtime.version}, "
        f"{len(chain.closure.files())} locked files",
        "  may do",
        f"    network    {', '.join(gets.egress) or 'none'}",
        f"    mounts     {', '.join(m.target for m in gets.mounts) or 'none'}",
        f"    secrets    {', '.join(s.name for s in gets.secrets) or 'none'}",
        f"    variables  {', '.join(v.name for v in gets.environment) or 'none'}",
        f"    limits     {limits.memory // 2**20} MiB, {limits.pids} processes, {limits.cpus:g} CPU",
        f"    seccomp    {gets.seccomp}",
        "  tools",
    ]
    for tool, rule in sorted(chain.profile.tools.items()):
        refusal = refusal_of(rule)
        denied = "taken away by the team" if tool in chain.profile.deny_tools else None
        note = denied or (refusal[1] if refusal else "")
        lines.append(f"    {tool:<24} {rule.tool_class:<12} {note}".rstrip())
    return "\n".join(lines)
