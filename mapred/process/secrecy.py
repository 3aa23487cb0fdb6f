"""What looks like a secret, by its name or its text: such values are not stored, shown or sent.

A job is written to the run's folder and, on a cluster, into a manifest, where others read it.
So a password belongs into the environment of each process or a Secret of Kubernetes, and what
is written names it. `public` says of a text that it only looks like a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cache, lru_cache
from typing import Any

from mapred.errors import MapredError
from mapred.process.lazy import Lazy

parse = Lazy("urllib.parse")  # few texts are percent-encoded


class Public(str):
    """A text that may be stored and shown, whatever it looks like."""

    __slots__ = ()


def public(text: str) -> str:
    """Say of a text that it is not a secret, though it looks like one.

    Args:
        text: The text, which may be stored with a run and shown.

    Returns:
        The same text.

    Examples:
        >>> env = {"API_KEY": mapred.public("demo")}
        >>> mapred.Resources(env=env).env["API_KEY"]
        'demo'
    """
    return Public(text)


def as_public(value: Any) -> Any:
    """Texts in nested mappings and lists as they are, said to be public: they are stored already."""
    if isinstance(value, Mapping):
        return {key: as_public(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(as_public(inner) for inner in value)
    return Public(value) if isinstance(value, str) else value


# Words that name a secret, at any place of a name, and those that do so as its last word.
_WORDS = frozenset(
    "secret secrets password passwords passwd pswd passphrase passcode credential credentials creds "
    "token bearer jwt cookie cookies authorization dsn".split()
)
_LAST = frozenset("pass pwd pw pat auth sas sig signature pem otp cred".split())
# These within a word, as in PGPASSWORD, SECRETKEY and dbConnectionString.
_WITHIN = (
    r"secret(?!ar)|passw|passphrase|passcode|passkey|kennwort|motdepasse|credential|connectionstring"
    r"|connstr|authorization|mnemonic|seedphrase|pwd$|(?:ssh|db|my|pg|user|root|ftp|smtp|mail|ldap)pass$"
    r"|(?:api|access|secret|private|account|auth|shared|storage|master|signing|encryption|ssh|gpg"
    r"|session|client|customer|ssec?)key|(?:auth|access|sas|session|refresh|id|bearer|api|hf)token$"
)
# What the rest of a name says when it is about a secret and does not hold one.
_ABOUT = frozenset(
    "file filename path dir folder name url uri endpoint host count limit length size ttl type "
    "column columns field mode policy parallelism expiry expires seconds timeout region provider "
    "variable env arn version index number bytes error exception warning".split()
)
# Keys that open nothing.
_HARMLESS_KEYS = frozenset(
    "partition sort primary foreign group join public cache row index dict map order object bucket "
    "column table natural surrogate composite shard hash routing grouping lookup item record "
    "dedup idempotency kms".split()
)
_DIRECTORIES = ("PWD", "OLDPWD")
_WORD = r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+"
_OF_QUERIES = ("key", "code", "session", "sessionid", "jsessionid", "sid")
_HARMLESS_QUERIES = ("x-oss-process", "x-oss-traffic-limit")
_SIGNED = ("x-amz-", "x-goog-", "x-oss-")

_BUCKETS = ("s3", "s3a", "gs", "gcs", "oss", "az")
_CONTAINERS = ("abfs", "abfss", "wasb", "wasbs")  # abfs://container@account…/path
_NETWORK = ("http", "https", "ftp", "sftp", *_BUCKETS, *_CONTAINERS)
_USERS = ("ssh", "sftp", "scp", "git", "git+ssh", "hdfs", "webhdfs", "viewfs", "smb")
_URL = r"(?is)([a-z][a-z0-9+.-]{1,63}):(/+)(.*)"

# How services begin their keys and tokens; what opens a private key; addresses that are secrets.
_FORMS = (
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{12,}",
    r"\bLTAI[0-9A-Za-z]{12,}",
    r"\bgh[pousr]_\w{4,}|\bgithub_pat_\w{4,}",
    r"\bgl(?:pat|dt|rt|cbt|ptt|soat|agent)-[\w-]{4,}",
    r"\bxox[a-z]-[\w-]{4,}|\bxapp-[\w-]{8,}",
    r"\bsk-(?:(?=[\w-]{0,99}\d)[\w-]{12,}|\w{20,})|\b[srp]k_(?:live|test)_\w{4,}|\bwhsec_\w{8,}",
    r"\bAIza[\w-]{20,}|\bya29\.[\w-]{8,}|\bGOCSPX-[\w-]{8,}",
    r"\beyJ[\w-]{6,999}\.[\w-]+",
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY|PuTTY-User-Key-File|AGE-SECRET-KEY-",
    r"\bhf_\w{16,}|\bnpm_\w{20,}|\bpypi-[\w-]{16,}|\bdckr_(?:pat|oat)_[\w-]{8,}|\bdo[opr]_v1_\w{8,}",
    r"\bSG\.[\w-]{8,}\.[\w-]{8,}",
    r"\bshp(?:at|ca|pa|ss)_\w{8,}|\bdapi[0-9a-f]{16,}|\bhv[sbr]\.[\w-]{8,}|\blin_api_\w{8,}",
    r"\b(?:gsk_|r8_|glc_|figd_|sntrys_|sbp_|ntn_|nvapi-|xai-|pplx-)[\w-]{20,}|\bATATT3[\w-]{8,}",
    r"\b(?:PMAK|NRAK)-[\w-]{8,}|\b\d{8,10}:AA[\w-]{30,}",
    r"\b[Bb]earer +[\w.~+/-]{8,}|\b[Bb]asic +[A-Za-z0-9+/]{8,}=*",
    r"hooks\.slack\.com/services/.|discord(?:app)?\.com/api/webhooks/.|webhook\.office\.com/.",
    r"outlook\.office\.com/webhook/.|qyapi\.weixin\.qq\.com/cgi-bin/webhook/.",
    r"open\.(?:feishu\.cn|larksuite\.com)/open-apis/bot/.|api\.telegram\.org/bot.",
)
# One of these is in whatever matches a form, and one of `_URL_MARKS` in a URL that holds a secret
# otherwise: what has none is done with at once.
_MARKS = (
    *("earer ", "asic ", "PRIVATE KEY"),
    *(
        "AKIA ASIA ABIA ACCA LTAI ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- gldt- glrt- "
        "glcbt- glptt- glsoat- glagent- xox xapp- sk- k_live_ k_test_ whsec_ AIza ya29. "
        "GOCSPX- eyJ PuTTY AGE-SE hf_ npm_ pypi- dckr_ dop_v1_ doo_v1_ dor_v1_ SG. "
        "shpat_ shpca_ shppa_ shpss_ dapi hvs. hvb. hvr. lin_api_ gsk_ r8_ glc_ figd_ "
        "sntrys_ sbp_ ntn_ nvapi- xai- pplx- ATATT3 PMAK- NRAK- :AA hooks.slack /api/webhooks/ "
        "office.com/ qyapi.weixin open-apis/bot telegram.org/bot"
    ).split(),
)
_URL_MARKS = "@?#%"
# A secret key of AWS: forty letters of base64, which a digest in hexadecimal is not; one of Azure.
_BASE64 = r"(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])(?=[^0-9]*[0-9])[A-Za-z0-9/+]{40}|[A-Za-z0-9+/]{86}=="
# It begins at a word and is bounded, so that a long text is looked through in one go.
_PAIR = (
    r"""(?<!\w)([A-Za-z][\w.-]{0,63})["']?\s{0,9}[=:]\s{0,9}["']?"""
    r"""(?![${<(/\\]|None\b|null\b)[^\s"',;&]"""
)
# In texts that are masked: a key to its end, and names with their values.
_PRIVATE_KEY = r"(?s)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY.*?(?:-----END[^\n]*|\Z)"
_NAMED = (
    r"""(?<!\w)(?P<name>[A-Za-z][\w.-]{0,63})(?P<between>["']?\]?(?::[\w.\[\]| ]{1,40}(?==))?"""
    r"""\s{0,9}[=:]\s{0,9}(?:[bfr]{1,2}(?=["']))?)"""
)
_QUOTES = r"""(?P<value>"[^"\n]+"|'[^'\n]+')"""
_VALUE = _QUOTES.replace(")", r"""|[^\s"',;&(){}\[\]]+)""")
_EXPRESSION = r"[A-Za-z_][\w.]*"  # in code: a name, or a call of one
_KEY_LENGTH = r"(?<![\w/+.])[A-Za-z0-9+/]{40}(?:[A-Za-z0-9+/]{46}==)?(?![\w/+])"
_LEAST_HIDDEN = 8  # characters of a variable's value; shorter ones stand in too many words


