"""Nothing widens along the chain: requested ∩ granted ∩ ceiling ≤ each of them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mcps_trust.model.fields import Fields
from mcps_trust.model.permissions import (
    SECCOMP_TIERS,
    EnvironmentVariable,
    Mount,
    Permissions,
    Resources,
    Secret,
)
from mcps_trust.policy.intersection import missing, narrow, within

NAMES = st.sampled_from(["ALPHA", "BETA", "GAMMA"])


def _unique(items: st.SearchStrategy[Any], key: str) -> st.SearchStrategy[Any]:
    return st.lists(items, max_size=3, unique_by=lambda item: getattr(item, key)).map(
        lambda found: tuple(sorted(found, key=str))
    )


@st.composite
def permissions(draw: st.DrawFn) -> Permissions:
    tier = draw(st.sampled_from(SECCOMP_TIERS))
    hosts = st.sampled_from(["api.example.org:443", "www.example.org:443", "example.org:8443"])
    egress = tuple(sorted(draw(st.sets(hosts)))) if tier == "network" else ()
    mounts = st.builds(
        Mount,
        name=st.sampled_from(["data", "work"]),
        mode=st.sampled_from(["ro", "rw"]),
        target=st.just("/data"),
    )
    variables = st.builds(
        EnvironmentVariable,
        name=NAMES,
        required=st.booleans(),
        value=st.none() | st.sampled_from(["1", "2"]),
    )
    secrets = st.builds(
        Secret, name=NAMES, required=st.booleans(), description=st.sampled_from(["a", "b"])
    )
    return Permissions(
        egress=egress,
        mounts=draw(st.lists(mounts, max_size=1).map(tuple)),
        secrets=draw(_unique(secrets, "name")),
        environment=draw(_unique(variables, "name")),
        resources=Resources(
            memory=draw(st.integers(2**24, 2**34)), pids=draw(st.integers(4, 4096)),
            cpus=draw(st.sampled_from([0.5, 1.0, 2.0])),
        ),
        seccomp=tier,
    )  # fmt: skip


@given(permissions(), permissions(), permissions())
def test_the_intersection_is_within_each(a: Permissions, b: Permissions, c: Permissions) -> None:
    effective = narrow(narrow(a, b), c)
    assert within(effective, a)
    assert within(effective, b)
    assert within(effective, c)


@given(permissions(), permissions())
def test_the_order_does_not_matter(a: Permissions, b: Permissions) -> None:
    assert narrow(a, b) == narrow(b, a)


@given(permissions())
def test_narrowing_by_oneself_changes_nothing(a: Permissions) -> None:
    assert within(a, narrow(a, a)) and within(narrow(a, a), a)
    assert missing(a, a) == ()


@given(permissions())
def test_permissions_are_read_as_they_are_written(a: Permissions) -> None:
    assert Permissions.from_fields(Fields(a.to_dict(), "x")).to_dict() == a.to_dict()
