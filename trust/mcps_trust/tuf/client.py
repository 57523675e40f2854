"""The registry as a client sees it: verified targets, and the state they rest on.

Example::

    with open_registry(directory, url, root, http) as registry:
        registry.refresh()
        data = registry.target("trust/approvers.json")
        state = registry.state()
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError
from tuf.ngclient import Updater

from mcps_trust.clock import format_time, parse_time
from mcps_trust.errors import NotPermittedError, UnavailableError, UntrustedDataError
from mcps_trust.http import Http
from mcps_trust.locked_file import NotWritableError, exclusive, make_private_directory
from mcps_trust.model.decision import MetadataState
from mcps_trust.model.digest import sha256
from mcps_trust.tuf.fetcher import CacheFetcher, HttpFetcher

__all__ = [
    "ISSUED_FIELD",
    "MetadataExpiredError",
    "MetadataInvalidError",
    "MetadataRolledBackError",
    "Registry",
    "RegistryUnavailableError",
    "TargetMissingError",
    "check_times",
    "open_registry",
]

ISSUED_FIELD = "x-mcps-issued"
"""Signed field of the timestamp: when the registry last said that all is as it says."""


class RegistryUnavailableError(UnavailableError):
    """The registry does not answer, and what is cached does not suffice."""

    code = "registry-unavailable"
    advice = "check the network; a server that was started before runs on from the cache"


class MetadataExpiredError(NotPermittedError):
    """The registry's metadata is older than it may be."""

    code = "metadata-expired"
    advice = "tell whoever runs the registry: its metadata must be re-signed"


class MetadataRolledBackError(UntrustedDataError):
    """The registry shows an older state than this host has already seen."""

    code = "metadata-rolled-back"
    advice = "do not delete the cache: it is what noticed; ask whoever runs the registry"


class MetadataInvalidError(UntrustedDataError):
    """The registry's metadata is not signed as it must be, or does not fit together."""

    code = "metadata-invalid"
    advice = "check that the root metadata is this registry's; else tell whoever runs it"


class TargetMissingError(NotPermittedError):
    """The registry's metadata knows no such target."""

    code = "target-missing"


class Registry:
    """A registry whose cache this process holds. Made by `open_registry`."""

    def __init__(self, updater: Updater, metadata: Path, targets: Path) -> None:
        self._updater = updater
        self._metadata = metadata
        self._targets = targets
        self._asked: set[str] = set()

    def refresh(self) -> None:
        """Bring root, timestamp, snapshot and targets up to date and verify them.

        Raises:
            RegistryUnavailableError, MetadataExpiredError, MetadataRolledBackError,
            MetadataInvalidError: as their names say.
        """
        with _translated():
            self._updater.refresh()

    def target(self, path: str) -> bytes:
        """The verified bytes of one target.

        Raises:
            TargetMissingError: there is none of that name.
            RegistryUnavailableError, MetadataExpiredError, MetadataRolledBackError,
            MetadataInvalidError: as their names say.
        """
        with _translated():
            info = self._updater.get_targetinfo(path)
            if info is None:
                raise TargetMissingError(f"the registry has no {path}")
            place = str(self._targets / sha256(path.encode("utf-8")))
            self._updater.find_cached_target(info, place) or self._updater.download_target(
                info, place
            )
            data = Path(place).read_bytes()
            info.verify_length_and_hashes(data)
        self._asked.add(path)
        return data

    def state(self) -> MetadataState:
        """The versions behind the targets that were asked for, and their earliest expiry.

        Raises:
            MetadataInvalidError: the timestamp says not when it was issued.
        """
        timestamp_data = (self._metadata / "timestamp.json").read_bytes()
        root = Metadata[Root].from_file(str(self._metadata / "root.json")).signed
        timestamp = Metadata[Timestamp].from_bytes(timestamp_data).signed
        snapshot = Metadata[Snapshot].from_file(str(self._metadata / "snapshot.json")).signed
        expiries = [root.expires, timestamp.expires, snapshot.expires, *self._expiries()]
        try:
            issued = parse_time(str(timestamp.unrecognized_fields[ISSUED_FIELD]))
        except (KeyError, ValueError) as error:
            raise MetadataInvalidError(
                "the timestamp does not say when it was issued", expected=ISSUED_FIELD
            ) from error
        return MetadataState(
            root=root.version,
            timestamp=timestamp.version,
            snapshot=snapshot.version,
            timestamp_sha256=sha256(timestamp_data),
            issued=issued,
            expires=min(expiries),
        )

    def _expiries(self) -> Iterator[datetime]:
        """The expiry of each targets role on the way to each target that was asked for."""
        seen: set[str] = set()
        walked: set[tuple[str, str]] = set()
        waiting = [("targets", path) for path in self._asked]
        while waiting:
            role, path = waiting.pop()
            if (role, path) in walked:
                continue  # delegations may go in a circle
            walked.add((role, path))
            place = self._metadata / f"{role}.json"
            if not place.exists():
                continue
            signed = Metadata[Targets].from_file(str(place)).signed
            if role not in seen:
                seen.add(role)
                yield signed.expires
            if signed.delegations is not None:
                waiting += [
                    (name, path) for name, _ in signed.delegations.get_roles_for_target(path)
                ]


