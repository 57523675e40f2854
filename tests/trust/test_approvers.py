"""Who may approve: each key in one spelling only, so that nobody counts twice."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from securesystemslib.signer import CryptoSigner

from mcps_trust.errors import McpsError
from mcps_trust.model import strict_json
from mcps_trust.model.approval import Approvers

KEYS: dict[str, PrivateKeyTypes] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
}


def document(*names: str, threshold: int = 1) -> dict[str, Any]:
    """``approvers.json`` with one person for each of these kinds of key."""
    public = {name: CryptoSigner(KEYS[name]).public_key for name in names}
    people = {key.keyid: {"name": name, "key": key.to_dict()} for name, key in public.items()}
    return {"version": 1, "keys": people, "threshold": threshold}


def value_of(people: dict[str, Any]) -> dict[str, Any]:
    keyval: dict[str, Any] = next(iter(people["keys"].values()))["key"]["keyval"]
    return keyval


def test_people_with_keys_of_each_kind_are_read() -> None:
    data = strict_json.dumps(document(*KEYS, threshold=3))
    approvers = Approvers.parse(data)
    assert {a.name for a in approvers.approvers} == set(KEYS)
    assert approvers.to_bytes() == data


def compressed(key: ec.EllipticCurvePrivateKey) -> str:
    """The same key by its compressed point (RFC 5480 §2.2)."""
    spki = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = bytearray(spki[: 27 - 1])
    head[1] -= 32
    head[-2] -= 32
    point = key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    )
    body = base64.b64encode(bytes(head) + point).decode()
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    pem = f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"
    loaded = serialization.load_pem_public_key(pem.encode())
    assert loaded == key.public_key(), "OpenSSL reads both as one key"
    return pem


def respelled(pem: str) -> str:
    """The same key with its lines broken elsewhere."""
    body = "".join(pem.split("\n")[1:-2])
    text = f"-----BEGIN PUBLIC KEY-----\n{body[:60]}\n{body[60:]}\n-----END PUBLIC KEY-----\n"
    assert serialization.load_pem_public_key(text.encode())
    return text


P256 = KEYS["p256"]
assert isinstance(P256, ec.EllipticCurvePrivateKey)
COMPRESSED = compressed(P256)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("ed25519", lambda v: v.update(public=v["public"].upper())),
        ("ed25519", lambda v: v.update(public=v["public"][:-2])),
        ("ed25519", lambda v: v.update(private="00")),
        ("p256", lambda v: v.update(public=COMPRESSED)),
        ("p256", lambda v: v.update(public=respelled(v["public"]))),
        ("p256", lambda v: v.update(public=v["public"] + "\n")),
        ("p256", lambda v: v.update(public="-----BEGIN PUBLIC KEY-----\nAAA\n-----END PUBLIC KEY-----\n")),
        ("p384", lambda v: v.update(public=v["public"].replace("\n", "\r\n"))),
    ],
    ids=["upper case", "short", "a private part", "a compressed point", "other lines",
         "another line", "no key", "other line ends"],
)  # fmt: skip
def test_a_second_spelling_of_a_key_is_refused(
    kind: str, change: Callable[[dict[str, Any]], None]
) -> None:
    people = document(kind)
    change(value_of(people))
    with pytest.raises(McpsError) as caught:
        Approvers.parse(strict_json.dumps(people))
    assert caught.value.code == "field"
    assert Approvers.parse(strict_json.dumps(document(kind)))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["keys"].update({"0" * 64: copy.deepcopy(next(iter(d["keys"].values())))}),
        lambda d: d["keys"].clear(),
        lambda d: d.update(threshold=3),
        lambda d: d.update(threshold=0),
        lambda d: next(iter(d["keys"].values()))["key"].update(scheme="ecdsa-sha2-nistp256"),
        lambda d: next(iter(d["keys"].values()))["key"].update(keytype="rsa"),
        lambda d: next(iter(d["keys"].values()))["key"].update(note="x"),
        lambda d: d["keys"].update({"xyz": next(iter(d["keys"].values()))}),
    ],
    ids=["one key under two ids", "nobody", "more than there are", "no threshold",
         "the scheme of another kind", "another kind", "one field more", "no id"],
)  # fmt: skip
def test_a_list_of_people_that_does_not_hold_together_is_refused(
    change: Callable[[dict[str, Any]], None],
) -> None:
    people = document("ed25519", "p256", threshold=2)
    change(people)
    with pytest.raises(McpsError) as caught:
        Approvers.parse(strict_json.dumps(people))
    assert caught.value.code == "field"


def test_ids_are_those_of_securesystemslib() -> None:
    """So that a list made by hand can be checked by other means."""
    (identity, person), *_ = document("ed25519")["keys"].items()
    key = {name: person["key"][name] for name in ("keytype", "scheme", "keyval")}
    spelled = json.dumps(key, sort_keys=True, separators=(",", ":")).encode()
    assert identity == hashlib.sha256(spelled).hexdigest()