@cache
def _form_pattern() -> re.Pattern[str]:
    return re.compile("|".join(_FORMS))


def _has_form(text: str) -> bool:
    return any(mark in text for mark in _MARKS) and _form_pattern().search(text) is not None


@lru_cache(4096)  # names of variables, which are asked for again with each text
def is_secret_name(name: str) -> bool:
    """Whether a name says that its value is a secret: DB_PASSWORD, apiKey, GITHUB_PAT, sig."""
    words = [word.lower() for word in re.findall(_WORD, name)]
    if not words or name in _DIRECTORIES or words[-1] in _ABOUT or words[-2:] == ["key", "id"]:
        return False
    if _WORDS.intersection(words) or words[-1] in _LAST or re.search(_WITHIN, "".join(words)):
        return True
    return words[-1] == "key" and len(words) > 1 and words[-2] not in _HARMLESS_KEYS


def looks_secret(text: str) -> bool:
    """Whether a text looks like a secret, or has one in it."""
    if isinstance(text, Public):
        return False
    if _has_form(text) or (len(text) in (40, 88) and re.fullmatch(_BASE64, text)):
        return True
    if ":/" in text and any(map(find_url_secret, _urls(text))):
        return True
    return ("=" in text or ":" in text) and any(
        is_secret_name(match[1])
        for match in re.finditer(_PAIR, text)
        if not _is_scheme(text, match)
    )


