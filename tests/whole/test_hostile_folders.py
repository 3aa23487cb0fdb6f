"""A run's folder that an attacker wrote: looking at it runs, sends, opens and removes nothing."""

from __future__ import annotations

import base64
import copy
import json
import os
import pickle
import random
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from testbed.canaries import MODULE, SECRET, VARIABLE, Canaries, armed

import mapred
from mapred.cli import main
from mapred.model.checksums import add_seal
from mapred.planner import plan_schema, write_plan

Json = Any


def table_of(item: int) -> pa.Table:
    return pa.table({"n": [item]})


def noted(item: int, task: mapred.Task) -> Any:
    print("printed", item)
    task.output("note.txt").write_text("x")
    if item == 2:
        raise ValueError("two")
    return {"n": [item] * 20_000} if item else item


def same(table: pa.Table) -> pa.Table:
    return table


def make(kind: str, base: Path) -> None:
    """A run of a kind, in a root of its own."""
    inline: dict[str, Any] = {"backend": "inline", "progress": "none", "root": base / kind}
    parquet = f"{base}/*.parquet"
    if kind == "failed":
        with pytest.raises(mapred.RunError):
            mapred.run(noted, range(3), attempts=1, **inline)
    elif kind == "pickles":
        mapred.run(noted, [0, 1, 2], attempts=1, max_failed=1, **inline)
    elif kind == "tables":
        mapred.run(same, parquet, **inline)
    elif kind == "keyed":
        mapred.run(same, parquet, by="k", aggregate={"v": "sum"}, **inline)
    else:
        mapred.run(same, parquet, write=mapred.write_parquet(f"{base}/lake"), **inline)


class Made:
    """A run of every kind, made when it is first asked for."""

    def __init__(self, base: Path) -> None:
        self._base = base
        pq.write_table(pa.table({"k": [1, 1, 2], "v": [1, 2, 3]}), base / "a.parquet")

    def root(self, kind: str) -> Path:
        if not (self._base / kind).exists():
            make(kind, self._base)
        return self._base / kind


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


@pytest.fixture
def canaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Canaries]:
    found = Canaries(tmp_path)
    monkeypatch.syspath_prepend(str(found.modules))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv(VARIABLE, SECRET)
    monkeypatch.setenv("MAPRED_STORAGE_TIMEOUT", "1")
    monkeypatch.chdir(tmp_path)
    yield found
    found.close()
    sys.modules.pop(MODULE, None)


class Folder:
    """The folder of a run, to be written to by an attacker."""

    def __init__(self, made: Made, kind: str, where: Path) -> None:
        shutil.copytree(made.root(kind), where / "runs")
        (self.path,) = (each for each in (where / "runs").iterdir() if each.name[0] == "2")
        self.root = where / "runs"

    def json(self, name: str) -> Json:
        return json.loads((self.path / name).read_text())

    def put(self, name: str, value: Json) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(json.dumps(value))

    def alter(self, name: str, **values: Any) -> None:
        self.put(name, self.json(name) | values)

    def follow(self, backend: Json, ref: str) -> None:
        """Have the run go on somewhere."""
        (self.path / "end.json").unlink(missing_ok=True)
        self.alter("job.json", backend=backend)
        self.put("handle.json", {"ref": ref, "state": "running", "time": 0})

    def first(self, glob: str) -> Path:
        return sorted(self.path.glob(glob))[0]


# What looks at a run, and at a root.
LOOKS: dict[str, Callable[[mapred.Run], Any]] = {
    "str": str,
    "repr": repr,
    "html": lambda run: run._repr_mimebundle_(),
    "state": lambda run: run.state,
    "counters": lambda run: run.counters,
    "failures": lambda run: str(run.failures),
    "check": lambda run: run.check(),
    "shards": lambda run: run.shards,
    "files": lambda run: run.files,
    "logs": lambda run: run.logs(),
    "audit": lambda run: str(run.audit()),
    "audit sizes": lambda run: str(run.audit(content=False)),
    "result": lambda run: str(run.result()),
    "outputs": lambda run: list(run.outputs(errors="skip", partial=True)),
    "completed": lambda run: list(run.as_completed(partial=True)),
    "partial": lambda run: run.to_pandas(partial=True),
    "to_pandas": lambda run: run.to_pandas(),
    "to_arrow": lambda run: run.to_arrow(),
    "write": lambda run: run.write_parquet("written"),
    "advise": lambda run: run.advise(),
    "plot": lambda run: run.plot()._repr_mimebundle_(),
    "report": lambda run: run.report("report.html").read_text(),
    "dry rm": lambda run: mapred.rm(run, dry_run=True),
}
COMMANDS = (
    ["ls"],
    ["ls", "--json"],
    ["show", "RUN"],
    ["show", "RUN", "--json"],
    ["logs", "RUN"],
    ["audit", "RUN"],
    ["audit", "RUN", "--json"],
    ["advise", "RUN"],
    ["report", "RUN", "-o", "report.html"],
    ["metrics"],
    ["rm", "RUN", "--dry-run"],
    ["gc", "--older-than", "1s", "--dry-run"],
    ["cancel", "RUN"],
    ["gc", "--older-than", "1s", "--yes"],
    ["rm", "RUN", "--yes"],
)


