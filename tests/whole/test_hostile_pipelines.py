"""A pipeline's folder that an attacker wrote: looking at it runs, sends, opens and removes nothing."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from testbed import pipelines
from testbed.canaries import MODULE, SECRET, VARIABLE, Canaries, armed
from whole.test_hostile_folders import Call, _evil, _places, _with

import mapred
from mapred.cli import main

Json = Any


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
    """The folder of a pipeline, beside a run that is not its own, to be written to by an attacker."""

    def __init__(self, where: Path, *, waits: bool) -> None:
        self.root = where / "runs"
        run = pipelines.succeeded(self.root)
        self.path = Path(run.uri)
        self.other = mapred.run(abs, [-1], backend="inline", progress="none", root=self.root)
        if waits:
            (self.path / "end.json").unlink()
            shutil.rmtree(self.path / "answers")

    def json(self, name: str) -> Json:
        return json.loads((self.path / name).read_text())

    def put(self, name: str, value: Json) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(json.dumps(value))

    def alter(self, path: str, /, **values: Any) -> None:
        self.put(path, self.json(path) | values)

    def each(self, folder: str) -> list[str]:
        return sorted(str(path.relative_to(self.path)) for path in (self.path / folder).glob("*"))


LOOKS: dict[str, Callable[[mapred.PipelineRun], Any]] = {
    "str": str,
    "repr": repr,
    "html": lambda run: run._repr_mimebundle_(),
    "state": lambda run: run.state,
    "status": lambda run: run.status(),
    "gates": lambda run: run.gates,
    "runs": lambda run: [str(each) for each in run.runs],
    "check": lambda run: run.check(),
    "result": lambda run: run.result(),
    "audit": lambda run: str(run.audit()),
    "resume": lambda run: run.resume(),
    "approve": lambda run: [run.approve(name, gate.choices[0]) for name, gate in run.gates.items()],
    "dry rm": lambda run: mapred.rm(run, dry_run=True),
}
COMMANDS = (
    ["ls"],
    ["ls", "--all", "--json"],
    ["show", "RUN"],
    ["show", "RUN", "--json"],
    ["approve", "RUN"],
    ["approve", "RUN", "--json"],
    ["approve", "RUN", "go", "--value", "yes"],
    ["audit", "RUN"],
    ["audit", "RUN", "--json"],
    ["logs", "RUN"],
    ["metrics"],
    ["rm", "RUN", "--dry-run"],
    ["gc", "--older-than", "1s", "--dry-run"],
    ["cancel", "RUN"],
    ["rm", "RUN", "--yes"],
)


def look(folder: Folder, canaries: Canaries) -> str:
    """All that the public calls and commands tell of a folder, canaries looked at after each."""
    told = []
    for name, call in LOOKS.items():
        with armed(canaries):
            try:
                run: Any = mapred.open(folder.path, allow_pickle=False)
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
        assert done.exception is None or isinstance(done.exception, SystemExit), (words, done)
        told.append(done.output)
        canaries.check()
        shown = done.output.replace("\n", "").replace("\t", "")
        assert all(each.isprintable() or each == " " for each in shown), (words, shown)
    assert mapred.open(folder.other.uri).result() == [1], "it is none of the pipeline's"
    return "\n".join(told)


# The doors: what an attacker does to a folder.


def claims_elsewhere(folder: Folder, canaries: Canaries) -> None:
    ways = ("../outside", str(canaries.outside), "../outside/thesis", "..", ".", canaries.url)
    for path, way in zip(folder.each("claims"), ways, strict=False):
        folder.alter(path, run=way, uri=way)


def claims_of_another(folder: Folder, canaries: Canaries) -> None:
    """A run beside the pipeline, which somebody else has made."""
    record = Path(folder.other.uri, "job.json").read_text()
    for number, path in enumerate(folder.each("claims")):
        kind = folder.json(path)["step"] | {"kind": "pipeline" if number % 2 else "run"}
        folder.alter(path, run=folder.other.id, record=record, step=kind)


def claims_of_itself(folder: Folder, canaries: Canaries) -> None:
    folder.alter("pipeline.json", parent=folder.path.name)
    for path in folder.each("claims"):
        step = folder.json(path)["step"] | {"kind": "pipeline"}
        folder.alter(path, run=folder.path.name, step=step)


def parents_in_a_circle(folder: Folder, canaries: Canaries) -> None:
    inner = next(
        each
        for each in folder.root.iterdir()
        if (each / "pipeline.json").exists() and each != folder.path
    )
    folder.alter("pipeline.json", parent=inner.name)


def links(folder: Folder, canaries: Canaries) -> None:
    for name in ("claims", "gates", "answers", "order", "recorded", "resumptions"):
        shutil.rmtree(folder.path / name, ignore_errors=True)
        (folder.path / name).symlink_to(canaries.outside)


def link_to_answers(folder: Folder, canaries: Canaries) -> None:
    shutil.rmtree(folder.path / "answers", ignore_errors=True)
    (folder.path / "answers").symlink_to(canaries.outside)


def link_to_records(folder: Folder, canaries: Canaries) -> None:
    for name in ("end.json", "handle.json", "result.pkl", "function.pkl", "parameters.pkl"):
        (folder.path / name).unlink(missing_ok=True)
        (folder.path / name).symlink_to(canaries.secret)
    for path in (*folder.each("gates"), *folder.each("recorded"), *folder.each("answers")):
        (folder.path / path).unlink()
        (folder.path / path).symlink_to(canaries.secret)


def link_to_a_run(folder: Folder, canaries: Canaries) -> None:
    """A run of the pipeline is a link to a folder outside."""
    run = folder.json(folder.each("claims")[0])["run"]
    shutil.rmtree(folder.root / run)
    (folder.root / run).symlink_to(canaries.outside)


def pickles(folder: Folder, canaries: Canaries) -> None:
    """Whose digests all fit."""
    data = Call("os", "system", f"touch {canaries.tripwire}").data
    digest = hashlib.sha256(data).hexdigest()
    digests = folder.json("pipeline.json")["digests"]
    for name in (*digests, "result.pkl", "modules.pkl"):
        (folder.path / name).write_bytes(data)
    folder.alter("pipeline.json", digests=dict.fromkeys([*digests, "modules.pkl"], digest))
    if (folder.path / "end.json").exists():
        folder.alter("end.json", manifest=digest)


def digests_elsewhere(folder: Folder, canaries: Canaries) -> None:
    files = {str(canaries.secret): "0" * 64, "../../outside/secret": "0" * 64}
    folder.alter("pipeline.json", digests=folder.json("pipeline.json")["digests"] | files)
    folder.put(
        "resumptions/000001.json",
        {"version": "1.0", "number": 1, "failed": {"../outside": 0.0}, "files": files},
    )


def gates_elsewhere(folder: Folder, canaries: Canaries) -> None:
    for path in folder.each("order"):
        step = folder.json(path)
        folder.put(path, step | {"name": "../../outside/secret", "address": "../../outside/secret"})
    for path in folder.each("gates"):
        folder.alter(path, name="../../outside/secret")


def addresses_elsewhere(folder: Folder, canaries: Canaries) -> None:
    for path in (*folder.each("claims"), *folder.each("recorded")):
        step = folder.json(path)["step"] | {"address": "../../outside/secret"}
        folder.alter(path, step=step)


def cluster(folder: Folder, canaries: Canaries) -> None:
    (folder.path / "end.json").unlink(missing_ok=True)
    arguments = {"server": canaries.url, "namespace": "n", "token_env": VARIABLE}
    folder.alter("pipeline.json", backend={"name": "argo", "arguments": arguments})
    folder.put("handle.json", {"version": "1.0", "ref": "argo:n:w", "state": "running", "time": 0})


def references(folder: Folder, canaries: Canaries) -> None:
    """Runs of a claim's record read the outputs of what lies elsewhere."""
    for path in folder.each("claims"):
        claim = folder.json(path)
        record = json.loads(claim["record"])
        record.setdefault("format", {})["runs"] = [{"uri": canaries.url, "run_id": "../outside"}]
        folder.alter(path, record=json.dumps(record))


