"""Secrets are refused where they would be stored or shown, and no error repeats them."""

from __future__ import annotations

import ast
import dataclasses
import http.server
import json
import linecache
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import mapred
from mapred.backends.argo.claims import claim
from mapred.cli import main
from mapred.errors import DatasetError, MapredError, StorageError
from mapred.functions import excerpts, transport
from mapred.functions.declared import Parameter
from mapred.model.coding import read
from mapred.model.resources import Resources
from mapred.process import secrecy
from mapred.storage import allowed, open_store

PLANTED = "Pl4ntedHush"

# Names whose values are secrets, and names that only sound so.
SECRET_NAMES = (
    "PGPASSWORD OPENAI_API_KEY WANDB_API_KEY AZURE_STORAGE_KEY AZURE_STORAGE_CONNECTION_STRING "
    "GITHUB_PAT MYSQL_PWD DB_PASS SECRETKEY SNOWFLAKE_PRIVATE_KEY HF_TOKEN AWS_SECRET_ACCESS_KEY "
    "apiKey password db_password token client_secret SECRET_KEY_BASE dbpassword sig SENTRY_DSN "
    "SSHPASS dbpwd CONN_STR passkey FERNET_KEY SSH_KEY VAULT_SECRET_ID accessToken DB_PW ACCESSKEY HTTP_AUTH"
).split()
PLAIN_NAMES = (
    "TOKENIZERS_PARALLELISM AWS_WEB_IDENTITY_TOKEN_FILE OMP_NUM_THREADS max_tokens n_tokens key "
    "join_key partition_key PWD password_column token_count AWS_ACCESS_KEY_ID secretary KEYBOARD "
    "author path bypass monkey city"
).split()
# URLs with a secret in them, and URLs without.
SECRET_URLS = [
    f"s3://AKIA:{PLANTED}/K7MD@bucket/x.txt",
    f"s3://key:{PLANTED}@bucket/x",
    f"S3://key:{PLANTED}/a/b@bucket/x",
    f"s3://key:12/{PLANTED}@bucket/x",
    f"oss://key:a::{PLANTED}@bucket/x",
    f"http://ghp_{PLANTED}@host/x",
    f"HTTPS://me:{PLANTED}@host/x",
    f"https://me:{PLANTED}%2Fx@host/x",
    f"https://me%3A{PLANTED}%40host/x",
    f"https:/me:{PLANTED}@host/x",
    f"simplecache::https://me:{PLANTED}@host/x",
    f"zip://*.csv::https://me:{PLANTED}/q@host/x.zip",
    f"abfs://container:{PLANTED}@account/x",
    f"sftp://me:{PLANTED}@host/x",
    f"https://host/x?access_token={PLANTED}",
    f"https://host/x?X-Amz-Security-Token={PLANTED}",
    f"https://host/x?X-Amz-Signature={PLANTED}",
    f"https://host/x?apikey={PLANTED}",
    f"https://host/x?a=1&key={PLANTED}",
    f"https://account.blob.core.windows.net/c/x?sv=1&SIG={PLANTED}",
    f"https://host/x?%73ig={PLANTED}",
    f"https://host/x?a=1;token={PLANTED}",
    f"https://host/x?sessionid={PLANTED}",
    f"https://host/x?OSSAccessKeyId=a&Signature={PLANTED}",
    f"https://host/x#access_token={PLANTED}",
    f"gs://bucket/x?X-Goog-Signature={PLANTED}",
    f"https://host/x?page=ghp_{PLANTED}",
    f"https://host/glpat-{PLANTED}/x",
]
PLAIN_URLS = (
    "s3://b/a@b/x s3://bucket/day=3/token=4/x.parquet http://host:8080/a@b "
    "abfs://c@acc.dfs.core.windows.net/x sftp://me@h/x https://h/x?page=2 file:///home/a:b@c/x "
    "github://o:r@main/x s3://b/x?.csv http://[::1]:90/a@b memory://x hdfs://nn:8020/u@v /a/b@c "
    "C:/a@b https://h/x?x-oss-process=resize s3://b/part-?/x=1 s3://team/gh/robots/skip-SKU"
).split()
SECRET_TEXTS = [
    f"postgres://me:{PLANTED}@host",
    f"ghp_{PLANTED}",
    f"github_pat_{PLANTED}",
    "AKIA" + PLANTED.upper() + "00000",
    f"sk-proj-{PLANTED}00000",
    f"sk_live_{PLANTED}",
    "sk-" + f"{PLANTED}".replace("4", "a") * 2,
    f"{PLANTED * 7}{'x' * 9}==",
    f"eyJhbGciOi.{PLANTED}.x",
    f"-----BEGIN RSA PRIVATE KEY-----\n{PLANTED}",
    f"wJalrXUtnFEMI/K7MDENG/bPx{PLANTED}KEYA",
    f"Server=x;Password={PLANTED};",
    f"host=h password={PLANTED}",
    f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={PLANTED}==;",
    f"Bearer {PLANTED}",
    f"https://hooks.slack.com/services/T/B/{PLANTED}",
    json.dumps({"auths": {"host": {"auth": PLANTED}}}),
    f"see https://me:{PLANTED}@host here",
]
PLAIN_TEXTS = [
    "batch",
    "s3://b/x",
    "2026-01-01",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "http://host:9000",
    "TOKEN=$TOKEN program",
    "key=value",
    "me@example.com",
    "max_tokens=5",
    "550e8400-e29b-41d4-a716-446655440000",
    "scikit-learn>=1.5",
    "token://x",
    "/usr/lib:/b@1:/opt/c@2/bin",
    "1:30@x",
]