@contextmanager
def open_registry(directory: Path, url: str, root: bytes, http: Http | None) -> Iterator[Registry]:
    """Hold the cache in `directory` and read the registry at `url` through it.

    Args:
        directory: where metadata and targets are cached; made if need be.
        url: the registry's base URL.
        root: the root metadata that was trusted at enrolment.
        http: how to reach it, or None to use the cache alone.

    Raises:
        MetadataInvalidError: `root` is not root metadata that signs itself.
        NotWritableError: the cache cannot be written.
    """
    metadata = make_private_directory(directory / "metadata")
    targets = make_private_directory(directory / "targets")
    with exclusive(directory / "lock"):
        fetcher = HttpFetcher(http) if http is not None else CacheFetcher(metadata)
        try:
            Metadata[Root].from_bytes(root)
        except DeserializationError as error:
            raise MetadataInvalidError(
                "what was given as the registry's root metadata is none",
                found=str(error),
                remedy="give N.root.json as the registry's administrator has it",
            ) from error
        with _translated():
            updater = Updater(
                str(metadata),
                f"{url.rstrip('/')}/metadata/",
                target_dir=str(targets),
                target_base_url=f"{url.rstrip('/')}/targets/",
                fetcher=fetcher,
                bootstrap=root,
            )
        yield Registry(updater, metadata, targets)


def check_times(state: MetadataState, now: datetime, slack: timedelta) -> None:
    """Hold the times of a verified state against the caller's clock.

    python-tuf has checked expiry against the machine's; here it is the caller's ``now``.

    Raises:
        MetadataInvalidError: it was issued later than `now`, by more than `slack`.
        MetadataExpiredError: something of it has expired.
    """
    if state.issued > now + slack:
        raise MetadataInvalidError(
            "the registry's timestamp is from the future",
            expected=f"at most {format_time(now)}",
            found=format_time(state.issued),
        )
    if now >= state.expires:
        raise MetadataExpiredError(
            "the registry's metadata has expired",
            expected=f"before {format_time(state.expires)}",
            found=format_time(now),
        )


@contextmanager
def _translated() -> Iterator[None]:
    """python-tuf's errors as ours."""
    try:
        yield
    except exceptions.ExpiredMetadataError as error:
        raise MetadataExpiredError(
            "the registry's metadata has expired", found=str(error)
        ) from error
    except exceptions.BadVersionNumberError as error:
        raise MetadataRolledBackError(
            "the registry shows an older state than before", found=str(error)
        ) from error
    except exceptions.DownloadLengthMismatchError as error:
        raise MetadataInvalidError(
            "the registry sends more than its metadata announces", found=str(error)
        ) from error
    except exceptions.DownloadError as error:
        raise RegistryUnavailableError(
            "the registry does not answer as one", found=str(error)
        ) from error
    except (exceptions.RepositoryError, DeserializationError, ValueError) as error:
        raise MetadataInvalidError(
            "the registry's metadata is not valid", found=str(error)
        ) from error
    except OSError as error:
        raise NotWritableError(
            "the cache of registry metadata cannot be used", found=str(error)
        ) from error