def escapes(folder: Folder, canaries: Canaries) -> None:
    evil = "\x1b]0;owned\x07\x9b31m\u202e"
    folder.alter("pipeline.json", name=evil, parameters={evil: evil}, created=evil)
    for path in folder.each("order"):
        folder.alter(path, name=evil, parts={evil: evil, "dataset": evil})
    for path in folder.each("gates"):
        folder.alter(path, question=evil, choices=[evil, True], default=evil)
    for path in folder.each("recorded"):
        folder.alter(path, value=json.dumps(evil))
    if (folder.path / "end.json").exists():
        folder.alter("end.json", state="failed", message=evil)
    (folder.path / "claims" / evil).write_text(evil)


DOORS = (
    claims_elsewhere,
    claims_of_another,
    claims_of_itself,
    parents_in_a_circle,
    links,
    link_to_answers,
    link_to_records,
    link_to_a_run,
    pickles,
    digests_elsewhere,
    gates_elsewhere,
    addresses_elsewhere,
    cluster,
    references,
    escapes,
)
QUICK = {claims_of_another: True, link_to_answers: True, pickles: False}


def _cases() -> Iterator[Any]:
    for door in DOORS:
        for waits in (False, True):
            slow = () if QUICK.get(door) is waits else (pytest.mark.slow,)
            state = "waits" if waits else "succeeded"
            yield pytest.param(door, waits, id=f"{door.__name__}-{state}", marks=slow)


@pytest.mark.parametrize(("door", "waits"), list(_cases()))
def test_nothing_happens_to_those_who_look(
    door: Callable[[Folder, Canaries], None], waits: bool, tmp_path: Path, canaries: Canaries
) -> None:
    folder = Folder(tmp_path, waits=waits)
    door(folder, canaries)
    assert SECRET not in look(folder, canaries)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_no_text_of_any_record_does_anything(seed: int, tmp_path: Path, canaries: Canaries) -> None:
    chance = random.Random(seed)
    for number in range(8):
        folder = Folder(tmp_path / str(number), waits=bool(number % 2))
        name = chance.choice(
            [str(p.relative_to(folder.path)) for p in sorted(folder.path.rglob("*.json"))]
        )
        document = folder.json(name)
        for _ in range(chance.choice((1, 1, 3))):
            places = list(_places(document))
            document = _with(document, chance.choice(places), chance.choice(_evil(canaries)))
        folder.put(name, document)
        assert SECRET not in look(folder, canaries), name


def test_the_canaries_notice(tmp_path: Path, canaries: Canaries) -> None:
    folder = Folder(tmp_path, waits=False)
    pickles(folder, canaries)
    with armed(canaries), suppress(Exception):
        mapred.open(folder.path).result()
    with pytest.raises(AssertionError, match=r"os\.system"):
        canaries.check()
    canaries.tripwire.unlink()