def test_names_and_texts_are_judged_in_one_place() -> None:
    assert [name for name in SECRET_NAMES if not secrecy.is_secret_name(name)] == []
    assert [name for name in PLAIN_NAMES if secrecy.is_secret_name(name)] == []
    assert [url for url in SECRET_URLS if not _is_refused(url)] == []
    assert [url for url in PLAIN_URLS if _is_refused(url)] == []
    assert [text for text in SECRET_TEXTS if not secrecy.looks_secret(text)] == []
    assert [text for text in PLAIN_TEXTS if secrecy.looks_secret(text)] == []
    assert not secrecy.looks_secret(secrecy.public(SECRET_TEXTS[0]))


def test_long_texts_are_looked_through_in_one_go() -> None:
    began = time.process_time()
    for text in (
        "x",
        "a.",
        "a-",
        "://",
        "a:/",
        "sk-",
        "eyJ-",
        "password ",
        "a=",
        "?a=",
        "-----BEGIN ",
    ):
        many = text * 3_000
        assert not secrecy.looks_secret(many)
        assert not secrecy.find_url_secret(f"s3://bucket/{many}")
        secrecy.redact_urls(f"https://host/{many}")
    assert time.process_time() - began < 5


def _is_refused(url: str) -> bool:
    try:
        secrecy.refuse_urls(("/a/path", url), "it", MapredError, "leave it out")
    except MapredError as error:
        return PLANTED not in str(error)
    return False


def cli(*words: str) -> None:
    """Run the command line; what it prints becomes an error, so that it is looked through."""
    told = CliRunner().invoke(main, list(words))
    assert told.exit_code, told.output
    raise MapredError(f"{told.output}{told.exception!r}")