def look(folder: Folder, canaries: Canaries) -> str:
    """All that the public calls and commands tell of a folder, canaries looked at after each."""
    told = []
    for name, call in LOOKS.items():
        with armed(canaries):
            try:
                run = mapred.open(folder.path, allow_pickle=False)
                told.append(f"{call(run)}")
            except Exception as error:
                told.append(f"{name}: {type(error).__name__}: {error}")
        canaries.check()
    with armed(canaries):
        told.append(f"{mapred.runs(folder.root)}\n{mapred.runs(folder.root)._repr_html_()}")
    canaries.check()
    for words in COMMANDS:
        given = [str(folder.path) if word == "RUN" else word for word in words]
        where = [] if "RUN" in words else ["--root", str(folder.root)]
        with armed(canaries):
            done = CliRunner().invoke(main, [*given, *where])
        told.append(done.output)
        canaries.check()
        shown = done.output.replace("\n", "").replace("\t", "")
        assert all(each.isprintable() or each == " " for each in shown), (words, shown)
    return "\n".join(told)


# The doors: what an attacker does to a folder.


def kubeconfig(folder: Folder, canaries: Canaries) -> None:
    command = {"command": "sh", "args": ["-c", f"touch {canaries.tripwire}"]}
    exec_ = {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", **command}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [context],
        "clusters": [{"name": "c", "cluster": {"server": canaries.url}}],
        "users": [{"name": "u", "user": {"exec": exec_}}],
    }
    folder.put("k.yaml", config)
    arguments = {"kubeconfig": str(folder.path / "k.yaml")}
    folder.follow({"name": "argo", "arguments": arguments}, "argo:n:w")


def argo_server(folder: Folder, canaries: Canaries) -> None:
    arguments = {"server": canaries.url, "namespace": "n", "token_env": VARIABLE}
    folder.follow({"name": "argo", "arguments": arguments}, "argo:n:w")


def odd_workflow(folder: Folder, canaries: Canaries) -> None:
    folder.follow({"name": "argo", "arguments": {}}, "argo:../../api/v1/secrets:w?x=1")


def scheduler(folder: Folder, canaries: Canaries) -> None:
    arguments = {"address": f"tcp://127.0.0.1:{canaries.port}"}
    folder.follow({"name": "dask", "arguments": arguments}, "dask:elsewhere:17:5.00")


def _parquet(folder: Folder, path: str, **storage: Any) -> None:
    """Have the plan name a Parquet file; all digests are those of what lies there."""
    row = {"shard": [0], "path": [path], "offset": [0], "length": [9], "size": [9], "etag": [""]}
    table = pa.table({**row, "first": [0], "count": [1]}, schema=plan_schema())
    plan = bytes(write_plan(table))
    (folder.path / "plan/00000.parquet").write_bytes(plan)
    job = folder.json("job.json")
    job["format"] |= {"name": "parquet", "storage": storage or None}
    job["digests"]["plan/00000.parquet"] = sha256(plan)
    folder.put("job.json", job)


def sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def popen(folder: Folder, canaries: Canaries) -> None:
    options = {"args": ["sh", "-c", f"touch {canaries.tripwire}"]}
    _parquet(folder, "x://f", **{"class": "subprocess:Popen", "scheme": "x", "options": options})


def own_class(folder: Folder, canaries: Canaries) -> None:
    where = {"class": f"{MODULE}:Canary", "scheme": "s3", "options": {}}
    _parquet(folder, "s3://bucket/key", **where)


def endpoint(folder: Folder, canaries: Canaries) -> None:
    options = {"client_kwargs": {"endpoint_url": canaries.url}, "key": "a", "secret": "b"}
    _parquet(folder, "s3://bucket/key", **{"class": "", "scheme": "s3", "options": options})


