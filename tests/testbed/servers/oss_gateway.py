"""A stand-in for Alibaba Cloud's OSS: buckets in memory behind really checked signatures.

`python -m testbed.servers.oss_gateway PORT PLATFORM_PORT [CLOCK [TLS_PORT CERTIFICATE]]`
serves the bucket `runs`; `versioned` is a bucket that keeps versions and so, like the real one,
ignores `x-oss-forbid-overwrite`. A bucket is named before `oss-cn-test.DOMAIN` or, at the
S3-compatible address, before `s3.oss-cn-test.DOMAIN`, as the service has it; where the host is not
one of these, as 127.0.0.1, in the path. It knows what a run's root and Argo's artifacts need:
objects, ranges, multipart uploads, listings, signatures of version 4, and security tokens that end.
What the service refuses is refused: version 1, the bucket in the path of its hosts, aws-chunked
bodies. Its clock is CLOCK seconds ahead. What hands out credentials on the cloud listens at
PLATFORM_PORT. It is not the service: what it does is taken from OSS's published interface.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cached_property
from urllib.parse import parse_qsl, quote, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import crcmod
from aiohttp import web

from testbed.servers import oss_platform
from testbed.servers.oss_signatures import REGION, Asked, Refusal, check

DOMAINS = (f"oss-{REGION}.mapred.test", f"oss-{REGION}-internal.mapred.test")
BUCKETS = ("runs", "versioned")
CLOCK = 0.0
_HOST = re.compile(
    rf"(?:(?P<bucket>[a-z0-9-]+)\.)??(?P<s3>s3\.)?oss-{REGION}(?:-internal)?"
    r"\.(?:mapred\.test|aliyuncs\.com)(?::\d+)?"
)
_crc64 = crcmod.mkCrcFun(0x142F0E1EBA9EA3693, initCrc=0, xorOut=0xFFFFFFFFFFFFFFFF)
Headers = Mapping[str, str]


@dataclass
class Object:
    data: bytes
    modified: float = field(default_factory=time.time)

    @cached_property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.data).hexdigest().upper()}"'

    @property
    def crc(self) -> dict[str, str]:
        return {"x-oss-hash-crc64ecma": str(_crc64(self.data))}


class Gateway:
    """The buckets, and the answers to what is asked of them."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, Object]] = {name: {} for name in BUCKETS}
        self.uploads: dict[str, dict[int, bytes]] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        raw, _, asked = _target(request).partition("?")
        path, query = unquote(raw), parse_qsl(asked, keep_blank_values=True)
        try:
            bucket, key, s3 = _place(request.host, path)
            signed = path if s3 else f"/{bucket}/{key}"
            now = time.time() + CLOCK
            check(Asked(request.method, signed, query, request.headers, body, now), s3)
            if not key and request.method in ("PUT", "DELETE"):
                return self.bucket(request.method, bucket)
            if bucket not in self.buckets:
                raise Refusal(404, "NoSuchBucket", "The specified bucket does not exist.")
            return self.carry_out(request, bucket, key, dict(query), body, s3)
        except Refusal as refusal:
            text = (
                f"<Error><Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message>"
                "</Error>"
            )
            answer = _xml("" if request.method == "HEAD" else text, refusal.status)
            answer.headers["Date"] = formatdate(time.time() + CLOCK, usegmt=True)
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
        self,
        request: web.Request,
        bucket: str,
        key: str,
        query: dict[str, str],
        body: bytes,
        s3: bool,
    ) -> web.StreamResponse:
        objects, method, headers = self.buckets[bucket], request.method, request.headers
        if not key:
            if "location" in query:
                return _xml(f"<LocationConstraint>oss-{REGION}</LocationConstraint>")
            return _listing(objects, query)
        if "uploads" in query or "uploadId" in query:
            return self.multipart(method, bucket, key, query, body)
        if method == "PUT":
            forbidden = headers.get("x-oss-forbid-overwrite") == "true"
            if forbidden and bucket != "versioned" and key in objects:
                raise Refusal(409, "FileAlreadyExists", "The object you specified already exists.")
            if "x-oss-copy-source" in headers:
                return self.copy(objects, key, unquote(headers["x-oss-copy-source"]))
            made = objects[key] = Object(body)
            return web.Response(headers={"ETag": made.etag, **made.crc})
        if method == "DELETE":
            objects.pop(key, None)
            return web.Response(status=204)
        if key not in objects:
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.")
        return _content(objects[key], headers, method, s3)

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
            part = Object(body)
            return web.Response(headers={"ETag": part.etag, **part.crc})
        del self.uploads[query["uploadId"]]
        if method == "DELETE":
            return web.Response(status=204)
        named = [int(n.text or 0) for n in ElementTree.fromstring(body).iter("PartNumber")]
        if named != sorted(parts):
            raise Refusal(400, "InvalidPart", "The parts named are not those uploaded.")
        known = self.buckets[bucket][key] = Object(b"".join(parts[n] for n in named))
        names = f"<Bucket>{bucket}</Bucket><Key>{escape(key)}</Key><ETag>{known.etag}</ETag>"
        answer = _xml(f"<CompleteMultipartUploadResult>{names}</CompleteMultipartUploadResult>")
        answer.headers.update(known.crc)
        return answer


def _target(request: web.Request) -> str:
    """Path and query; a client that takes us for its proxy writes the whole address."""
    return re.sub(r"https?://[^/]+", "", request.raw_path, count=1)


def _place(host: str, path: str) -> tuple[str, str, bool]:
    """Bucket and key of a request, and whether it came to the S3-compatible address."""
    known = _HOST.fullmatch(host)
    if known is None:
        bucket, _, key = path[1:].partition("/")
        return bucket, key, False
    if known["bucket"] is None:
        raise Refusal(
            403,
            "SecondLevelDomainForbidden",
            "The bucket you are attempting to access must be addressed using OSS third level domain.",
        )
    return known["bucket"], path[1:], known["s3"] is not None


def _xml(text: str, status: int = 200) -> web.Response:
    head = '<?xml version="1.0" encoding="UTF-8"?>' if text else ""
    return web.Response(status=status, text=head + text, content_type="application/xml")


def _content(known: Object, headers: Headers, method: str, s3: bool) -> web.StreamResponse:
    """An object or a range of it.

    A range that leaves the object is ignored, unless the standard's behaviour is asked for.
    """
    if headers.get("If-Match", known.etag) not in (known.etag, known.etag.strip('"')):
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
        if s3 or headers.get("x-oss-range-behavior") == "standard":
            if start >= size:
                raise Refusal(416, "InvalidRange", "The requested range cannot be satisfied.")
            end = min(end, size - 1)
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


async def _serve(port: int, platform: int, tls: int, certificate: str) -> None:
    gateway = web.Application(client_max_size=1 << 30)
    gateway.router.add_route("*", "/{path:.*}", Gateway().answer)
    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    for application, at, secured in (
        (oss_platform.application(), platform, None),
        (gateway, port, None),
        (gateway, tls, context),
    ):
        if not at:
            continue
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", at, ssl_context=secured).start()
    await asyncio.Event().wait()


def main(port: str, platform: str, clock: str = "0", tls: str = "0", certificate: str = "") -> None:
    global CLOCK
    CLOCK = float(clock)
    asyncio.run(_serve(int(port), int(platform), int(tls), certificate))


if __name__ == "__main__":
    main(*sys.argv[1:])
