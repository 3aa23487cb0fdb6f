"""The signatures that the stand-in for OSS takes, computed anew from each request.

Version 4 of OSS's own interface, and AWS's version 4 at its S3-compatible address. Version 1 is
refused, as it is to new accounts and for new buckets.
"""

from __future__ import annotations

import base64
import calendar
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from testbed.servers import oss_tokens

KEY, SECRET = "osskey", "osssecret0123456789"
REGION = "cn-test"
SKEW = 900  # seconds that a client's clock may be off
UNSIGNED = "UNSIGNED-PAYLOAD"


class Refusal(Exception):
    """An answer that OSS gives to a request that it does not carry out."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True)
class Asked:
    """A request as it was signed: `path` is the one that the signature covers."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes
    now: float

    @property
    def lower(self) -> dict[str, str]:
        return {name.lower(): " ".join(value.split()) for name, value in self.headers.items()}


def check(asked: Asked, s3: bool) -> None:
    """Refuse a request that was not signed by version 4 with a known key, now."""
    given = asked.headers.get("Authorization", "")
    if s3 and given.startswith("AWS4-HMAC-SHA256 "):
        key, wanted, got = _aws_version_4(asked, given)
        token = asked.headers.get("x-amz-security-token", "")
    elif not s3 and given.startswith("OSS4-HMAC-SHA256 "):
        key, wanted, got = _version_4(asked, given)
        token = asked.headers.get("x-oss-security-token", "")
    elif given:
        raise Refusal(403, "AccessDenied", "Only signature version 4 is allowed for this bucket.")
    else:
        raise Refusal(403, "AccessDenied", "Anonymous access is forbidden for this operation.")
    if not hmac.compare_digest(wanted, got):
        raise Refusal(403, "SignatureDoesNotMatch", "The signature that we calculated differs.")
    if issued := oss_tokens.known(key):
        if not hmac.compare_digest(token, issued.token):
            raise Refusal(403, "InvalidSecurityToken", f"The security token {token} is invalid.")
        if asked.now >= issued.ends:
            raise Refusal(403, "SecurityTokenExpired", f"The security token {token} has expired.")
    digest = asked.lower.get("content-md5")
    if digest and digest != base64.b64encode(hashlib.md5(asked.body).digest()).decode():
        raise Refusal(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")


def _secret(key: str) -> str:
    if key == KEY:
        return SECRET
    if issued := oss_tokens.known(key):
        return issued.secret
    raise Refusal(403, "InvalidAccessKeyId", "The access key does not exist in our records.")


def _version_4(asked: Asked, given: str) -> tuple[str, str, str]:
    fields = _fields(given)
    key, scope = _scope(fields["Credential"], "aliyun_v4_request", (REGION,), "oss")
    lower = asked.lower
    date = lower.get("x-oss-date", "")
    _check_date(asked, date, scope)
    # The only value that OSS takes.
    if lower.get("x-oss-content-sha256") != UNSIGNED:
        raise Refusal(400, "InvalidArgument", f"x-oss-content-sha256 must be {UNSIGNED}.")
    also = sorted(name for name in fields.get("AdditionalHeaders", "").split(";") if name)
    own = [n for n in lower if n.startswith("x-oss-") or n in ("content-type", "content-md5")]
    headers = "".join(f"{name}:{lower[name]}\n" for name in sorted({*own, *also}))
    lines = [
        asked.method,
        quote(asked.path, safe="/-_.~"),
        _query(asked, lambda name, value: f"{name}={value}" if value else name),
        headers,
        ";".join(also),
        UNSIGNED,
    ]
    text = _to_sign("OSS4-HMAC-SHA256", date, scope, lines)
    return key, _signed("aliyun_v4", key, scope, text), fields["Signature"]


def _aws_version_4(asked: Asked, given: str) -> tuple[str, str, str]:
    fields = _fields(given)
    key, scope = _scope(fields["Credential"], "aws4_request", (f"oss-{REGION}", REGION), "s3")
    lower = asked.lower
    date = lower.get("x-amz-date", "")
    _check_date(asked, date, scope)
    payload = lower.get("x-amz-content-sha256", "")
    if payload.startswith("STREAMING-") or "aws-chunked" in lower.get("content-encoding", ""):
        raise Refusal(
            400,
            "InvalidArgument",
            "aws-chunked encoding is not supported with the specified x-amz-content-sha256 value.",
        )
    if payload not in (UNSIGNED, hashlib.sha256(asked.body).hexdigest()):
        raise Refusal(400, "XAmzContentSHA256Mismatch", "The content does not match its SHA-256.")
    names = fields["SignedHeaders"].split(";")
    unsigned = {n for n in lower if n.startswith("x-amz-") or n == "host"} - set(names)
    if unsigned:
        raise Refusal(403, "AccessDenied", f"Headers present were not signed: {unsigned}.")
    lines = [
        asked.method,
        quote(asked.path, safe="/-_.~"),
        _query(asked, lambda name, value: f"{name}={value}"),
        "".join(f"{name}:{lower.get(name, '')}\n" for name in names),
        ";".join(names),
        payload,
    ]
    text = _to_sign("AWS4-HMAC-SHA256", date, scope, lines)
    return key, _signed("AWS4", key, scope, text), fields["Signature"]


def _fields(given: str) -> dict[str, str]:
    parts = given.split(" ", 1)[1].split(",")
    return dict(part.strip().split("=", 1) for part in parts)


def _scope(
    credential: str, ending: str, regions: tuple[str, ...], service: str
) -> tuple[str, list[str]]:
    key, *scope = credential.split("/")
    if len(scope) != 4 or scope[1] not in regions or scope[2:] != [service, ending]:
        raise Refusal(400, "InvalidArgument", "Invalid signing region in Authorization header.")
    return key, scope


def _check_date(asked: Asked, date: str, scope: list[str]) -> None:
    if not re.fullmatch(r"\d{8}T\d{6}Z", date) or date[:8] != scope[0]:
        raise Refusal(403, "AccessDenied", "The date of the signature is missing, or another one.")
    seconds = calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
    if abs(asked.now - seconds) > SKEW:
        raise Refusal(403, "RequestTimeTooSkewed", "The request's time is too far from ours.")


def _query(asked: Asked, write: Callable[[str, str], str]) -> str:
    pairs = sorted((quote(n, safe="-_.~"), quote(v, safe="-_.~")) for n, v in asked.query)
    return "&".join(write(name, value) for name, value in pairs)


def _to_sign(algorithm: str, date: str, scope: list[str], lines: list[str]) -> str:
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return "\n".join([algorithm, date, "/".join(scope), digest])


def _signed(prefix: str, key: str, scope: list[str], text: str) -> str:
    signing = (prefix + _secret(key)).encode()
    for part in scope:
        signing = hmac.new(signing, part.encode(), hashlib.sha256).digest()
    return hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()
