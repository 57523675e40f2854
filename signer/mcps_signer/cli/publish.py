"""``mcps-sign sign``, ``publish`` and ``endorse``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from mcps_launcher.install.fetch import FetchSettings
from mcps_signer.cli.options import (
    before_option,
    before_time,
    cache_option,
    fetch_settings,
    find_instance,
    index_option,
    signing_options,
)
from mcps_signer.registry_client import submit
from mcps_signer.release import Project, Release, build_release, parse_lock
from mcps_signer.sign import Instance, ambient_token, sign_release
from mcps_trust.command_line import emit, json_option, progress
from mcps_trust.errors import UsageError
from mcps_trust.model.digest import Sha256
from mcps_trust.model.index import Index, Profile
from mcps_trust.model.proof import Proof
from mcps_trust.model.pylock import PythonClosure

__all__ = ["endorse", "publish", "sign"]

_CHECKED = (
    "the package index's own file hashes",
    "started in the strict sandbox, tools captured",
)
_carry_option = click.option(
    "--carry", type=click.Choice(["own", "all"]), default="own", show_default=True,
    help="Which files travel with the submission: those that no index has, or all that were "
    "fetched here, so that hosts need no package index.",
)  # fmt: skip


@click.command()
@click.argument(
    "folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default="."
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("bundle.json"),
    show_default=True,
    help="Where the bundle goes.",
)
@cache_option
@before_option
@index_option
@signing_options
@json_option
def sign(
    folder: Path, output: Path, cache: Path | None, before: str, index: str, registry: str,
    registry_root: Path | None, instance: str, identity_token: Path | None, yes: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Lock, capture and sign a project, without submitting it.

    \b
    Example:
      mcps-sign sign . -o bundle.json --registry https://mcp.example.org --registry-root root.json
    """
    ambient_token(identity_token)  # before anything that takes long
    where = find_instance(instance, registry, registry_root, yes=yes)
    release = _build(Project.read(folder), fetch_settings(cache, registry), before, index)
    bundle, proof = _sign(release, where, identity_token)
    output.write_bytes(bundle)
    output.with_suffix(".lock").write_bytes(release.locked.lock)
    emit(as_json, proof.to_dict(), f"{output}: release {proof.release}, signed by {proof.signer}")


@click.command()
@click.argument(
    "folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default="."
)
@cache_option
@before_option
@index_option
@_carry_option
@signing_options
@json_option
def publish(
    folder: Path, cache: Path | None, before: str, index: str, carry: str, registry: str,
    registry_root: Path | None, instance: str, identity_token: Path | None, yes: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Lock, capture, sign, verify and submit a project.

    \b
    Example:
      mcps-sign publish . --registry https://mcp.example.org --registry-root root.json
    """
    if not registry:
        raise UsageError("publishing needs a registry", expected="--registry URL")
    fetch = fetch_settings(cache, registry)
    ambient_token(identity_token)  # before anything that takes long
    where = find_instance(instance, registry, registry_root, yes=yes)
    release = _build(Project.read(folder), fetch, before, index)
    item = _submit(release, where, identity_token, registry, _carried(release, carry, fetch))
    emit(as_json, item, _said(item))


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option(
    "--from",
    "index_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    metavar="INDEX.JSON",
    help="The list of profiles.",
)
@click.option(
    "--checked",
    multiple=True,
    metavar="TEXT",
    help="What else was checked; stands in the statement.",
)
@cache_option
@before_option
@index_option
@_carry_option
@signing_options
@json_option
def endorse(
    names: tuple[str, ...], index_file: Path, checked: tuple[str, ...], cache: Path | None,
    before: str, index: str, carry: str, registry: str, registry_root: Path | None, instance: str,
    identity_token: Path | None, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Sign for packages whose own publishers sign nothing; the statement says so.

    NAMEs are aliases, server names or package names of the list; none means all.

    \b
    Example:
      mcps-sign endorse --from index.json clock everything \\
          --registry https://mcp.example.org --registry-root root.json
    """
    if not registry:
        raise UsageError("endorsing needs a registry", expected="--registry URL")
    profiles = Index.parse(index_file.read_bytes())
    chosen = [_find(profiles, name) for name in names] or list(profiles.profiles)
    fetch = fetch_settings(cache, registry)
    ambient_token(identity_token)  # before anything that takes long
    where = find_instance(instance, registry, registry_root, yes=yes)
    items = []
    for profile in chosen:
        project = Project.from_profile(profile, (*_CHECKED, *checked))
        release = _build(project, fetch, before, index)
        extra = _carried(release, carry, fetch)
        items.append(_submit(release, where, identity_token, registry, extra))
    emit(as_json, {"submissions": items}, "\n".join(_said(item) for item in items))


def _find(profiles: Index, name: str) -> Profile:
    found = profiles.find(name)
    if found is None:
        raise UsageError(
            f"the list has no profile {name!r}",
            expected=", ".join(p.alias for p in profiles.profiles),
        )
    return found


def _build(project: Project, fetch: FetchSettings, before: str, index: str) -> Release:
    click.echo(f"{project.server.name} {project.server.version}", err=True)
    return build_release(
        project,
        fetch,
        before=before_time(before),
        index=index,
        report=lambda text: click.echo(f"… {text}", err=True),
    )


def _sign(release: Release, instance: Instance, token: Path | None) -> tuple[bytes, Proof]:
    with progress(f"signing with instance {instance.name!r}, and verifying what came back"):
        return sign_release(release.statement, instance, ambient_token(token))


def _submit(
    release: Release, instance: Instance, token: Path | None, registry: str,
    extra: Mapping[Sha256, bytes],
) -> dict[str, Any]:  # fmt: skip
    bundle, _ = _sign(release, instance, token)
    with progress("submitting"):
        return submit(registry, release.submission(bundle, extra))


def _carried(release: Release, carry: str, fetch: FetchSettings) -> dict[Sha256, bytes]:
    """Files of the closure that were fetched here, by SHA-256."""
    closure = parse_lock(release.locked)
    if carry == "own" or not isinstance(closure, PythonClosure):
        return {}
    places = {wheel.sha256: fetch.cache / wheel.sha256 for wheel in closure.files()}
    return {digest: place.read_bytes() for digest, place in places.items() if place.exists()}


def _said(item: Mapping[str, Any]) -> str:
    state = {
        "waiting": "it waits for review",
        "approved": "it was approved already",
        "rejected": f"it was REJECTED: {item.get('reason') or 'no reason given'}",
    }.get(item["state"], item["state"])
    return f"{item['server']}@{item['version']} submitted, {state}\n  release {item['release']}"
