"""A stand-in for Alibaba Cloud's OSS: a bucket in memory behind really checked signatures.

`python -m servers.oss_gateway PORT PLATFORM_PORT [CLOCK]` serves the bucket `runs`;
`versioned` is a bucket that keeps versions and so, like the real one, ignores
`x-oss-forbid-overwrite`. The bucket is named in the path, or before one of `DOMAINS` in the
host. It knows what a run's root needs: objects, ranges, multipart uploads, listings, both of
OSS's signature versions (V1 in the Authorization header, V4), and security tokens that end.
Its clock is CLOCK seconds ahead. What hands out credentials on the cloud listens at
PLATFORM_PORT. It is not the service: what it does is taken from OSS's published interface.
"""

from __future__ import annotations

import asyncio
import base64
import calendar
import hashlib
import hmac
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import parse_qsl, quote, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from aiohttp import web
from servers import oss_platform, oss_tokens

KEY, SECRET = "osskey", "osssecret0123456789"
REGION = "cn-test"
DOMAINS = (f"oss-{REGION}.mapred.test", f"oss-{REGION}-internal.mapred.test")
BUCKETS = ("runs", "versioned")
SKEW = 900  # seconds that a client's clock may be off
CLOCK = 0.0
# The query parameters that V1 signs; all others are left out.
SIGNED = {"acl", "uploads", "uploadId", "partNumber", "delete", "location", "security-token"}
SIGNED |= {"continuation-token", "bucketInfo", "versions", "versionId"}


