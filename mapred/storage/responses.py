"""What a store answers when it refuses a request, and the error that it becomes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mapred.errors import AccessError, FullError, StorageError
from mapred.process import secrecy

# Refusals that another machine, or new keys, may not get.
_MAY_PASS = (
    "RequestTimeTooSkewed",
    "ExpiredToken",
    "SecurityTokenExpired",
    "InvalidSecurityToken",
    "TokenRefreshRequired",
)
# What services, gateways among them, say when the storage is full.
_NO_ROOM = ("QuotaExceeded", "QuotaExceededException", "XMinioStorageFull", "InsufficientStorage")


@dataclass(frozen=True)
class ErrorResponse:
    """What can be said of a store's refusal: HTTP status, its own code and message.

    `ahead` is by how many seconds this machine's clock was before the store's.
    """

    status: int | None
    code: str
    message: str
    text: str
    ahead: float | None = None

    @property
    def clock(self) -> str:
        """How far this machine's clock is off, by the store's, as a part of a sentence."""
        if self.ahead is None:
            return ""
        direction = "ahead of" if self.ahead > 0 else "behind"
        return f", which is {abs(self.ahead):.0f} s {direction} the store's"

    @property
    def retryable(self) -> bool:
        """Whether the request may have been carried out all the same, or may be next time."""
        if self.status is None:
            return "(permanent)" not in self.text
        return self.status >= 500 or self.status in (408, 425, 429)


def parse_error(text: str) -> ErrorResponse:
    """Read a client's error text.

    Nothing else of it is shown: the body of a refused signature repeats what was signed, a
    session's token included.
    """
    status = re.search(r"status(?: code)?: (\d{3})\b", text)
    whole = text
    text = re.split(r"\n\s*(?:Debug source|Context):", text)[0]
    code = re.search(r'<Code>([^<]*)</Code>|code: "([^"]*)"', text)
    message = re.search(r'<Message>([^<]*)</Message>|message: "([^"]*)"', text)
    plain = re.sub(r"<\?xml.*", "", text, flags=re.DOTALL)
    return ErrorResponse(
        int(status.group(1)) if status else None,
        (code.group(1) or code.group(2) or "") if code else "",
        (message.group(1) or message.group(2) or "").partition("\n")[0] if message else "",
        " ".join(plain.split())[:400],
        _clock_skew(whole),
    )


def short_reason(error: Any) -> str:
    """Why a connection failed, in a few words: the whole text repeats the request."""
    text = str(error)
    match = re.search(r"\[Errno -?\d+\] ([\w ]+)", text)
    if match:
        return match[1].lower()
    return "timed out" if "timed out" in text else type(error).__name__


def _clock_skew(text: str) -> float | None:
    match = re.search(r'"date": "([^"]+)"|<ServerTime>([^<]+)</ServerTime>', text)
    try:
        if match is None:
            return None
        if match[1]:
            # Every worker imports this module, and few need this.
            from email.utils import parsedate_to_datetime

            theirs = parsedate_to_datetime(match[1])
        else:
            theirs = datetime.fromisoformat(match[2].replace("Z", "+00:00"))
    except ValueError:
        return None
    return time.time() - theirs.timestamp()


class ReplacedError(StorageError):
    """An object is not the one that was requested: its etag is another."""


def quote_etag(etag: str) -> str:
    """Return an etag as requests carry it; some services list theirs without the quotes."""
    return etag if etag.startswith(('"', "W/")) else f'"{etag}"'


def general_hint(answer: ErrorResponse) -> str:
    """Return what to do about a refusal whose code says nothing more of it."""
    if answer.status in (401, 403):
        return "check the credentials, and that they may read, write and list here"
    if answer.retryable:
        return "the store reports an error of its own; resume the run later"
    return "check the bucket and the settings"


def error_from(
    what: str, answer: ErrorResponse, hint: str, secrets: Iterable[str | None] = ()
) -> StorageError:
    """Say that `what` failed, as the store answered, and what to do; show nothing of `secrets`."""
    if answer.code:
        reason = f"{answer.code}: {answer.message.rstrip('.')}".rstrip(": ")
    elif answer.status:
        reason = f"status {answer.status}"
    else:
        reason = answer.text
    for secret in filter(None, secrets):
        reason = reason.replace(secret, "…")
    reason = secrecy.redact_urls(reason)
    kind = StorageError
    if answer.status == 412 or answer.code == "PreconditionFailed":
        kind = ReplacedError
    elif answer.status == 507 or answer.code in _NO_ROOM:
        kind = FullError
    elif answer.status in (401, 403) and answer.code not in _MAY_PASS:
        kind = AccessError
    return kind(f"{what}: {reason}: {hint}")