def anonymous_endpoint(folder: Folder, canaries: Canaries) -> None:
    options = {"endpoint_url": canaries.url, "anon": True}
    _parquet(folder, "s3://bucket/key", **{"class": "", "scheme": "s3", "options": options})


def variable_in_headers(folder: Folder, canaries: Canaries) -> None:
    options = {"headers": {"Authorization": f"${VARIABLE}"}}
    where = {"class": "", "scheme": "http", "options": options}
    _parquet(folder, f"{canaries.url}/f.parquet", **where)


def url(folder: Folder, canaries: Canaries) -> None:
    _parquet(folder, f"{canaries.url}/f.parquet")


def chained_url(folder: Folder, canaries: Canaries) -> None:
    _parquet(folder, f"simplecache::{canaries.url}/f.parquet")


def pipe(folder: Folder, canaries: Canaries) -> None:
    os.mkfifo(folder.path / "pipe")
    _parquet(folder, str(folder.path / "pipe"))


def staging_elsewhere(folder: Folder, canaries: Canaries) -> None:
    (folder.root / "_staging").mkdir()
    value = {"uri": str(folder.root), "id": "../../outside/thesis"}
    folder.put("writes/a.json", value)


def removed(folder: Folder, canaries: Canaries) -> None:
    staging_elsewhere(folder, canaries)
    folder.put("removed.json", {"time": 0})


def links(folder: Folder, canaries: Canaries) -> None:
    """Logs, errors, data, commits and more lie behind links."""
    for folders in ("map/logs", "map/errors", "map/schemas", "writes", "result"):
        shutil.rmtree(folder.path / folders, ignore_errors=True)
        (folder.path / folders).symlink_to(canaries.outside)
    for glob in ("map/commits/*", "plan/*", "input/*", "map/data/*", "*.pkl"):
        for path in folder.path.glob(glob):
            path.unlink()
            path.symlink_to(canaries.secret)


def link_to_handle(folder: Folder, canaries: Canaries) -> None:
    for name in ("handle.json", "end.json", "failed.json"):
        (folder.path / name).unlink(missing_ok=True)
        (folder.path / name).symlink_to(canaries.secret)


def paths_in_commits(folder: Folder, canaries: Canaries) -> None:
    """Commits and the manifest name files outside, in every way."""
    ways = (str(canaries.secret), "../../outside/secret", "map/../../../outside/secret")
    for number, path in enumerate(sorted((folder.path / "map/commits").iterdir())):
        commit = json.loads(path.read_text())
        way = ways[number % len(ways)]
        commit["output"] |= {"kind": "pickle", "path": way, "size": 18, "inline": None, "count": 1}
        commit["files"] = [{"name": "x", "path": way, "size": 18, "crc32": 0}]
        path.write_bytes(_sealed(commit))
    if (folder.path / "result/manifest.json").exists():
        manifest = folder.json("result/manifest.json")
        for _, output, _ in manifest["tasks"]:
            if output:
                output |= {"kind": "arrow", "path": ways[1], "inline": None, "size": 18}
        folder.put("result/manifest.json", manifest)


def stage_names(folder: Folder, canaries: Canaries) -> None:
    job = folder.json("job.json")
    for stage in job["stages"]:
        stage["name"] = "../../outside/thesis"
    folder.put("job.json", job)


def digests_elsewhere(folder: Folder, canaries: Canaries) -> None:
    job = folder.json("job.json")
    job["digests"] = {str(canaries.secret): "0" * 64, "../../outside/secret": "0" * 64}
    job |= {"function": "../../outside/secret", "modules": "../../outside/secret"}
    folder.put("job.json", job)


class Call:
    """A pickle that calls a function of a module, by whatever name leads there."""

    def __init__(self, module: str, name: str, *arguments: Any) -> None:
        self.data = b"\x80\x04" + b"".join(
            [
                b"\x8c" + bytes([len(module)]) + module.encode(),
                b"\x8c" + bytes([len(name)]) + name.encode(),
                b"\x93",
                pickle.dumps(arguments, 2)[2:-1],
                b"R.",
            ]
        )


def _sealed(commit: Json) -> bytes:
    """A commit whose checksum fits: an attacker makes it anew."""
    rest = {key: value for key, value in commit.items() if key != "seal"}
    return add_seal(json.dumps(rest).encode())