class Refusal(Exception):
    """An answer that OSS gives to a request that it does not carry out."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass
class Object:
    data: bytes
    modified: float = field(default_factory=time.time)

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.data).hexdigest().upper()}"'


# --- signatures


def check_signature(method: str, path: str, query: list[tuple[str, str]], headers: Headers) -> None:
    """Refuse a request that was not signed with a known key, now."""
    given = headers.get("Authorization", "")
    if given.startswith("OSS4-HMAC-SHA256 "):
        key, wanted, got = _version_4(method, path, query, headers, given)
    elif given.startswith("OSS "):
        key, _, got = given[4:].partition(":")
        wanted = _version_1(method, path, query, headers, _secret(key))
    else:
        raise Refusal(403, "AccessDenied", "Anonymous access is forbidden for this operation.")
    if not any(hmac.compare_digest(each, got) for each in wanted):
        raise Refusal(403, "SignatureDoesNotMatch", "The signature that we calculated differs.")
    if issued := oss_tokens.known(key):
        token = headers.get("x-oss-security-token", "")
        if not hmac.compare_digest(token, issued.token):
            raise Refusal(403, "InvalidSecurityToken", f"The security token {token} is invalid.")
        if _now() >= issued.ends:
            raise Refusal(403, "SecurityTokenExpired", f"The security token {token} has expired.")


Headers = Mapping[str, str]


def _secret(key: str) -> str:
    if key == KEY:
        return SECRET
    if issued := oss_tokens.known(key):
        return issued.secret
    raise Refusal(403, "InvalidAccessKeyId", "The access key does not exist in our records.")


def _now() -> float:
    return time.time() + CLOCK


def _check_clock(seconds: float) -> None:
    if abs(_now() - seconds) > SKEW:
        raise Refusal(403, "RequestTimeTooSkewed", "The request's time is too far from ours.")


def _own_headers(headers: Headers) -> list[tuple[str, str]]:
    lower = ((name.lower(), value.strip()) for name, value in headers.items())
    return sorted((name, value) for name, value in lower if name.startswith("x-oss-"))


def _version_1(
    method: str, path: str, query: list[tuple[str, str]], headers: Headers, secret: str
) -> list[str]:
    date = headers.get("x-oss-date") or headers.get("Date", "")
    _check_clock(parsedate_to_datetime(date).timestamp())
    signed = sorted((n, v) for n, v in query if n in SIGNED or n.startswith("x-oss-"))
    tail = "&".join(f"{name}={value}" if value else name for name, value in signed)
    lines = [method, headers.get("Content-MD5", ""), headers.get("Content-Type", "")]
    lines.append(headers.get("Date", date))
    own = "".join(f"{name}:{value}\n" for name, value in _own_headers(headers))
    # OpenDAL leaves out the slash behind a bucket that stands alone; others write it.
    resources = {path, path.rstrip("/")} if path.count("/") == 2 else {path}
    wanted = []
    for resource in resources:
        text = "\n".join(lines) + "\n" + own + resource + (f"?{tail}" if tail else "")
        digest = hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()
        wanted.append(base64.b64encode(digest).decode())
    return wanted


def _version_4(
    method: str, path: str, query: list[tuple[str, str]], headers: Headers, given: str
) -> tuple[str, list[str], str]:
    fields = dict(part.strip().split("=", 1) for part in given.split(" ", 1)[1].split(","))
    key, day, region, service, ending = fields["Credential"].split("/")
    if (region, service, ending) != (REGION, "oss", "aliyun_v4_request"):
        raise Refusal(400, "InvalidArgument", "Invalid signing region in Authorization header.")
    date = headers["x-oss-date"]
    _check_clock(calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ")))
    also = [name for name in fields.get("AdditionalHeaders", "").split(";") if name]
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    names = [n for n in lower if n.startswith("x-oss-") or n in ("content-type", "content-md5")]
    canonical = "".join(f"{name}:{lower[name]}\n" for name in sorted({*names, *also}))
    quoted = sorted((quote(n, safe="-_.~"), quote(v, safe="-_.~")) for n, v in query)
    asked = "&".join(f"{name}={value}" if value else name for name, value in quoted)
    payload = lower.get("x-oss-content-sha256", "UNSIGNED-PAYLOAD")
    request = [method, quote(path, safe="/-_.~"), asked, canonical, ";".join(sorted(also)), payload]
    digest = hashlib.sha256("\n".join(request).encode()).hexdigest()
    scope = f"{day}/{region}/{service}/{ending}"
    text = "\n".join(["OSS4-HMAC-SHA256", date, scope, digest])
    signing = b"aliyun_v4" + _secret(key).encode()
    for part in (day, region, service, ending):
        signing = hmac.new(signing, part.encode(), hashlib.sha256).digest()
    return key, [hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()], fields["Signature"]


# --- objects


class Gateway:
    """The buckets, and the answers to what is asked of them."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, Object]] = {name: {} for name in BUCKETS}
        self.uploads: dict[str, dict[int, bytes]] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        raw, _, asked = request.raw_path.removeprefix(f"http://{request.host}").partition("?")
        path, query = unquote(raw), parse_qsl(asked, keep_blank_values=True)
        for domain in DOMAINS:
            if (named := request.host.removesuffix(f".{domain}")) != request.host:
                path = f"/{named}{path}"
        try:
            bucket, _, key = path[1:].partition("/")
            check_signature(request.method, f"/{bucket}/{key}", query, request.headers)
            if not key and request.method in ("PUT", "DELETE"):
                return self.bucket(request.method, bucket)
            if bucket not in self.buckets:
                raise Refusal(404, "NoSuchBucket", "The specified bucket does not exist.")
            return self.carry_out(request, bucket, key, dict(query), body)
        except Refusal as refusal:
            text = (
                f"<Error><Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message>"
                "</Error>"
            )
            answer = _xml("" if request.method == "HEAD" else text, refusal.status)
            answer.headers["Date"] = formatdate(_now(), usegmt=True)
            return answer

    def bucket(self, method: str, bucket: str) -> web.StreamResponse:
        if method == "PUT":
            self.buckets.setdefault(bucket, {})
            return web.Response()
        if self.buckets.get(bucket):
            raise Refusal(409, "BucketNotEmpty", "The bucket you tried to delete is not empty.")
        self.buckets.pop(bucket, None)
        return web.Response(status=204)

    def carry_out(
        self, request: web.Request, bucket: str, key: str, query: dict[str, str], body: bytes
    ) -> web.StreamResponse:
        objects, method, headers = self.buckets[bucket], request.method, request.headers
        if not key:
            return _listing(objects, query)
        if "uploads" in query or "uploadId" in query:
            return self.multipart(method, bucket, key, query, body)
        if method == "PUT":
            forbidden = headers.get("x-oss-forbid-overwrite") == "true"
            if forbidden and bucket != "versioned" and key in objects:
                raise Refusal(409, "FileAlreadyExists", "The object you specified already exists.")
            if "x-oss-copy-source" in headers:
                return self.copy(objects, key, unquote(headers["x-oss-copy-source"]))
            objects[key] = Object(body)
            return web.Response(headers={"ETag": objects[key].etag})
        if method == "DELETE":
            objects.pop(key, None)
            return web.Response(status=204)
        if key not in objects:
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.")
        return _content(objects[key], headers, method)

    def copy(self, objects: dict[str, Object], key: str, source: str) -> web.Response:
        bucket, _, name = source.lstrip("/").partition("/")
        if name not in self.buckets.get(bucket, {}):
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.")
        objects[key] = Object(self.buckets[bucket][name].data)
        return _xml(f"<CopyObjectResult><ETag>{objects[key].etag}</ETag></CopyObjectResult>")

    def multipart(
        self, method: str, bucket: str, key: str, query: dict[str, str], body: bytes
    ) -> web.StreamResponse:
        if "uploads" in query:
            upload = uuid.uuid4().hex
            self.uploads[upload] = {}
            names = (
                f"<Bucket>{bucket}</Bucket><Key>{escape(key)}</Key><UploadId>{upload}</UploadId>"
            )
            return _xml(f"<InitiateMultipartUploadResult>{names}</InitiateMultipartUploadResult>")
        if query["uploadId"] not in self.uploads:
            raise Refusal(404, "NoSuchUpload", "The specified upload does not exist.")
        parts = self.uploads[query["uploadId"]]
        if method == "PUT":
            parts[int(query["partNumber"])] = body
            return web.Response(headers={"ETag": Object(body).etag})
        del self.uploads[query["uploadId"]]
        if method == "DELETE":
            return web.Response(status=204)
        named = [int(n.text or 0) for n in ElementTree.fromstring(body).iter("PartNumber")]
        if named != sorted(parts):
            raise Refusal(400, "InvalidPart", "The parts named are not those uploaded.")
        known = self.buckets[bucket][key] = Object(b"".join(parts[n] for n in named))
        names = f"<Bucket>{bucket}</Bucket><Key>{escape(key)}</Key><ETag>{known.etag}</ETag>"
        return _xml(f"<CompleteMultipartUploadResult>{names}</CompleteMultipartUploadResult>")