def is_suspect(name: str, value: Any) -> bool:
    """Whether a named value is one that may not be stored; numbers pass unless the name is plain."""
    if value is None or isinstance(value, Public | bool | date):
        return False
    if isinstance(value, str):
        return bool(value) and (is_secret_name(name) or looks_secret(value))
    return _is_word(name) if isinstance(value, int | float) else is_secret_name(name)


def refuse_parameter(name: str, value: Any, kind: type[MapredError]) -> None:
    """Raise an error for a parameter that may not be stored; it shows nothing of the value."""
    if is_suspect(name, value):
        raise kind(
            f"parameter {name} looks like a secret, and parameters are stored and visible to "
            "others: have the function read it from os.environ or from a secret store, and pass the "
            f"name of the variable, as in {name}_variable='NAME'; or write {name}="
            "mapred.public('…') if all may see it"
        )


def contains_secret(value: Any) -> bool:
    """Whether a text in nested mappings and lists looks like a secret, whatever its name."""
    if isinstance(value, Mapping):
        return any(map(contains_secret, value.values()))
    if isinstance(value, list | tuple):
        return any(map(contains_secret, value))
    return isinstance(value, str) and looks_secret(value)


def find_secret(value: Any, name: str = "") -> str | None:
    """Where a secret is in nested mappings and lists: its name; None where there is none.

    A mapping with `name` and `value`, as Kubernetes writes variables, counts as one named value.
    """
    if isinstance(value, Mapping):
        own = value.get("name")
        for key, inner in value.items():
            label = own if key == "value" and isinstance(own, str) else str(key)
            if (secret := find_secret(inner, label)) is not None:
                return secret
        return None
    if isinstance(value, list | tuple):
        return next(
            (secret for item in value if (secret := find_secret(item, name)) is not None), None
        )
    return name if isinstance(value, str) and is_suspect(name, value) else None


def find_url_secret(url: str) -> str | None:
    """Return what a URL, or one that is chained in it by `::`, holds that is secret, in words."""
    if isinstance(url, Public) or ":/" not in url:
        return None
    for part in dict.fromkeys((url, *url.split("::"))):
        match = re.search(_URL, part)
        if match is None:
            continue
        scheme, slashes, rest = match[1].lower(), match[2], match[3]
        if _has_login(scheme, slashes, rest) or _has_login(scheme, slashes, _percent_decode(rest)):
            return "a login"
        if name := _secret_query(rest):
            return f"the secret {name!r} in its query"
    return None


def refuse_urls(urls: Sequence[str], what: str, kind: type[MapredError], instead: str) -> None:
    """Raise an error for a URL that holds a secret; it shows nothing of the URL."""
    together = "\n".join(urls)
    if ":/" not in together or not any(mark in together for mark in (*_URL_MARKS, *_MARKS)):
        return
    for url in urls:
        if isinstance(url, Public) or ":/" not in url:
            continue
        held = find_url_secret(url) or (
            "what looks like a key or a token" if _has_form(url) else None
        )
        if held is not None:
            raise kind(f"{what} holds {held}, which would be stored and shown: {instead}")


def refuse_endpoint(endpoint: str, what: str, kind: type[MapredError]) -> None:
    """Raise an error for an endpoint, with or without a scheme, that holds a secret."""
    url = endpoint if "://" in endpoint else f"https://{endpoint}"
    refuse_urls((url,), what, kind, "name the host alone, and give credentials by their variables")