# Where a URL can be given.
DOORS: dict[str, Callable[[str], Any]] = {
    "dataset": mapred.plan,
    "read_csv": lambda url: mapred.read_csv(["/a", url]),
    "files": lambda url: mapred.files([url]),
    "root": lambda url: mapred.run(abs, mapred.array(1), root=url, progress="none"),
    "submit": lambda url: mapred.submit(abs, mapred.array(1), root=url),
    "render": lambda url: mapred.job(abs, mapred.array(1)).render(root=url),
    "write_parquet": mapred.write_parquet,
    "write_delta": mapred.write_delta,
    "open": mapred.open,
    "open by root": lambda url: mapred.open("last", root=url),
    "runs": mapred.runs,
    "gc": mapred.gc,
    "rm": mapred.rm,
    "endpoint": lambda url: mapred.Argo(endpoint=url),
    "server": lambda url: mapred.Argo(server=url),
    "root of a backend": lambda url: mapred.submit(
        abs, mapred.array(1), backend=mapred.Argo(root=url)
    ),
    "storage option": lambda url: mapred.read_text(
        "s3://b/x", storage_options={"client_kwargs": {"endpoint_url": url}}
    ),
    "dask": mapred.Dask,
    "on_failure": lambda url: mapred.schedule(
        mapred.job(abs, mapred.array(1)), "0 3 * * *", on_failure=url, backend=mapred.Argo()
    ),
    "on_failure of a program": lambda url: mapred.schedule(
        mapred.job(abs, mapred.array(1)),
        "0 3 * * *",
        on_failure=["curl", url],
        backend=mapred.Argo(),
    ),
    "root of a schedule": lambda url: mapred.schedule(
        mapred.job(abs, mapred.array(1)), "0 3 * * *", root=url, backend=mapred.Argo()
    ),
    "root of a deployment": lambda url: mapred.job(abs, mapred.array(1)).deploy(
        root=url, backend=mapred.Argo()
    ),
    "default of a deployment": lambda url: mapred.job(lambda x, place: x, mapred.array(1)).deploy(
        params={"place": url}, backend=mapred.Argo()
    ),
    "description of a deployment": lambda url: mapred.job(abs, mapred.array(1)).deploy(
        description=f"see {url}", backend=mapred.Argo()
    ),
    "value of a start": lambda url: mapred.Deployment(
        "x", "x", "/runs", "d1", parameters=(Parameter("place"),), backend=mapred.Argo()
    ).start(place=url),
    "env": lambda url: Resources(env={"PLACE": url}),
    "sweep": lambda url: mapred.sweep(place=["a", url]),
    "name": lambda url: mapred.job(abs, mapred.array(1), name=url),
    "packages": lambda url: mapred.Argo(packages=("numpy", f"pack @ {url}")),
    "image": lambda url: mapred.Argo(image=url),
    "claim": lambda url: claim("corpus", url, endpoint="oss-cn-hangzhou.aliyuncs.com"),
    "endpoint of a claim": lambda url: claim("corpus", "oss://b/x", endpoint=url),
    "parameter": lambda url: mapred.job(lambda x, place: x, mapred.array(1)).bind(place=url),
    "command": lambda url: mapred.command(["curl", url]),
    "plan": lambda url: cli("plan", url),
    "run --root": lambda url: cli("run", "math:sqrt", __file__, "--root", url),
    "show": lambda url: cli("show", url),
    "run --param": lambda url: cli("run", "math:sqrt", __file__, "--param", f"x={url}"),
    "ls": lambda url: cli("ls", "--root", url),
    "audit": lambda url: cli("audit", url),
    "rm on the command line": lambda url: cli("rm", "--yes", url),
    "resume": lambda url: cli("resume", url),
    "logs": lambda url: cli("logs", url),
}


