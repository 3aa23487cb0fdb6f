"""Stand-ins for what hands out credentials on Alibaba Cloud, each checking what it is sent.

Security Token Service (`AssumeRoleWithOIDC`), the metadata service of an ECS with a RAM role
(in its hardened mode, which wants a session token), and a credentials URI.
"""

from __future__ import annotations

import asyncio
import calendar
import re
import time
import uuid

from aiohttp import web

from testbed.servers import oss_tokens

ROLE, PROVIDER = "acs:ram::1:role/mapred", "acs:ram::1:oidc-provider/cluster"
ECS_ROLE, METADATA_LIFETIME = "mapred-ecs", 4
_delays = [1.2]  # seconds that a busy machine takes before it names its role for the first time
_sessions: set[str] = set()


async def security_token_service(request: web.Request) -> web.Response:
    """`AssumeRoleWithOIDC`, the one call that needs no signature."""
    asked = dict(request.query) | {k: str(v) for k, v in (await request.post()).items()}
    lifetime = oss_tokens.lifetime_of(asked.get("OIDCToken", ""))
    for wrong, code in (
        (asked.get("Action") != "AssumeRoleWithOIDC", "InvalidAction.NotFound"),
        (asked.get("Version") != "2015-04-01", "InvalidVersion"),
        (asked.get("Format") != "JSON", "InvalidFormat"),
        (_age(asked.get("Timestamp", "")) > 900, "InvalidTimeStamp.Expired"),
        (asked.get("RoleArn") != ROLE, "EntityNotExist.Role"),
        (asked.get("OIDCProviderArn") != PROVIDER, "EntityNotExist.OIDCProvider"),
        (
            not re.fullmatch(r"[\w.@=-]{2,64}", asked.get("RoleSessionName", "")),
            "InvalidParameter.RoleSessionName",
        ),
        (not 900 <= int(asked.get("DurationSeconds", "3600")) <= 43200, "InvalidParameter"),
        (lifetime is None, "AuthenticationFail.OIDCToken.Invalid"),
    ):
        if wrong:
            # As bad as a service can be: the answer repeats the secret that it was sent.
            said = {"Code": code, "Message": f"refused: {asked.get('OIDCToken')}"}
            return web.json_response(said, status=400)
    given = oss_tokens.issue(lifetime or 0).record()
    del given["Code"]
    return web.json_response({"RequestId": uuid.uuid4().hex, "Credentials": given})


def _age(timestamp: str) -> float:
    try:
        return abs(time.time() - calendar.timegm(time.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ")))
    except ValueError:
        return float("inf")


async def metadata_session(request: web.Request) -> web.Response:
    if not 1 <= int(request.headers.get("X-aliyun-ecs-metadata-token-ttl-seconds", "0")) <= 21600:
        return web.Response(status=400)
    _sessions.add(session := uuid.uuid4().hex)
    return web.Response(text=session)


async def metadata(request: web.Request) -> web.Response:
    if request.headers.get("X-aliyun-ecs-metadata-token") not in _sessions:
        return web.Response(status=403)
    if not request.match_info["role"]:
        await asyncio.sleep(_delays.pop() if _delays else 0)
        return web.Response(text=ECS_ROLE)
    if request.match_info["role"] != ECS_ROLE:
        return web.Response(status=404)
    return web.json_response(oss_tokens.issue(METADATA_LIFETIME).record())


async def credentials(request: web.Request) -> web.Response:
    return web.json_response(oss_tokens.issue(float(request.query["lifetime"])).record())


def application() -> web.Application:
    known = web.Application()
    known.router.add_route("*", "/sts{tail:/?}", security_token_service)
    known.router.add_put("/latest/api/token", metadata_session)
    known.router.add_get("/latest/meta-data/ram/security-credentials/{role:.*}", metadata)
    known.router.add_get("/credentials", credentials)
    return known