def _xml(text: str, status: int = 200) -> web.Response:
    head = '<?xml version="1.0" encoding="UTF-8"?>' if text else ""
    return web.Response(status=status, text=head + text, content_type="application/xml")


def _content(known: Object, headers: Headers, method: str) -> web.StreamResponse:
    """An object or a range of it; a range that leaves the object is ignored, as OSS does."""
    if headers.get("If-Match", known.etag) != known.etag:
        raise Refusal(412, "PreconditionFailed", "At least one of the preconditions failed.")
    fields = {
        "ETag": known.etag,
        "Last-Modified": formatdate(known.modified, usegmt=True),
        "Content-Type": "application/octet-stream",
    }
    size, data, status = len(known.data), known.data, 200
    first, dash, last = headers.get("Range", "").removeprefix("bytes=").partition("-")
    if dash and first:
        start, end = int(first), int(last) if last else size - 1
        if start <= end < size:
            data, status = data[start : end + 1], 206
            fields["Content-Range"] = f"bytes {start}-{end}/{size}"
    if method == "HEAD":
        return web.Response(status=status, headers={**fields, "Content-Length": str(len(data))})
    return web.Response(status=status, headers=fields, body=data)


def _listing(objects: dict[str, Object], query: dict[str, str]) -> web.StreamResponse:
    """ListObjectsV2, and V1 by its marker: in the order of the keys' bytes, a page at a time."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = query.get("continuation-token") or query.get("start-after") or query.get("marker") or ""
    most = min(1000, int(query.get("max-keys", "100")))
    entries: dict[str, Object | None] = {}
    for key in objects:
        if key.startswith(prefix):
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            name = prefix + head + delimiter if found else key
            entries[name] = None if found else objects[key]
    names = [name for name in sorted(entries, key=str.encode) if name.encode() > after.encode()]
    page, cut = names[:most], len(names) > most
    text = f"<Prefix>{quote(prefix)}</Prefix><IsTruncated>{str(cut).lower()}</IsTruncated>"
    text += f"<MaxKeys>{most}</MaxKeys><KeyCount>{len(page)}</KeyCount>"
    encoded = (lambda name: quote(name, safe="")) if "encoding-type" in query else escape
    if "encoding-type" in query:
        text += "<EncodingType>url</EncodingType>"
    if cut:
        mark = encoded(page[-1])
        text += (
            f"<NextContinuationToken>{mark}</NextContinuationToken><NextMarker>{mark}</NextMarker>"
        )
    for name in page:
        known = entries[name]
        if known is None:
            text += f"<CommonPrefixes><Prefix>{encoded(name)}</Prefix></CommonPrefixes>"
            continue
        when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(known.modified))
        text += (
            f"<Contents><Key>{encoded(name)}</Key><LastModified>{when}</LastModified>"
            f"<ETag>{escape(known.etag)}</ETag><Type>Normal</Type><Size>{len(known.data)}</Size>"
            "<StorageClass>Standard</StorageClass></Contents>"
        )
    return _xml(f"<ListBucketResult>{text}</ListBucketResult>")


async def _serve(port: int, platform: int) -> None:
    gateway = web.Application(client_max_size=1 << 30)
    gateway.router.add_route("*", "/{path:.*}", Gateway().answer)
    for application, at in ((oss_platform.application(), platform), (gateway, port)):
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", at).start()
    await asyncio.Event().wait()


def main(port: str, platform: str, clock: str = "0") -> None:
    global CLOCK
    CLOCK = float(clock)
    asyncio.run(_serve(int(port), int(platform)))


if __name__ == "__main__":
    main(*sys.argv[1:])
