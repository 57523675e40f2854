"""The timestamp authority (RFC 3161), with asn1crypto for the structures."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mcps_trust.errors import UntrustedDataError

__all__ = ["BadTimestampRequestError", "TimestampAuthority"]

_POLICY = "1.3.6.1.4.1.57264.2"
_MAX_REQUEST = 16 * 1024  # bytes


class BadTimestampRequestError(UntrustedDataError):
    """Not a request for a timestamp over a SHA-256."""

    code = "bad-timestamp-request"


class TimestampAuthority:
    """Signs that a digest existed at a time."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = asn1_x509.Certificate.load(
            certificate.public_bytes(serialization.Encoding.DER)
        )
        self._key = key

    def respond(self, request: bytes, now: datetime) -> bytes:
        """Answer a DER ``TimeStampReq`` with a DER ``TimeStampResp``.

        Raises:
            BadTimestampRequestError: it is not one that is served.
        """
        try:
            if len(request) > _MAX_REQUEST:
                raise ValueError("too large")
            query = tsp.TimeStampReq.load(request, strict=True)
            imprint = query["message_imprint"]
            algorithm = imprint["hash_algorithm"]["algorithm"].native
            digest = imprint["hashed_message"].native
            if algorithm != "sha256" or len(digest) != hashlib.sha256().digest_size:
                raise ValueError("not a SHA-256")
            nonce, wants_certificate = query["nonce"].native, bool(query["cert_req"].native)
        except (ValueError, TypeError) as error:
            raise BadTimestampRequestError("not a timestamp request", found=str(error)) from error
        info = tsp.TSTInfo(
            {
                "version": "v1",
                "policy": _POLICY,
                "message_imprint": imprint,
                "serial_number": secrets.randbits(150),
                # Whole seconds: some clients refuse fractions of a second here.
                "gen_time": now.replace(microsecond=0),
                **({} if nonce is None else {"nonce": nonce}),
            }
        )
        token = cms.ContentInfo(
            {
                "content_type": "signed_data",
                "content": self._signed(info, now, with_certificate=wants_certificate),
            }
        )
        response = tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token})
        return bytes(response.dump())

    def _signed(
        self, info: tsp.TSTInfo, now: datetime, *, with_certificate: bool
    ) -> cms.SignedData:
        content = info.dump()
        sha256 = algos.DigestAlgorithm({"algorithm": "sha256"})
        attributes = cms.CMSAttributes(
            [
                cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
                cms.CMSAttribute(
                    {
                        "type": "signing_time",
                        "values": [
                            cms.Time({"utc_time": core.UTCTime(now.replace(microsecond=0))})
                        ],
                    }
                ),
                cms.CMSAttribute(
                    {"type": "message_digest", "values": [hashlib.sha256(content).digest()]}
                ),
                cms.CMSAttribute(
                    {
                        "type": "signing_certificate_v2",
                        "values": [tsp.SigningCertificateV2({"certs": [self._certificate_id()]})],
                    }
                ),
            ]
        )
        signature = self._key.sign(attributes.dump(), ec.ECDSA(hashes.SHA256()))
        signer = cms.SignerInfo(
            {
                "version": "v1",
                "sid": cms.SignerIdentifier(
                    {
                        "issuer_and_serial_number": {
                            "issuer": self._certificate.issuer,
                            "serial_number": self._certificate.serial_number,
                        }
                    }
                ),
                "digest_algorithm": sha256,
                "signed_attrs": attributes,
                "signature_algorithm": {"algorithm": "sha256_ecdsa"},
                "signature": signature,
            }
        )
        return cms.SignedData(
            {
                "version": "v3",
                "digest_algorithms": [sha256],
                "encap_content_info": {
                    "content_type": "tst_info",
                    "content": core.ParsableOctetString(content),
                },
                **({"certificates": [self._certificate]} if with_certificate else {}),
                "signer_infos": [signer],
            }
        )

    def _certificate_id(self) -> tsp.ESSCertIDv2:
        return tsp.ESSCertIDv2(
            {
                "hash_algorithm": {"algorithm": "sha256"},
                "cert_hash": hashlib.sha256(self._certificate.dump()).digest(),
            }
        )