def redact_urls(text: str) -> str:
    """Return a text of others, such as an error's, without logins and signatures in its URLs."""
    if "://" not in text:
        return text
    text = re.sub(r"(?<=://)([^\s/@'\"]*)@", _without_login, text)
    return re.sub(r"([?&;])([\w.%-]+)=([^\s&;'\")]*)", _without_value, text)


def mask(text: str, *, code: bool = False) -> str:
    """Return a text of others with "…" for what looks like a secret in it.

    In `code` a name or a call stays, since it says where a value comes from. Masked as well is what
    variables of this process hold whose names are those of secrets.
    """
    for name, value in os.environ.items():
        if len(value) >= _LEAST_HIDDEN and is_secret_name(name) and value in text:
            text = text.replace(value, "…")
    text = re.sub(_PRIVATE_KEY, "…", redact_urls(text))
    if any(mark in text for mark in _MARKS):
        text = re.sub(rf"(?:{'|'.join(_FORMS)})[\w.+/=~-]*", "…", text)
    text = re.sub(_KEY_LENGTH, lambda key: "…" if re.fullmatch(_BASE64, key[0]) else key[0], text)
    return _mask_pairs(text, code)


def _mask_pairs(text: str, code: bool) -> str:
    """Mask values by their names; behind any other name may be a pair, as in `Error: token=…`."""
    names, values = re.compile(_NAMED), re.compile(_VALUE)
    parts, done, at = [], 0, 0
    while named := names.search(text, at):
        at = named.end("name")
        found = values.match(text, named.end()) if is_secret_name(named["name"]) else None
        if found is None:
            continue
        scheme = named["between"].startswith(":") and found["value"].startswith("//")
        if not scheme and not (code and re.fullmatch(_EXPRESSION, found["value"])):
            parts += [text[done : named.end()], "…"]
            done = at = found.end()
    return "".join([*parts, text[done:]])


def _without_login(match: re.Match[str]) -> str:
    before = match.string[max(0, match.start() - 8) : match.start() - len("://")]
    container = before.lower().endswith(_CONTAINERS) and ":" not in match[1]
    return match[0] if container else ""


def _without_value(match: re.Match[str]) -> str:
    start, name = match[1], match[2]
    return f"{start}{name}=…" if _secret_query(f"?{name}={match[3]}") else match[0]


def _is_word(name: str) -> bool:
    """Whether a name speaks of a secret in full, so that even a number under it is one."""
    words = [word.lower() for word in re.findall(_WORD, name)]
    return bool(words) and words[-1] not in _ABOUT and not _WORDS.isdisjoint(words)


def _is_scheme(text: str, match: re.Match[str]) -> bool:
    return text.startswith("://", match.end(1))


def _urls(text: str) -> Iterator[str]:
    for match in re.finditer(r"(?<![\w+.:-])[\w+.:-]{1,255}:/[^\s\"'<>]+", text):
        yield match[0]


def _percent_decode(text: str) -> str:
    """Without percent-encoding, be it twice."""
    if "%" not in text:
        return text
    return str(parse.unquote(parse.unquote(text)))


def _has_login(scheme: str, slashes: str, rest: str) -> bool:
    # With one slash it is a URL that was written wrong, or a list of paths such as PATH.
    if slashes != "//" and scheme not in _NETWORK:
        return False
    head = rest.partition("/")[0]
    if "@" in head:
        user = head.rpartition("@")[0]
        if scheme in _CONTAINERS:
            return ":" in user
        if scheme == "github":  # github://owner:repository@branch/path
            return user.count(":") != 1
        return scheme not in _USERS or not re.fullmatch(r"[a-z_][a-z0-9_.-]{0,31}", user)
    if "@" not in rest or ":" not in head or scheme == "github":
        return False
    # A password with a slash in it; behind a host, the colon comes before a port.
    return scheme in _BUCKETS or not re.fullmatch(
        r"[^:]+:\d{1,5}|\[[0-9a-fA-F:]+\](:\d{1,5})?", head
    )


def _secret_query(rest: str) -> str | None:
    """Return the name of a query's parameter (or a fragment's) that is, or is given, a secret."""
    _, mark, query = rest.partition("?")
    fragment = rest.partition("#")[2]
    for pair in re.split("[&;#?]", query if mark else fragment):
        name, equals, value = pair.partition("=")
        name, value = _percent_decode(name), _percent_decode(value)
        lower = name.lower()
        if lower in _HARMLESS_QUERIES or not equals:
            continue
        if lower.startswith(_SIGNED) or lower in _OF_QUERIES or is_secret_name(name):
            return name
        if _has_form(value):
            return name
    return None
