"""Temporary credentials for the stand-in for OSS: issued anywhere, checked without a record.

An issued key names the second at which it ends; its secret and its token follow from it, as
only whoever knows the seed can tell. An identity, too, is signed: it stands for the token
that a cluster puts into a pod.
"""

from __future__ import annotations

import hashlib
import hmac
import time
import uuid
from dataclasses import dataclass

_SEED = b"known to the stand-ins alone"
ISSUER = "https://cluster.mapred.test"


@dataclass(frozen=True)
class Issued:
    key: str
    secret: str
    token: str
    ends: float

    def record(self) -> dict[str, str]:
        """As the metadata service, a credentials URI and (in part) STS write it."""
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.ends))
        return {
            "Code": "Success",
            "AccessKeyId": self.key,
            "AccessKeySecret": self.secret,
            "SecurityToken": self.token,
            "Expiration": ends,
        }


def _proof(purpose: str, text: str) -> str:
    return hmac.new(_SEED, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()


def issue(lifetime: float) -> Issued:
    """Credentials that end in `lifetime` seconds, on a whole second."""
    return _issued(f"STS.{round(time.time() + lifetime)}.{uuid.uuid4().hex[:8]}")


def _issued(key: str) -> Issued:
    return Issued(key, _proof("secret", key), _proof("token", key), float(key.split(".")[1]))


def known(key: str) -> Issued | None:
    """What was issued with a key; None for a key that is no temporary one."""
    return _issued(key) if key.startswith("STS.") and key.count(".") == 2 else None


def identity(subject: str, ends: float, lifetime: float) -> str:
    """A signed token of the cluster's: who, until when, and how long its credentials live."""
    text = f"{ISSUER}|{subject}|{ends}|{lifetime}"
    return f"{text}|{_proof('identity', text)}"


def lifetime_of(identity: str) -> float | None:
    """The lifetime that a genuine identity asks for; None for another, or one that ended."""
    text, _, proof = identity.rpartition("|")
    if not hmac.compare_digest(proof, _proof("identity", text)):
        return None
    issuer, _, ends, lifetime = text.split("|")
    return float(lifetime) if issuer == ISSUER and float(ends) > time.time() else None
