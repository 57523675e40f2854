"""``init``: every key, every role, the trust files, and the embedded Sigstore."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from tuf.api.metadata import Metadata, TargetFile, Targets
from tuf.api.serialization.json import JSONSerializer

from mcps_registry.ceremony.holders import Holder, generate, make_holders, signer
from mcps_registry.configuration import (
    PRIVATE_INSTANCE,
    RegistryConfiguration,
    RegistryFolder,
)
from mcps_registry.lanes.repository import Repository
from mcps_registry.lanes.roles import RoleKeys, initial_roles, is_bin
from mcps_registry.sigstore.instance import certificates, signing_config, trusted_root
from mcps_registry.store.database import connect
from mcps_trust.errors import ConfigurationError
from mcps_trust.locked_file import make_private_directory, write_atomically
from mcps_trust.model import strict_json
from mcps_trust.model.approval import Approver, Approvers
from mcps_trust.model.revocation import Reinstatements, Revocations

__all__ = ["AlreadyARegistryError", "begin"]


class AlreadyARegistryError(ConfigurationError):
    """The folder is not empty."""

    code = "already-a-registry"
    advice = "choose an empty folder: keys are never overwritten"


def begin(
    folder: RegistryFolder,
    configuration: RegistryConfiguration,
    *,
    approvers: Sequence[str],
    approval_threshold: int,
    root_keys: int,
    root_threshold: int,
    bins: int,
    passphrase: Callable[[str], bytes],
    now: datetime,
) -> tuple[Holder, ...]:
    """Make a registry; gives the holders, whose folders are to be carried away.

    Raises:
        AlreadyARegistryError: there is something in the folder.
        NotWritableError: it cannot be written.
    """
    make_private_directory(folder.path, mode=0o755)
    if any(folder.path.iterdir()):
        raise AlreadyARegistryError(f"{folder.path} is not empty")
    holders = make_holders(root_keys=root_keys, approvers=approvers)
    try:
        _make(
            folder, configuration, holders, approvers=approvers,
            approval_threshold=approval_threshold, root_keys=root_keys,
            root_threshold=root_threshold, bins=bins, passphrase=passphrase, now=now,
        )  # fmt: skip
    except BaseException:
        # Keys that nothing was signed with yet are worth nothing, and in the way of a second try.
        for place in folder.path.iterdir():
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            else:
                place.unlink(missing_ok=True)
        raise
    return holders


def _make(
    folder: RegistryFolder, configuration: RegistryConfiguration, holders: Sequence[Holder], *,
    approvers: Sequence[str], approval_threshold: int, root_keys: int, root_threshold: int,
    bins: int, passphrase: Callable[[str], bytes], now: datetime,
) -> None:  # fmt: skip
    make_private_directory(folder.keys)
    keys = generate(folder.keys, holders, passphrase)
    certs = certificates(keys, configuration.name, now)
    make_private_directory(folder.sigstore)
    for name, certificate in certs.items():
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        write_atomically(folder.sigstore / f"{name}.pem", pem, mode=0o644)
    configuration.write(folder)
    url, origin = configuration.url, configuration.log_origin
    oidc = f"{url}/sigstore/oidc" if configuration.development else url
    if configuration.issuers:
        oidc = configuration.issuers[0].url
    base = f"trust/sigstore/{PRIVATE_INSTANCE}"
    files = {
        "trust/approvers.json": _approvers(keys, approvers, approval_threshold).to_bytes(),
        f"{base}/trusted_root.json": strict_json.dumps(trusted_root(url, origin, keys, certs)),
        f"{base}/signing_config.json": strict_json.dumps(signing_config(url, certs, oidc=oidc)),
        "trust/runtimes.json": strict_json.dumps({"version": 1, "runtimes": []}),
        "revoked/list.json": Revocations().to_bytes(),
        "reinstated/list.json": Reinstatements(ids={}).to_bytes(),
    }
    roles = _sign_all(
        keys, files, root_keys=root_keys, root_threshold=root_threshold, bins=bins, now=now
    )
    repository = Repository(
        connect(folder.database), folder.public, folder.lock, lambda name: signer(keys[name])
    )
    repository.begin(roles, files, now)


def _sign_all(
    keys: Mapping[str, PrivateKeyTypes],
    files: Mapping[str, bytes],
    *,
    root_keys: int,
    root_threshold: int,
    bins: int,
    now: datetime,
) -> dict[str, bytes]:
    root_names = [f"root-{number}" for number in range(1, root_keys + 1)]
    public = {
        name: signer(key).public_key
        for name, key in keys.items()
        if name not in ("ca", "ct", "tsa", "tsa-ca", "oidc", "log")
    }
    role_keys = RoleKeys(
        root=[public[name] for name in root_names],
        root_threshold=root_threshold,
        targets=public["targets"],
        revoked=public["revoked"],
        reinstated=[public["reinstated-1"], public["reinstated-2"]],
        teams=public["teams"],
        catalog=public["catalog"],
        bins=public["bins"],
        snapshot=public["snapshot"],
        timestamp=public["timestamp"],
    )
    signed_by = {
        "root": root_names,
        "reinstated": ["reinstated-1", "reinstated-2"],
    }
    result: dict[str, bytes] = {}
    for role, signed in initial_roles(role_keys, bins, now).items():
        if isinstance(signed, Targets):
            for path, data in files.items():
                if path.startswith("trust/" if role == "targets" else f"{role}/"):
                    signed.targets[path] = TargetFile.from_data(path, data, ["sha256"])
        metadata: Metadata[Any] = Metadata(signed)
        for name in signed_by.get(role, ["bins" if is_bin(role) else role]):
            metadata.sign(signer(keys[name]), append=True)
        result[role] = metadata.to_bytes(JSONSerializer(compact=True))
    return result


def _approvers(
    keys: Mapping[str, PrivateKeyTypes], names: Sequence[str], threshold: int
) -> Approvers:
    people = []
    for name in names:
        key = signer(keys[f"approver-{name}"]).public_key
        people.append(Approver(name=name, key_id=key.keyid, key=key.to_dict()))
    return Approvers(threshold=threshold, approvers=tuple(people))
