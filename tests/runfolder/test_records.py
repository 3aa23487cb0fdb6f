"""Run folders that are half lost, foreign or of the future: nothing but clear errors, and no hang."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from testbed.faults import damage

import mapred
from mapred.cli import main
from mapred.errors import MapredError, NotAFile, RecordError
from mapred.model import layout
from mapred.model.failure import Failure
from mapred.model.records import Block, Commit
from mapred.runfolder import records
from mapred.runfolder.folder import RunFolder
from mapred.storage import open_store

QUIET: dict[str, Any] = {"progress": "none", "backend": "inline"}


def failing(item: int) -> int:
    if item == 3:
        raise ValueError("three")
    return item


def double(item: int) -> int:
    return 2 * item


def total(values: Iterator[int]) -> int:
    return sum(values)


def table(item: int) -> pa.Table:
    return pa.table({"k": [item % 2], "v": [item]})


def interrupted(root: Path, count: int = 6) -> Path:
    """A run that was cut off before its fifth task was done."""
    run = mapred.run(double, mapred.items(range(count)), reduce=total, root=root, **QUIET)
    cut = Path(run.uri)
    for name in ("end.json", "result/manifest.json", "map/commits/000004.json"):
        (cut / name).unlink()
    (cut / "reduce-1/commits/000000.json").unlink()
    return cut


@dataclass
class Kinds:
    """Runs of several kinds, a sound one, and copies to put them back by."""

    root: Path
    runs: list[Path]
    sound: str
    saved: Path
    names: list[tuple[Path, Path]] = field(default_factory=list)

    def restore(self, run: Path) -> None:
        damage.restored(run, self.saved / run.name)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Kinds:
    base = tmp_path_factory.mktemp("kinds")
    root = base / "runs"
    options = {"root": root, **QUIET}
    few = mapred.items(range(5))
    lossy = mapred.run(failing, few, max_failed=2, attempts=1, reduce=total, **options)
    with pytest.raises(mapred.RunError) as failed:
        mapred.run(failing, few, attempts=1, **options)
    keyed = mapred.run(table, few, by="k", aggregate={"v": "sum"}, **options)
    tables = mapred.run(table, few, **options)
    wrote = mapred.run(table, few, write=mapred.write_parquet(base / "out"), **options)
    uris = [run.uri for run in (lossy, failed.value.run, keyed, tables, wrote)]
    sound = mapred.run(abs, mapred.items([1]), **options)
    runs = [*map(Path, uris), interrupted(root)]
    for run in runs:
        shutil.copytree(run, base / "saved" / run.name)
    return Kinds(root, runs, sound.id, base / "saved")


CALLS: dict[str, Callable[[mapred.Run], Any]] = {
    "state": lambda run: run.state,
    "str": lambda run: (str(run), run._repr_mimebundle_()),
    "failures": lambda run: repr(run.failures),
    "shards": lambda run: run.shards,
    "files": lambda run: run.files,
    "logs": lambda run: run.logs(),
    "counters": lambda run: run.counters,
    "outputs": lambda run: list(run.outputs(partial=True)),
    "rows": lambda run: run.to_pandas(partial=True),
    "result": lambda run: run.result(),
    "to_arrow": lambda run: run.to_arrow(),
    "audit": lambda run: str(run.audit()),
    "sizes": lambda run: str(run.audit(content=False)),
    "check": lambda run: run.check(),
    "wait": lambda run: run.wait(timeout=1),
    "rm": lambda run: mapred.rm(run, dry_run=True),
    "suspend": lambda run: run.suspend(),
    "cancel": lambda run: run.cancel(),
    "resume": lambda run: run.resume(backend="inline", progress="none"),
}
ROOT_COMMANDS = ("ls", "ls --json", "metrics", "gc --dry-run", "gc --older-than 0s --dry-run")
RUN_COMMANDS = ("show", "show --json", "audit", "logs", "rm --dry-run", "resume --backend inline")
CHANGING = ("suspend", "cancel", "resume", "resume --backend inline")


class Hang(BaseException):
    """A call that did not come back."""


@contextmanager
def bounded(seconds: float = 20) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def said(*words: str) -> str:
    """What a command prints; foreign exceptions pass."""
    found = CliRunner().invoke(main, words)
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.output


def hurt(kinds: Kinds, seed: int, calls: int | None = None) -> None:
    """Damage a record of a run, and make all calls, or some of them."""
    rng = random.Random(seed)
    run = rng.choice(kinds.runs)
    files = sorted(path for path in run.rglob("*") if path.suffix == ".json")
    others = [run / "function.pkl", run / "plan/00000.parquet", *run.rglob("schemas/*")]
    what = rng.choice(list(damage.DAMAGES))
    known = files if what == "huge" or rng.random() < 0.7 else others
    file = rng.choice(known)
    again = rng.randrange(10**9)

    def do() -> None:
        kinds.restore(run)
        damage.DAMAGES[what](file, random.Random(again))

    everything = [*CALLS, *RUN_COMMANDS]
    do()
    try:
        with bounded():
            listed = [entry.id for entry in mapred.runs(kinds.root)]
            assert kinds.sound in listed
            assert file.name != layout.JOB or what == "gone" or run.name in listed
            assert len(str(mapred.runs(kinds.root)).splitlines()) > len(listed)
            assert mapred.gc(kinds.root, dry_run=True).dry_run
            for command in ROOT_COMMANDS:
                said(*command.split(), "--root", str(kinds.root))
        for name in everything if calls is None else rng.sample(everything, calls):
            with bounded():
                if name in CALLS:
                    with suppress(MapredError):
                        CALLS[name](mapred.open(run))
                else:
                    command, *options = name.split()
                    said(command, str(run), *options)
            if name in CHANGING:
                do()
    except (Hang, Exception) as error:
        note = f"seed {seed}: {what} of {file.relative_to(run)}"
        raise AssertionError(f"{note}: {type(error).__name__}: {error}") from error
    finally:
        kinds.restore(run)


@pytest.mark.parametrize("seed", range(6))
def test_damaged_records_are_told_clearly(kinds: Kinds, seed: int) -> None:
    hurt(kinds, seed, calls=3)


@pytest.mark.slow
def test_many_damaged_records_are_told_clearly(kinds: Kinds) -> None:
    for seed in range(1000, 1060):
        hurt(kinds, seed)


def foreign_free(run: mapred.Run) -> tuple[Any, ...]:
    """All that is told of a run."""
    return (
        run.state,
        [(failure.task, failure.message) for failure in run.failures],
        run.logs(),
        str(run.shards.to_dict("records")),
        sorted(run.files["path"]),
        [number for number, _ in run.outputs(partial=True)],
        str(run.audit()),
    )


@pytest.mark.slow
def test_files_of_desktops_and_editors_are_ignored(kinds: Kinds) -> None:
    for path in kinds.runs:
        before = foreign_free(mapred.open(path))
        listed = [entry.state for entry in mapred.runs(kinds.root)]
        damage.foreign(path)
        assert foreign_free(mapred.open(path)) == before
        assert [entry.state for entry in mapred.runs(kinds.root)] == listed
        assert mapred.gc(kinds.root, dry_run=True).problems == ()
        if (path / "end.json").exists():
            assert mapred.rm(path, dry_run=True).files
        kinds.restore(path)


def test_they_do_not_keep_a_run_from_being_resumed(tmp_path: Path) -> None:
    cut = interrupted(tmp_path)
    damage.foreign(cut)
    assert mapred.open(cut).resume(**QUIET).result() == 30
    assert mapred.open(cut).audit().ok


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def as_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def of_another_task(path: Path) -> None:
    path.write_bytes((path.parent / "000000.json").read_bytes())


LOST = (emptied, zeroed, cut_short, as_folder, as_pipe, as_link, of_another_task)


@pytest.mark.parametrize("lose", LOST, ids=[lose.__name__ for lose in LOST])
def test_a_commit_that_cannot_be_read_counts_as_none(
    lose: Callable[[Path], None], tmp_path: Path
) -> None:
    cut = interrupted(tmp_path)
    lose(cut / "map/commits/000002.json")
    with bounded():
        seen = mapred.open(cut)
        assert seen.status().stages[0].done == 4
        assert [number for number, _ in seen.outputs(errors="skip", partial=True)] == [0, 1, 3, 5]
        assert "task 2" in str(seen.audit())
        assert mapred.open(cut).resume(**QUIET).result() == 30
    assert mapred.open(cut).audit().ok
    aside = [path.name for path in (cut / "map/commits").glob("*.broken")]
    assert [name[:11] for name in aside] == ["000002.json"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["map/commits/000002.json", "handle.json", "end.json"])
def test_after_a_power_cut_worker_processes_go_on(name: str, tmp_path: Path) -> None:
    cut = interrupted(tmp_path)
    emptied(cut / name)
    run = mapred.open(cut).resume(backend="local", progress="none")
    assert (run.result(), run.state, run.audit().ok) == (30, "succeeded", True)


def test_a_worker_that_finds_one_under_its_name_commits(tmp_path: Path) -> None:
    from mapred.worker import tasks

    cut = interrupted(tmp_path)
    emptied(cut / "map/commits/000002.json")
    run = mapred.open(cut)
    (outcome,) = tasks.run_block(Block(run.uri, run.digest, "map", [2], fresh=True))
    assert outcome.commit == RunFolder(run.store).commit("map", 2)


def test_a_commit_that_came_meanwhile_is_left(tmp_path: Path) -> None:
    cut = interrupted(tmp_path)
    store = open_store(str(cut))
    before = RunFolder(store).commit("map", 2)
    RunFolder(store).move_aside(layout.commit("map", 2))
    assert RunFolder(store).commit("map", 2) == before
    RunFolder(store).move_aside(layout.commit("map", 4))  # which has none


def test_what_a_newer_version_committed_is_left(tmp_path: Path) -> None:
    cut = interrupted(tmp_path)
    path = cut / "map/commits/000002.json"
    path.write_text('{"version": "2.0"}')
    with pytest.raises(RecordError, match=r"000002\.json was made by a newer mapred"):
        mapred.open(cut).resume(**QUIET)
    assert path.read_text() == '{"version": "2.0"}'


@pytest.mark.parametrize("lose", [emptied, zeroed, cut_short])
@pytest.mark.parametrize("name", ["handle.json", "end.json"])
def test_a_last_word_that_cannot_be_read_counts_as_absent(
    name: str, lose: Callable[[Path], None], tmp_path: Path
) -> None:
    run = mapred.run(double, mapred.items(range(3)), root=tmp_path, **QUIET)
    path = Path(run.uri, name)
    lose(path)
    again = mapred.open(run.uri)
    assert again.state == ("interrupted" if name == "end.json" else "succeeded")
    assert mapred.runs(tmp_path)[0].state == again.state
    assert again.resume(**QUIET).result() == [0, 2, 4]
    assert mapred.open(run.uri).state == "succeeded"


def test_advice_about_a_record_helps(tmp_path: Path) -> None:
    cut = interrupted(tmp_path)
    (cut / "failed.json").write_text("[]")
    with pytest.raises(RecordError, match="delete it, then resume the run"):
        mapred.open(cut).resume(max_failed=1, **QUIET)
    (cut / "failed.json").unlink()
    assert mapred.open(cut).resume(**QUIET).result() == 30


def test_an_empty_job_is_one_clear_error(tmp_path: Path) -> None:
    cut = interrupted(tmp_path)
    emptied(cut / "job.json")
    with pytest.raises(mapred.RunError, match=r"job\.json is empty.*restore it from a copy"):
        mapred.open(cut)
    (entry,) = mapred.runs(tmp_path)
    assert (entry.state, entry.id) == ("unreadable", cut.name)
    assert entry.problem.startswith("job.json is empty, as files are after a power cut")
    assert "job.json is empty" in said("ls", "--root", str(tmp_path))
    assert "job.json is empty" in said("show", str(cut))


@pytest.mark.slow
def test_an_empty_function_can_be_passed_again(tmp_path: Path) -> None:
    cut = interrupted(tmp_path)
    emptied(cut / "function.pkl")
    with pytest.raises(mapred.RunError, match=r"function\.pkl is empty.*by fn=") as failed:
        mapred.open(cut).resume(backend="local", progress="none")
    assert failed.value.failures[0].task == 4
    assert mapred.open(cut).resume(double, **QUIET).result() == 30


@pytest.mark.slow
def test_a_lost_plan_is_one_clear_error(tmp_path: Path) -> None:
    cut, options = interrupted(tmp_path), {"backend": "local", "progress": "none"}
    plan = cut / "plan/00000.parquet"
    saved = plan.read_bytes()
    emptied(plan)
    said = r"00000\.parquet is empty, as files are after a power cut; restore it from a copy"
    with pytest.raises(RecordError, match=said):
        mapred.open(cut).resume(**options)
    plan.unlink()
    with pytest.raises(RecordError, match=r"00000\.parquet is gone; restore it from a copy"):
        mapred.open(cut).resume(**options)
    plan.write_bytes(saved)
    assert mapred.open(cut).resume(**options).result() == 30


def test_a_failure_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(mapred.RunError) as failed:
        mapred.run(failing, mapred.items(range(5)), root=tmp_path, attempts=1, **QUIET)
    run = Path(failed.value.run.uri)
    (path,) = (run / "map/errors").iterdir()
    emptied(path)
    (failure,) = mapred.open(run).failures
    assert (failure.task, failure.kind, failure.error) == (3, "lost", "RecordError")
    assert f"{path.name} is empty" in failure.message


ODD_TEXT = chr(0xD800) + "\0\x1b]0;t\x07\u202e"
STRUCTURE = frozenset(
    "run_id created kind state stage inputs function path ref version as_ attempt format backend "
    "digests resources crc32 stages.name".split()
)


def with_odd_texts(values: Any, name: str = "") -> Any:
    """A record whose free texts no terminal and no encoding takes as they are."""
    if isinstance(values, dict):
        found = {key: (key, f"{name}.{key}") for key in values}
        return {
            key: value if STRUCTURE.intersection(found[key]) else with_odd_texts(value, key)
            for key, value in values.items()
        }
    if isinstance(values, list):
        return [with_odd_texts(value, name) for value in values]
    return ODD_TEXT if isinstance(values, str) and values else values


def test_texts_that_no_encoding_takes_are_shown(kinds: Kinds) -> None:
    run = kinds.runs[1]
    for path in run.rglob("*.json"):
        path.write_text(json.dumps(with_odd_texts(json.loads(path.read_text()))))
    assert kinds.sound in said("ls", "--root", str(kinds.root))
    names = [entry["name"] for entry in json.loads(said("ls", "--json", "--root", str(kinds.root)))]
    assert ODD_TEXT in names
    assert "mapred_runs" in said("metrics", "--root", str(kinds.root))
    for name in CALLS:
        with suppress(MapredError):
            CALLS[name](mapred.open(run))
    for command in RUN_COMMANDS:
        assert said(command.split()[0], str(run), *command.split()[1:])
    kinds.restore(run)


def test_a_given_up_task_that_the_run_does_not_have(kinds: Kinds) -> None:
    run = kinds.runs[0]
    (run / "failed.json").write_text(json.dumps({"tasks": {"77": None}}))
    with pytest.raises(RecordError, match=r"failed\.json names tasks 77 to 77, and the run has 5"):
        _ = mapred.open(run).state
    (run / "failed.json").write_text(json.dumps({"tasks": {"3": [1]}}))
    with pytest.raises(RecordError, match="items of task 3 that are those of other tasks"):
        _ = mapred.open(run).state
    kinds.restore(run)


@pytest.mark.parametrize("make", [as_folder, as_pipe, as_link])
def test_what_is_not_a_file_is_refused_at_once(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.touch()
    make(path)
    store = open_store(str(tmp_path))
    with bounded(5), pytest.raises(NotAFile, match="mapred makes only plain files"):
        store.read("x")
    with bounded(5), pytest.raises(NotAFile, match="mapred makes only plain files"):
        store.open("x")
    assert not store.put_if_absent("x", b"data")


def test_a_link_to_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    cut = interrupted(tmp_path / "runs")
    (cut / "handle.json").unlink()
    (cut / "handle.json").symlink_to(tmp_path / "secret")
    with pytest.raises(NotAFile, match=r"handle\.json is a link") as raised:
        _ = mapred.open(cut).state
    assert "secret" not in str(raised.value)


def test_an_audit_names_a_plan_that_is_gone(kinds: Kinds) -> None:
    for path in kinds.runs[1:]:  # what a run gave up is told by its plan
        (path / "plan/00000.parquet").unlink()
        assert "unreadable: plan/00000.parquet" in str(mapred.open(path).audit())
        kinds.restore(path)


def test_a_huge_job_is_read_by_no_call(kinds: Kinds) -> None:
    run = kinds.runs[0]
    os.truncate(run / "job.json", 2**40)
    with bounded():
        with pytest.raises(RecordError, match="is larger than"):
            mapred.open(run)
        with pytest.raises(mapred.RunError, match="is larger than"):
            mapred.rm(run, dry_run=True)
        assert mapred.gc(kinds.root, older_than=0, dry_run=True).problems
    kinds.restore(run)


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    for name in ("a\0b", "a\ud800b"):
        with pytest.raises(
            mapred.StorageError, match=r"a file cannot have that name|is not a path below"
        ):
            store.read(name)


def test_a_record_has_a_size(tmp_path: Path) -> None:
    os.truncate(os.open(tmp_path / "end.json", os.O_CREAT | os.O_WRONLY), 2**40)
    with bounded(5), pytest.raises(RecordError, match="is larger than"):
        records.read(open_store(str(tmp_path)), layout.END, records.End)


def test_old_records_are_read(tmp_path: Path) -> None:
    """As versions before the first format wrote them: no version, fewer fields, other ones."""
    failure = {
        "stage": "map",
        "task": 0,
        "attempt": "1-a",
        "kind": "x",
        "error": "E",
        "message": "",
    }
    commit = {"stage": "map", "task": 0, "attempt": "1-a", "function": "f", "dropped": [1]}
    commit["output"] = {"kind": "none"}
    assert Failure.from_bytes(json.dumps(failure).encode()).items == ()
    assert Commit.from_bytes(json.dumps(commit).encode()).output.kind == "none"
