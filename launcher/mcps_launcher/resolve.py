"""The whole chain, link by link, from the registry's metadata to a launch decision.

The links are those of ``docs/verification.md``, in its order. Each is decided by a function
of `mcps_trust`; this module fetches what they need. A `Link` says what was proved, for
people who want to know why.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from mcps_launcher.configuration import Configuration
from mcps_launcher.enrolment import Enrolment
from mcps_launcher.evidence import Evidence
from mcps_launcher.install.closure import install_selection, select_files
from mcps_launcher.install.fetch import FetchSettings
from mcps_launcher.install.inside import closure_plan, machine
from mcps_launcher.install.installed import Installed, StoreChangedError, manifest
from mcps_launcher.install.runtime import choose_package
from mcps_launcher.install.start import start_argv
from mcps_launcher.install.store import Store
from mcps_launcher.kept import CLOCK_SLACK, Kept
from mcps_launcher.places import Places
from mcps_launcher.proved import (
    Chain,
    DevelopmentRegistryError,
    Link,
    NotCachedError,
    Targets,
    TeamUnknownError,
    check_offline,
    check_platform,
    refuse_unsupported,
)
from mcps_launcher.sandbox.process import BackEnd
from mcps_launcher.standing import release_facts
from mcps_launcher.warm import check_freeze
from mcps_trust.bundle.approvals import valid_approvers
from mcps_trust.bundle.parse import MAX_BUNDLE, parse_bundle
from mcps_trust.clock import format_time
from mcps_trust.errors import ConfigurationError, NotPermittedError, UnavailableError
from mcps_trust.http import Http
from mcps_trust.locked_file import make_private_directory, write_atomically
from mcps_trust.model.allow_list import AllowList
from mcps_trust.model.approval import Approvers
from mcps_trust.model.closure import Closure, parse_closure
from mcps_trust.model.decision import LaunchDecision
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.names import allow_list_path, blob_path
from mcps_trust.model.proof import Proof
from mcps_trust.model.revocation import Reinstatements, Revocations
from mcps_trust.model.statement import MAX_CLOSURE, PREDICATE_TYPE, ReleaseStatement
from mcps_trust.policy.chain import (
    EntryNotInCatalogueError,
    check_approvals,
    check_bundle_bytes,
    check_entry,
    check_not_expired,
    check_release,
    find_allowed,
    sandbox_permissions,
)
from mcps_trust.policy.revoked import refuse_revoked
from mcps_trust.software import software_versions
from mcps_trust.tuf.client import (
    Registry,
    RegistryUnavailableError,
    TargetMissingError,
    check_times,
    open_registry,
)

__all__ = ["Resolver"]

T = TypeVar("T")


class Resolver:
    """Resolves aliases of one enrolled host at one moment."""

    def __init__(
        self,
        places: Places,
        enrolment: Enrolment,
        configuration: Configuration,
        now: datetime,
        report: Callable[[str], None],
        *,
        offline: bool = False,
        cached: bool = True,
    ) -> None:
        """Resolve for what was enrolled, at `now`.

        Args:
            report: told what is going on, in words for people.
            offline: the registry was found not to answer: do not ask.
            cached: whether the cache may answer for a registry that does not.
        """
        self._cached = cached
        self._places = places
        self._enrolment = enrolment
        self._configuration = configuration
        self._now = now
        self._report = report
        self._offline = offline
        self._kept = Kept(places)
        self._evidence = Evidence(places)
        self._links: list[Link] = []

    def allow_list(self) -> AllowList:
        """The team's allow-list, fresh or from the cache.

        Raises:
            McpsError: it cannot be had.
        """
        return self._with_registry(lambda r, _offline: AllowList.parse(self._allow_list_bytes(r)))

    def is_for_development(self) -> bool:
        """Whether the registry's own Sigstore gives identities to anybody.

        Raises:
            McpsError: the registry cannot be read.
        """

        def read(registry: Registry, _offline: bool) -> bool:
            try:
                return b"DEVELOPMENT" in registry.target("trust/sigstore/private/trusted_root.json")
            except TargetMissingError:
                return False

        return self._with_registry(read)

    def resolve(self, alias: str, back_end: BackEnd) -> tuple[LaunchDecision, tuple[Link, ...]]:
        """Prove the whole chain, install what is missing, and keep the decision.

        Raises:
            McpsError: some link does not hold; its code says which.
        """
        try:
            chain = self.prove(alias)
            installed = self._install(chain, back_end)
            decision = self._decide(alias, chain, installed, back_end)
        except (NotPermittedError, ConfigurationError):
            self._kept.forget(alias)
            raise
        self._kept.keep_decision(decision, chain.payload)
        if not chain.targets.offline:
            self._kept.was_asked(decision.metadata.timestamp_sha256, self._now)
        return decision, tuple(self._links)

    def prove(self, alias: str) -> Chain:
        """Prove every link that needs no installed closure.

        Raises:
            McpsError: some link does not hold.
        """
        self._links.clear()
        self._kept.check_clock(self._now)
        self._report("reading the registry's metadata")
        targets = self._with_registry(
            lambda registry, offline: self._read(registry, alias, offline)
        )
        entry = targets.entry
        approved_by = valid_approvers(entry, targets.approvers)
        check_approvals(entry.path, approved_by, targets.approvers.threshold)
        self._link("approvals", f"{', '.join(approved_by)} ({targets.approvers.threshold} needed)")
        check_not_expired(entry, self._now)
        if targets.offline:
            check_offline(targets.state.issued, entry.tier, self._now)
        bundle = self._blob(entry.bundle_sha256, MAX_BUNDLE)
        check_bundle_bytes(entry, bundle)
        proof, payload = self._verify(bundle, targets)
        self._link(
            "bundle",
            f"signed by {proof.signer} at {format_time(proof.signed_at)}, "
            f"log index {proof.log_index}",
        )
        statement = check_release(entry, proof, payload)
        self._link("release", f"{proof.release}")
        package, runtime = choose_package(statement.packages)
        lock = self._blob(statement.packages[package].closure.sha256, MAX_CLOSURE)
        closure = parse_closure(statement.packages[package].registry_type, lock)
        self._check_revocations(targets, proof, statement, closure)
        profile = sandbox_permissions(
            statement, entry, targets.allowed.tighten, self._configuration.ceiling
        )
        refuse_unsupported(profile.permissions)
        self._link("profile", "requested ∩ granted ∩ tightened ∩ ceiling")
        return Chain(
            targets=targets, proof=proof, payload=payload, statement=statement,
            approved_by=approved_by, profile=profile, package=package, runtime=runtime,
            closure=closure, links=tuple(self._links),
        )  # fmt: skip

    # the registry ----------------------------------------------------------------------

    def _with_registry(self, read: Callable[[Registry, bool], T]) -> T:
        """Read from the registry, or from the cache where it does not answer."""
        directory, enrolment = self._places.registry, self._enrolment
        unavailable = RegistryUnavailableError("the registry does not answer")
        if not self._offline:
            try:
                with (
                    Http(self._configuration.http) as http,
                    open_registry(directory, enrolment.registry, enrolment.root, http) as registry,
                ):
                    registry.refresh()
                    return read(registry, False)
            except RegistryUnavailableError as error:
                unavailable = error
        if not self._cached:
            raise unavailable
        self._report("the registry does not answer; using what is cached")
        try:
            with open_registry(directory, enrolment.registry, enrolment.root, None) as registry:
                registry.refresh()
                return read(registry, True)
        except RegistryUnavailableError:
            raise unavailable from None

    def _read(self, registry: Registry, alias: str, offline: bool) -> Targets:
        allow_list_bytes = self._allow_list_bytes(registry)
        allow_list = AllowList.parse(allow_list_bytes)
        check_platform(allow_list, f"linux/{machine()}")
        allowed = find_allowed(allow_list, alias)
        try:
            entry = check_entry(registry.target(str(allowed.entry)), allowed)
        except TargetMissingError as error:
            raise EntryNotInCatalogueError(
                "the team allows an entry that is not in the catalogue", expected=str(allowed.entry)
            ) from error
        approvers = registry.target("trust/approvers.json")
        base = f"trust/sigstore/{entry.identity.instance}"
        revocations = Revocations.parse(registry.target("revoked/list.json"))
        reinstated = registry.target("reinstated/list.json")
        targets = Targets(
            reinstated=Reinstatements.parse(reinstated), reinstated_sha256=sha256(reinstated),
            trusted_root=registry.target(f"{base}/trusted_root.json"),
            state=registry.state(), allow_list=allow_list,
            allow_list_sha256=sha256(allow_list_bytes), allowed=allowed, entry=entry,
            approvers=Approvers.parse(approvers), approvers_sha256=sha256(approvers),
            revocations=self._evidence.add_revocations(revocations), offline=offline,
        )  # fmt: skip
        check_times(targets.state, self._now, CLOCK_SLACK)
        self._kept.saw_time(targets.state.issued)
        state = targets.state
        where = "from the cache" if offline else self._enrolment.registry
        issued = format_time(state.issued)
        self._link(
            "metadata", f"root {state.root}, timestamp {state.timestamp} of {issued}, {where}"
        )
        self._link("allow-list", f"team {allow_list.team} allows {alias}")
        self._link("entry", f"{entry.path}, sha256 {allowed.sha256}")
        return targets

    def _allow_list_bytes(self, registry: Registry) -> bytes:
        try:
            return registry.target(allow_list_path(self._enrolment.team))
        except TargetMissingError as error:
            raise TeamUnknownError(
                f"the registry knows no team {self._enrolment.team!r}"
            ) from error

    # the bundle ------------------------------------------------------------------------

    def _verify(self, bundle: bytes, targets: Targets) -> tuple[Proof, bytes]:
        if b"DEVELOPMENT" in targets.trusted_root and not self._enrolment.development:
            raise DevelopmentRegistryError("the registry was made for development")
        kept = self._evidence.proof(sha256(bundle))
        if kept and self._still_proved(kept, targets):
            return kept, parse_bundle(bundle).payload
        self._report("verifying the signature")
        from mcps_trust.bundle.verify import verify_bundle

        proof, payload = verify_bundle(
            bundle, trusted_root=targets.trusted_root, identity=targets.entry.identity
        )
        self._evidence.keep_proof(proof)
        return proof, payload

    def _still_proved(self, proof: Proof, targets: Targets) -> bool:
        return (
            proof.trusted_root == sha256(targets.trusted_root)
            and proof.required == targets.entry.identity
            and proof.predicate_type == PREDICATE_TYPE
            and proof.software == software_versions()
        )

    def _blob(self, digest: Sha256, limit: int) -> bytes:
        place = make_private_directory(self._places.blobs) / digest
        try:
            data = place.read_bytes()
            if sha256(data) == digest:
                return data
        except OSError:
            pass
        url = f"{self._enrolment.registry}/{blob_path(digest)}"
        try:
            with Http(self._configuration.http) as http:
                answer = http.get(url, limit=limit)
        except UnavailableError as error:
            raise NotCachedError(
                "a file of the release was never fetched", expected=digest, found=error.found
            ) from error
        if answer.status != 200 or sha256(answer.body) != digest:
            raise RegistryUnavailableError(
                "the registry does not have a file of the release",
                expected=digest,
                found=f"status {answer.status}, sha256 {sha256(answer.body)}",
            )
        write_atomically(place, answer.body, durable=False)
        return answer.body

    # the closure -----------------------------------------------------------------------

    def _check_revocations(
        self, targets: Targets, proof: Proof, statement: ReleaseStatement,
        closure: Closure,
    ) -> None:  # fmt: skip
        facts = release_facts(targets.allowed.sha256, proof, statement, closure)
        refuse_revoked(facts, targets.revocations, targets.reinstated)
        self._link(
            "revocations",
            f"none of {len(targets.revocations.revocations)} applies to the "
            f"release or its {len(facts.members)} files",
        )

    def _install(self, chain: Chain, back_end: BackEnd) -> Installed:
        package = chain.statement.packages[chain.package]
        selection = select_files(chain.closure, package.closure.sha256, chain.runtime)
        fetch = FetchSettings(
            self._places.blobs,
            registry=self._enrolment.registry,
            npm=self._configuration.npm,
            http=self._configuration.http,
        )
        key, store = selection.key, Store(self._places.store)
        with self._kept.installing(key):
            known, manifest_then = store.find(key), self._kept.manifest(key)
            if known is not None and manifest_then is None:
                # An installation that was interrupted: do it again, from the hashes.
                store.discard(key)
                known = None
            if known is not None and manifest(known.path) != manifest_then:
                raise StoreChangedError(
                    "the installed closure is not as it was installed", found=str(known.path)
                )
            installed = install_selection(
                selection, chain.runtime, store=store, fetch=fetch,
                back_end=back_end, session=f"install-{secrets.token_hex(6)}", report=self._report,
            )  # fmt: skip
            if known is None:
                self._kept.keep_manifest(key, manifest(installed.path))
        self._link(
            "closure",
            f"sha256 {package.closure.sha256}, {len(selection.files)} files, "
            f"tree {installed.digest}",
        )
        return installed

    def _decide(
        self, alias: str, chain: Chain, installed: Installed, back_end: BackEnd
    ) -> LaunchDecision:
        targets, package = chain.targets, chain.statement.packages[chain.package]
        argv = start_argv(package, installed, chain.runtime)
        plan = closure_plan(
            argv, chain.runtime.name, installed, chain.profile.permissions,
            {v.name: v.value or "" for v in chain.profile.permissions.environment},
        )  # fmt: skip
        decision = LaunchDecision(
            alias=alias, team=self._enrolment.team, registry=self._enrolment.registry,
            enrolment=self._enrolment.digest, metadata=targets.state,
            allow_list=targets.allow_list_sha256, entry_path=targets.entry.path,
            entry=targets.allowed.sha256, approvers=targets.approvers_sha256,
            approved_by=chain.approved_by, bundle=chain.proof.bundle, release=chain.proof.release,
            proof=chain.proof.digest, signer=str(chain.proof.signer),
            revocations=sha256(targets.revocations.to_bytes()),
            reinstated=targets.reinstated_sha256,
            ceilings=self._configuration.ceilings, tier=targets.entry.tier,
            entry_expires=targets.entry.expires_at, permissions=chain.profile.permissions,
            tools=chain.profile.tools, deny_tools=chain.profile.deny_tools, package=chain.package,
            closure=package.closure.sha256, store_path=str(installed.path),
            manifest=manifest(installed.path), runtime=chain.runtime.to_dict(),
            argv=argv, plan=plan.digest(back_end.describe()),
        )  # fmt: skip
        if not targets.offline:
            check_freeze(decision.metadata.issued, decision.tier, self._now)
        self._link("decision", decision.digest)
        return decision

    def _link(self, name: str, proved: str) -> None:
        self._links.append(Link(name, proved))
