"""Who must have signed, compared with who did."""

from __future__ import annotations

import pytest

from mcps_trust.errors import McpsError
from mcps_trust.model.fields import Fields
from mcps_trust.model.identity import PublisherIdentity, SignerIdentity, matches

ISSUER = "https://token.example.org"
WORKFLOW = "https://git.example.org/acme/clock/.github/workflows/release.yml@refs/tags/v1.2"


def signer(subject: str = WORKFLOW, **parts: str) -> SignerIdentity:
    claims = {"sourceRepositoryURI": "https://git.example.org/acme/clock"}
    return SignerIdentity(
        instance=parts.get("instance", "public"),
        issuer=parts.get("issuer", ISSUER),
        subject=subject,
        claims=claims,
    )


@pytest.mark.parametrize(
    ("pattern", "subject", "agrees"),
    [
        ("it@example.org", "it@example.org", True),
        ("it@example.org", "it@example.org.evil", False),
        ("it@example.org", "xit@example.org", False),
        ("it.example.org/a", "itxexample.org/a", False),
        (WORKFLOW.replace("v1.2", "*"), WORKFLOW, True),
        (WORKFLOW.replace("v1.2", "v*"), WORKFLOW, True),
        (WORKFLOW.replace("acme", "*"), WORKFLOW, True),
        (WORKFLOW.replace("v1.2", "*"), WORKFLOW + "/evil", False),
        (WORKFLOW.replace("v1.2", "*"), WORKFLOW.replace("v1.2", ""), False),
        (WORKFLOW.replace("acme/clock", "*"), WORKFLOW, False),
        (WORKFLOW.replace("v1.2", "*"), WORKFLOW.replace("acme", "evil"), False),
        ("a*", "ab\nc", True),
        ("a*/c", "ab\n/d", False),
    ],
)
def test_a_star_stays_within_its_segment(pattern: str, subject: str, agrees: bool) -> None:
    required = PublisherIdentity(instance="public", issuer=ISSUER, subject=pattern)
    assert (matches(required, signer(subject)) is None) is agrees


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"instance": "private"}, "instance"),
        ({"issuer": "https://token.example.org.evil"}, "issuer"),
        ({"issuer": ISSUER + "/"}, "issuer"),
    ],
)
def test_instance_and_issuer_are_exact(change: dict[str, str], part: str) -> None:
    required = PublisherIdentity(instance="public", issuer=ISSUER, subject=WORKFLOW)
    assert matches(required, signer()) is None
    assert matches(required, signer(**change)) == part


def test_a_claim_that_is_required_must_be_there() -> None:
    def required(value: str) -> PublisherIdentity:
        return PublisherIdentity(
            instance="public",
            issuer=ISSUER,
            subject=WORKFLOW,
            claims={"sourceRepositoryURI": value},
        )

    assert matches(required("https://git.example.org/acme/clock"), signer()) is None
    assert (
        matches(required("https://git.example.org/acme"), signer()) == "claim sourceRepositoryURI"
    )


@pytest.mark.parametrize(
    "change",
    [{"instance": ""}, {"issuer": ""}, {"issuer": "https://*"}, {"subject": ""}, {"subject": "*"},
     {"subject": "*/*"}, {"subject": "a b"}, {"extra": 1}, {"claims": {"unknown": "x"}}],
)  # fmt: skip
def test_an_identity_with_a_hole_cannot_be_made(change: dict[str, object]) -> None:
    good = {"instance": "public", "issuer": ISSUER, "subject": "a@example.org",
            "claims": {"sourceRepositoryURI": "https://git.example.org/a"}}  # fmt: skip
    assert PublisherIdentity.from_fields(Fields(good, "x")).to_dict() == good
    with pytest.raises(McpsError) as caught:
        PublisherIdentity.from_fields(Fields({**good, **change}, "x"))
    assert caught.value.code == "field"