@pytest.mark.parametrize("door", DOORS)
def test_no_url_with_a_secret_gets_in_or_is_shown(
    door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAPRED_ROOT", str(tmp_path))
    for url in SECRET_URLS[::3]:
        with pytest.raises(MapredError) as caught:
            DOORS[door](url)
        seen: BaseException | None = caught.value
        while seen is not None:
            assert PLANTED not in f"{seen} {seen!r}", url
            seen = seen.__cause__
    assert list(tmp_path.rglob("*")) == []


SCRIPT = f'''
import mapred
DB_PASSWORD = "{PLANTED}-1"
OTHER, count = "{PLANTED}-2", lambda x: used + x; THIRD = "{PLANTED}-3"
used = 1  # {PLANTED}-4

# {PLANTED}-5
def fails(x):
    """Fail."""
    def inner(y):
        return (
            1 / y
        )
    return inner(x - x)  # its own line
print("{PLANTED}-6"[:0])

class Counts:
    def __call__(self, x):
        return count(x)
FOURTH = "{PLANTED}-7"

if __name__ == "__main__":
    print(mapred.run(count, mapred.array(2), progress="none").result())
    print(mapred.run(Counts, mapred.array(2), progress="none").result())
    try:
        mapred.run(fails, mapred.array(1), attempts=1, progress="none")
    except mapred.RunError as error:
        print(error, error.run.failures, error.run.logs())
'''


def test_a_pickle_holds_the_lines_of_its_function_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = SCRIPT.splitlines(keepends=True)
    monkeypatch.setitem(linecache.cache, "<cell>", (len(SCRIPT), None, lines, "<cell>"))
    names: dict[str, Any] = {"__name__": "cell_of_test"}
    exec(compile(SCRIPT, "<cell>", "exec"), names)
    for name, line in (("fails", "own line"), ("Counts", "return count(x)"), ("count", "used + x")):
        data = transport.dump(names[name])
        assert PLANTED.encode() not in data
        assert line.encode() in data


@pytest.mark.slow
def test_a_function_travels_without_the_rest_of_its_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    env = {**os.environ, "MAPRED_ROOT": str(tmp_path / "runs")}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "[1, 2]\n[1, 2]" in done.stdout
    assert "return inner(x - x)  # its own line" in done.stdout
    assert "1 / y" in done.stdout
    assert PLANTED not in done.stdout + done.stderr
    files = [file for file in (tmp_path / "runs").rglob("*") if file.is_file()]
    assert any(b"its own line" in file.read_bytes() for file in files)
    assert [file for file in files if PLANTED.encode() in file.read_bytes()] == []


def test_lines_keep_their_numbers_and_may_be_of_several_functions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "a = 1\ndef one():\n    pass\nb = 2\n@str\n@(lambda g: g)\ndef two(): return 1\nc = 3\n"
    codes = {
        code.co_name: code
        for code in compile(text, "m", "exec").co_consts
        if hasattr(code, "co_name")
    }
    assert excerpts.excerpt(text, [codes["one"]]) == "\ndef one():\n    pass\n"
    two = "\n\n\n\n@str\n@(lambda g: g)\ndef two(): return 1\n"
    assert excerpts.excerpt(text, [codes["two"]]) == two
    # What was edited since stands elsewhere: nothing of it is taken.
    assert excerpts.excerpt(f"x = 1\n{text}"[:12], [codes["one"]]) == ""
    name = str(tmp_path / "gone.py")
    excerpts.place(name, excerpts.excerpt(text, [codes["one"]]))
    excerpts.place(name, two)
    assert (
        "".join(linecache.getlines(name))
        == "\ndef one():\n    pass\n\n@str\n@(lambda g: g)\ndef two(): return 1\n"
    )


def test_an_edit_is_noticed_by_its_digest(tmp_path: Path) -> None:
    assert excerpts.digest("a = 1\n") == excerpts.digest("a = 1\n\n") != excerpts.digest("a = 2\n")


OPTIONS = [
    {"key": PLANTED},
    {"secret": PLANTED},
    {"token": PLANTED},
    {"pat": PLANTED},
    {"bearer": PLANTED},
    {"jwt": PLANTED},
    {"pkey": PLANTED},
    {"private_pem": PLANTED},
    {"sse_c": PLANTED},
    {"whatever": PLANTED},
    {"number": 5},
    {"headers": {"X-Vault": PLANTED}},
    {"headers": {"X-Auth-Key": PLANTED}},
    {"headers": {"x-functions-key": PLANTED}},
    {"headers": {"region": PLANTED}},
    {"client_kwargs": {"aws_secret_access_key": PLANTED}},
    {"region": f"ghp_{PLANTED}"},
    {"own": {"region": PLANTED}},
    {"s3": {"key": PLANTED}},
    {"cache_options": [{"secret": PLANTED}]},
]


@pytest.mark.parametrize("scheme", ["s3", "oss", "gs", "az", "http", "file", "memory", "own"])
def test_options_that_are_not_known_to_be_harmless_are_refused(scheme: str) -> None:
    for options in OPTIONS:
        with pytest.raises(DatasetError, match=r"storage_options=\{.*'\$[A-Z0-9_]+'") as caught:
            mapred.read_text(f"{scheme}://b/x", storage_options=options)
        assert PLANTED not in str(caught.value)
        said = re.search(r"storage_options=(\{.*?\}+),", str(caught.value))
        assert said is not None
        mapred.read_text(f"{scheme}://b/x", storage_options=ast.literal_eval(said[1]))
    with pytest.raises(DatasetError):
        mapred.read_text(f"simplecache::{scheme}://b/x", storage_options={scheme: {"key": PLANTED}})


def test_harmless_options_travel_and_references_are_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {
        "anon": False,
        "profile": "team",
        "client_kwargs": {"endpoint_url": "http://host:9000", "region_name": "eu"},
        "config_kwargs": {"s3": {"addressing_style": "path"}, "connect_timeout": 5},
        "key": "$HUSH_KEY",
        "mine": mapred.public("anything"),
    }
    kept = mapred.read_text("s3://b/x", storage_options=options).options.storage
    assert kept is not None
    assert json.loads(json.dumps(kept["options"])) == options
    monkeypatch.setenv("HUSH_KEY", PLANTED)
    assert allowed.resolve_references(kept["options"])["key"] == PLANTED
    assert PLANTED not in json.dumps(kept)
    monkeypatch.delenv("HUSH_KEY")
    with pytest.raises(DatasetError, match="no variable HUSH_KEY in this process"):
        allowed.resolve_references(kept["options"])


@pytest.mark.parametrize(
    "variable",
    [
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "OSS_ENDPOINT",
        "AZURE_ENDPOINT",
        "GOOGLE_BASE_URL",
    ],
)
def test_endpoints_with_a_login_are_refused_and_not_shown(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("obstore")
    monkeypatch.setenv("OSS_REGION", "cn-hangzhou")
    scheme = {"AWS": "s3", "OSS": "oss", "AZU": "az", "GOO": "gs"}[variable[:3]]
    for url in (f"http://me:{PLANTED}@127.0.0.1:9", f"http://127.0.0.1:9/?token={PLANTED}"):
        monkeypatch.setenv(variable, url)
        with pytest.raises(StorageError, match=r"ENDPOINT|GOOGLE_BASE_URL") as caught:
            open_store(f"{scheme}://bucket/runs").read("x")
        assert PLANTED not in str(caught.value)


def test_what_others_say_is_shown_without_logins() -> None:
    said = f"error sending request for url (http://me:{PLANTED}@host:9/x?sig={PLANTED}&page=2)"
    assert (
        secrecy.redact_urls(said) == "error sending request for url (http://host:9/x?sig=…&page=2)"
    )
    assert secrecy.redact_urls("no/url@all?sig=x") == "no/url@all?sig=x"


def test_variables_and_parameters_that_look_like_secrets_are_refused_unless_public() -> None:
    for name, value in [
        *((name, PLANTED) for name in SECRET_NAMES),
        *((f"X{number}", text) for number, text in enumerate(SECRET_TEXTS)),
    ]:
        with pytest.raises(mapred.PlanError, match=r"secrets=.*mapred\.public") as caught:
            Resources(env={name: value})
        assert PLANTED not in str(caught.value)
        with pytest.raises(mapred.FunctionError, match=r"mapred\.public") as refused:
            mapred.command(["true"], env={name: value})
        assert PLANTED not in str(refused.value)
        public = mapred.public(value)
        assert mapred.command(["a", public], env={name: public}).env == ((name, value),)
        job = mapred.job(_takes_any, mapred.array(1), name=public)
        with pytest.raises(mapred.PlanError, match=r"_variable=.*mapred\.public") as told:
            job.bind(**{name: value})
        assert PLANTED not in str(told.value)
        assert job.bind(**{name: mapred.public(value)}).bound == {name: value}
        asked = Resources(env={name: mapred.public(value)})
        assert asked.env == {name: value}
        # Runs of before are read, whatever they hold.
        assert read(Resources, json.loads(json.dumps(dataclasses.asdict(asked))), "x") == asked
    assert Resources(env=dict.fromkeys(PLAIN_NAMES, "1"))


def test_what_is_filled_by_parameters_is_looked_at_again() -> None:
    logs = mapred.read_text("s3://{place}/x?{what}")
    job = mapred.job(list, logs)
    assert job.bind(place="b", what="y=1").dataset.uris == ("s3://b/x?y=1",)  # type: ignore[union-attr]
    for place, what in ((f"k:{PLANTED}@b", "y=1"), ("b", f"k={PLANTED}&sig=1")):
        with pytest.raises(MapredError) as caught:
            job.bind(place=place, what=what)
        assert PLANTED not in str(caught.value)


@pytest.mark.parametrize(
    "value", [PLANTED, PLANTED.encode(), [PLANTED], {"a": PLANTED}, 1234, 1.5], ids=repr
)
def test_a_value_of_any_type_is_not_shown_under_the_name_of_a_secret(value: Any) -> None:
    for call in (
        lambda: mapred.job(_takes_any, mapred.array(1)).bind(password=value),
        lambda: mapred.sweep(password=value),
        lambda: mapred.sweep(x=[1, 2], password=[value, value]),
        lambda: Resources(env={"PASSWORD": value}),
        lambda: mapred.command(["true"], env={"PASSWORD": value}),
    ):
        with pytest.raises(MapredError) as caught:
            call()
        assert PLANTED not in str(caught.value)
        assert "1234" not in str(caught.value)
    assert mapred.sweep(token_count=[1, 2], max_tokens=5)


def _takes_any(x: int, **more: Any) -> int:
    return x


@pytest.mark.parametrize(
    "asked",
    [
        {"annotations": {"note": f"ghp_{PLANTED}"}},
        {"labels": {"token": PLANTED}},
        {"pod_spec_patch": {"containers": [{"env": [{"name": "PGPASSWORD", "value": PLANTED}]}]}},
        {"pod_spec_patch": {"note": {"dbPassword": PLANTED}}},
    ],
)
def test_what_pods_show_holds_no_secret(asked: dict[str, Any]) -> None:
    with pytest.raises(mapred.PlanError, match=r"visible to others.*mapred\.public") as caught:
        Resources(**asked)
    assert PLANTED not in str(caught.value)
    by_reference = {"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    assert Resources(pod_spec_patch={"containers": [{"env": [by_reference]}]})


@pytest.mark.parametrize(
    "toml",
    [
        'root = "URL"',
        'endpoint = "URL"',
        'server = "URL"',
        'annotations = {note = "URL"}',
        'labels = {password = "hush"}\nroot = "s3://b/URL"',
        'pod_spec_patch = {env = [{name = "A", value = "URL"}]}',
    ],
)
def test_what_a_file_or_the_environment_says_is_looked_at_too(
    toml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in (SECRET_URLS[0], f"https://me:{PLANTED}@host/x", f"https://h/?sig={PLANTED}"):
        (tmp_path / "mapred.toml").write_text(f"[backend.argo]\n{toml.replace('URL', url)}\n")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(MapredError) as caught:
            mapred.submit(abs, mapred.array(1), backend="argo")
        assert PLANTED not in f"{caught.value} {caught.value!r}"
        monkeypatch.setenv("MAPRED_ROOT", url)
        for call in (lambda: mapred.submit(abs, mapred.array(1)), mapred.runs, mapred.gc):
            with pytest.raises(MapredError) as refused:
                call()
            assert PLANTED not in f"{refused.value} {refused.value!r}"


class Guarded(http.server.BaseHTTPRequestHandler):
    """Three lines for those who know the password."""

    def do_GET(self) -> None:
        data = b"one\ntwo\nthree\n"
        known = self.headers["Authorization"] == PLANTED
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_HEAD = do_GET

    def log_message(self, *arguments: Any) -> None:
        return


@pytest.fixture
def guarded() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_password_by_reference_reaches_the_workers_and_nothing_else(
    guarded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("AUTHORIZATION", PLANTED)
    options = {"headers": {"Authorization": "$AUTHORIZATION"}}
    text = mapred.read_text(f"{guarded}/x.txt", storage_options=options)
    run = mapred.run(list, text, root=tmp_path, progress="none")
    assert run.result() == [["one", "two", "three"]]
    said = [repr(run), str(run), repr(text), repr(mapred.plan(text)), run.logs(), str(run.audit())]
    said += [str(mapred.job(list, text)), json.dumps(run._repr_mimebundle_())]
    monkeypatch.delenv("AUTHORIZATION")
    for refused in ("no variable AUTHORIZATION", "401"):
        with pytest.raises(MapredError, match=refused) as caught:
            mapred.run(list, text, root=tmp_path, progress="none")
        said.append(f"{caught.value} {caught.value!r}")
        monkeypatch.setenv("AUTHORIZATION", "other")
    said += capfd.readouterr()
    assert PLANTED not in "".join(said)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert [file for file in files if PLANTED.encode() in file.read_bytes()] == []


MASKED = (
    ("token=ghp_abcdefgh12345678", "token=…"),
    ("password=bar", "password=…"),
    ("key is ghp_abcdefgh12345678, then", "key is …, then"),
    ('{"password": "hunter2", "user": "me"}', '{"password": …, "user": "me"}'),
    ("PGPASSWORD='correct horse' psql", "PGPASSWORD=… psql"),
    ("https://me:pw@host/x?sig=abc", "https://host/x?sig=…"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nafter", "…\nafter"),
    ("Bearer abcdefghijkl.mno", "…"),
    ("key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY.", "key …."),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.c2lnbmF0dXJl", "…"),
)
UNMASKED = (
    "plain text, 3 tokens: a, b",
    "https://host/x?page=2",
    "monkey=banana",
    "KeyError: 'name'",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
)


@pytest.mark.parametrize(("text", "shown"), MASKED)
def test_what_looks_secret_in_a_text_of_others_is_masked(text: str, shown: str) -> None:
    assert secrecy.mask(text) == shown
    assert secrecy.mask(f"before\n{text}\nafter") == f"before\n{shown}\nafter"


def test_a_pair_behind_another_name_is_masked() -> None:
    for text in ("ValueError: password=abc", "a=b: token: 'abc'", "x: str = y = api_key=abc"):
        assert "abc" not in secrecy.mask(text)
    for name in ("TokenError", "jwt.InvalidTokenError", "CredentialsWarning"):
        assert secrecy.mask(f"{name}: expired") == f"{name}: expired"


def test_the_container_of_a_path_is_not_a_login() -> None:
    assert secrecy.mask("no abfss://data@acc.net/x") == "no abfss://data@acc.net/x"
    assert secrecy.mask("no abfss://data:hush@acc.net/x") == "no abfss://acc.net/x"


@pytest.mark.parametrize("text", UNMASKED)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert secrecy.mask(text) == text
    assert secrecy.mask(text, code=True) == text


def test_in_code_where_a_secret_comes_from_stays() -> None:
    kept = 'token = os.environ["TOKEN"]\ndef f(password: str, token=None): return g(token=token)\n'
    assert secrecy.mask(kept, code=True) == kept
    for line in ('API_TOKEN: str = "abc"', "password='abc'", 'print("password=swordfish-1")'):
        assert "…" in secrecy.mask(line, code=True)


def test_values_of_secret_variables_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "correct horse battery")
    monkeypatch.setenv("API_KEY", "short")
    assert secrecy.mask("it says correct horse battery, in short") == "it says …, in short"


def test_a_long_text_is_masked_in_little_time() -> None:
    for unit in ("a" * 30, "password=", "://", "-----BEGIN ", "eyJ", "=:", "x.y-z ", "token: str "):
        started = time.perf_counter()
        secrecy.mask(unit * (100_000 // len(unit)))
        assert time.perf_counter() - started < 1.5, unit