def _inline(folder: Folder, data: bytes) -> None:
    """Have every value of the run be this pickle."""
    for path in folder.path.glob("*/commits/*.json"):
        commit = json.loads(path.read_text())
        values = {"kind": "inline", "inline": base64.b64encode(data).decode(), "path": None}
        sizes = {"size": len(data), "crc32": zlib.crc32(data)}
        commit["output"] |= {**values, "count": 1, "type": "object", **sizes}
        path.write_bytes(_sealed(commit))
    if (folder.path / "result/manifest.json").exists():
        manifest = folder.json("result/manifest.json")
        for _, output, _ in manifest["tasks"]:
            if output:
                output |= {"kind": "inline", "inline": base64.b64encode(data).decode()}
                output |= {"path": None, "count": 1, "type": "object"}
        folder.put("result/manifest.json", manifest)


def pickles(folder: Folder, canaries: Canaries) -> None:
    _inline(folder, Call("os", "system", f"touch {canaries.tripwire}").data)


def pickles_by_own_names(folder: Folder, canaries: Canaries) -> None:
    touch = f"touch {canaries.tripwire}"
    _inline(folder, Call("mapred.writing.publishing", "os.system", touch).data)


def tables_in_pickles(folder: Folder, canaries: Canaries) -> None:
    pickles(folder, canaries)
    for path in [*folder.path.glob("*/commits/*.json"), folder.path / "result/manifest.json"]:
        if path.exists():
            path.write_text(path.read_text().replace('"type":"object"', '"type":"tables"'))


def items(folder: Folder, canaries: Canaries) -> None:
    call = Call("os", "system", f"touch {canaries.tripwire}").data
    (folder.path / "input").mkdir(exist_ok=True)
    (folder.path / "input/items.pkl").write_bytes(call)


def origins(folder: Folder, canaries: Canaries) -> None:
    job = folder.json("job.json")
    told = {"name": f"{MODULE}.canary", "module": f"{MODULE}.inner", "qualname": "canary"}
    job["code"] = {job["function"]: {**told, "file": str(canaries.modules / f"{MODULE}.py")}}
    folder.put("job.json", job)


def target_elsewhere(folder: Folder, canaries: Canaries) -> None:
    job = folder.json("job.json")
    job["write"] = (job.get("write") or {"kind": "parquet", "partition_by": []}) | {
        "uri": f"{canaries.url}/table",
        "kind": "delta",
    }
    folder.put("job.json", job)
    value = {"uri": f"{canaries.url}/table", "id": folder.path.name}
    folder.put("writes/a.json", value)


def escapes(folder: Folder, canaries: Canaries) -> None:
    evil = "\x1b]0;owned\x07\x9b31m\u202e"
    job = folder.json("job.json")
    job |= {"name": evil, "dataset": evil, "parameters": {evil: evil}}
    job["backend"] = {"name": evil, "arguments": {}}
    folder.put("job.json", job)
    for path in (folder.path / "map/logs").glob("*"):
        path.write_text(evil)
    if (folder.path / "end.json").exists():
        folder.alter("end.json", message=evil)
    (folder.path / evil.replace("/", "")).write_text("x")
    (folder.path / "map/logs").mkdir(exist_ok=True)
    (folder.path / "map/logs" / f"000000-{evil}").write_text(evil)


DOORS = (
    kubeconfig,
    argo_server,
    odd_workflow,
    scheduler,
    popen,
    own_class,
    endpoint,
    anonymous_endpoint,
    variable_in_headers,
    url,
    chained_url,
    pipe,
    staging_elsewhere,
    removed,
    links,
    link_to_handle,
    paths_in_commits,
    stage_names,
    digests_elsewhere,
    pickles,
    pickles_by_own_names,
    tables_in_pickles,
    items,
    origins,
    target_elsewhere,
    escapes,
)
KINDS = ("failed", "pickles", "tables", "keyed", "written")
QUICK = {popen: "written", pickles_by_own_names: "written", links: "failed"}


def _cases() -> Iterator[Any]:
    for number, door in enumerate(DOORS):
        some = {KINDS[number % len(KINDS)], KINDS[(number + 2) % len(KINDS)]}
        for kind in sorted(some | {QUICK[door]} if door in QUICK else some):
            slow = () if QUICK.get(door) == kind else (pytest.mark.slow,)
            yield pytest.param(door, kind, id=f"{door.__name__}-{kind}", marks=slow)


@pytest.mark.parametrize(("door", "kind"), list(_cases()))
def test_nothing_happens_to_those_who_look(
    door: Callable[[Folder, Canaries], None],
    kind: str,
    made: Made,
    tmp_path: Path,
    canaries: Canaries,
) -> None:
    folder = Folder(made, kind, tmp_path)
    door(folder, canaries)
    assert SECRET not in look(folder, canaries)


def test_the_canaries_notice(made: Made, tmp_path: Path, canaries: Canaries) -> None:
    folder = Folder(made, "failed", tmp_path)
    pickles(folder, canaries)
    with armed(canaries):
        list(mapred.open(folder.path).outputs(errors="skip", partial=True))
    with pytest.raises(AssertionError, match=r"os\.system"):
        canaries.check()
    canaries.tripwire.unlink()
    with armed(canaries):
        canaries.secret.read_text()
    with pytest.raises(AssertionError, match=r"open: .*secret"):
        canaries.check()


def test_a_resume_takes_nothing_but_the_function_from_a_folder(
    made: Made, tmp_path: Path, canaries: Canaries
) -> None:
    for number, door in enumerate((kubeconfig, argo_server, scheduler)):
        folder = Folder(made, "failed", tmp_path / str(number))
        door(folder, canaries)
        with pytest.raises(mapred.MapredError):
            mapred.open(folder.path).resume(progress="none")
        canaries.check()


@pytest.mark.parametrize("kind", ["failed", "pickles"])
def test_no_item_is_loaded_whose_digest_differs(
    kind: str, made: Made, tmp_path: Path, canaries: Canaries
) -> None:
    folder = Folder(made, kind, tmp_path)
    items(folder, canaries)
    run = mapred.open(folder.path)
    for call in (run.to_pandas, run.to_arrow, lambda: run.debug(0)):
        with pytest.raises(mapred.MapredError):
            call()
        canaries.check()
    if kind == "failed":
        with pytest.raises(mapred.RunError, match="is not the file that the job names"):
            run.resume(progress="none", backend="inline")
    canaries.check()


# A generator: what an attacker may write into any text of any record.


def _evil(canaries: Canaries) -> tuple[str, ...]:
    return (
        str(canaries.secret),
        "../../outside/secret",
        "..",
        canaries.url,
        f"s3://127.0.0.1:{canaries.port}/bucket",
        f"{MODULE}:Canary",
        f"{MODULE}.canary",
        f"touch {canaries.tripwire}",
        f"${VARIABLE}",
        "\x1b]0;owned\x07\x9b",
        "",
        "\0",
    )


def _places(value: Json, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a document holds texts."""
    if isinstance(value, str):
        yield at
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(inner, (*at, key))


def _with(value: Json, at: tuple[Any, ...], text: str) -> Json:
    found = copy.deepcopy(value)
    inner = found
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = text
    return found


def _texts(made: Made, kinds: Sequence[str]) -> list[tuple[str, str, tuple[Any, ...]]]:
    """Kind of run, record and place of every text in one of the records."""
    found = []
    for kind in kinds:
        folder = next(each for each in made.root(kind).iterdir() if each.name[0] == "2")
        for path in sorted(folder.rglob("*.json")):
            name = str(path.relative_to(folder))
            found += [(kind, name, at) for at in _places(json.loads(path.read_text()))]
    return found


def _altered(
    made: Made, tmp_path: Path, canaries: Canaries, seed: int, count: int, kinds: Sequence[str]
) -> None:
    chance = random.Random(seed)
    texts = _texts(made, kinds)
    for number in range(count):
        kind, name, at = chance.choice(texts)
        folder = Folder(made, kind, tmp_path / str(number))
        document = _with(folder.json(name), at, chance.choice(_evil(canaries)))
        # Some at once: a door may need two.
        for _ in range(chance.choice((0, 0, 2))):
            more = chance.choice(list(_places(document)))
            document = _with(document, more, chance.choice(_evil(canaries)))
        folder.put(name, document)
        if chance.random() < 0.5:
            (folder.path / "end.json").unlink(missing_ok=True)
        told = look(folder, canaries)
        assert SECRET not in told, (kind, name, at)


@pytest.mark.slow
def test_no_text_of_a_record_does_anything(made: Made, tmp_path: Path, canaries: Canaries) -> None:
    _altered(made, tmp_path, canaries, 1, 2, ("failed", "written"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 5))
def test_no_text_of_any_record_does_anything(
    made: Made, tmp_path: Path, canaries: Canaries, seed: int
) -> None:
    _altered(made, tmp_path, canaries, seed, 8, KINDS)
