"""What a newer mapred stored is refused by the name of its file, and left as it is."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from old_runs import archive

import mapred
from mapred.cli import main
from mapred.client import stored
from mapred.client.scheduling import firing
from mapred.errors import DatasetError, MapredError, RecordError, RunError
from mapred.functions import transport
from mapred.functions.modules.importing import install
from mapred.model import layout
from mapred.model.coding import VERSION, encode
from mapred.model.records import Block
from mapred.runfolder import liveness, records
from mapred.runfolder.records import Removal
from mapred.storage import open_store
from mapred.worker.tasks import run_block

FOLDERS = archive.read(next(iter(Path(__file__).parent.glob("made-by-*.json"))))["folders"]
NEWER = re.escape("was made by a newer mapred: its format is 2.0, and this one reads 1.x; upgrade")
INLINE: dict[str, Any] = {"backend": "inline", "progress": "none"}

ACTIONS: dict[str, Callable[[str], Any]] = {
    "status": lambda uri: mapred.open(uri).status(),
    "result": lambda uri: mapred.open(uri).result(),
    "outputs": lambda uri: list(mapred.open(uri).outputs("map")),
    "failures": lambda uri: mapred.open(uri).failures,
    "audit": lambda uri: mapred.open(uri).audit(),
    "resume": lambda uri: mapred.open(uri).resume(**INLINE),
    "rm": mapred.rm,
}
# A record of each kind in a folder, and the actions that do not need it.
RECORDS: list[tuple[str, str, str]] = [
    ("finished", layout.JOB, ""),
    ("finished", "map/commits/000001.json", "failures resume"),
    ("killed", "map/commits/000001.json", "failures"),
    ("finished", layout.HANDLE, "outputs failures audit"),
    ("killed", layout.HANDLE, "outputs failures audit"),
    ("finished", layout.END, "failures"),
    ("finished", layout.MANIFEST, "status outputs failures"),
    ("failed_items", layout.FAILED, "outputs resume"),
    ("failed", "map/errors/*.json", "outputs audit"),
    ("written", "writes/*.json", "status result outputs failures audit resume"),
]


def made_newer(name: str, pattern: str, tmp_path: Path) -> tuple[Path, str]:
    """The folder of a run in which a record has the version of a later format, and its path."""
    archive.unpack(FOLDERS[name], tmp_path / name)
    (found,) = (tmp_path / name).rglob(layout.JOB)
    forget_start(found.parent / layout.HANDLE)
    file = next(iter(sorted(found.parent.glob(pattern))))
    values = {**json.loads(file.read_bytes()), "version": "2.0"}
    values.pop("seal", None)
    file.write_text(json.dumps(values))
    return found.parent, file.relative_to(found.parent).as_posix()


def forget_start(file: Path) -> None:
    """Have a run begin long ago: a driver of another machine may live for a day without a sign."""
    file.write_text(json.dumps({**json.loads(file.read_bytes()), "time": 0.0}))


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("name", "pattern", "without"), RECORDS)
def test_a_newer_record_is_refused_by_name_and_its_run_is_left(
    name: str, pattern: str, without: str, tmp_path: Path
) -> None:
    folder, path = made_newer(name, pattern, tmp_path)
    before = content(folder)
    refused = f"{re.escape(path)} {NEWER}"
    for action in set(ACTIONS) - set(without.split()):
        with pytest.raises(RecordError, match=refused):
            ACTIONS[action](str(folder))
    (problem,) = mapred.gc(folder.parent, older_than=0).problems
    assert re.search(f"stays: .*{refused}", problem)
    assert not mapred.gc(folder.parent).removals
    assert content(folder) == before


@pytest.mark.parametrize("pattern", [layout.JOB, layout.HANDLE, layout.END])
def test_a_list_of_runs_says_which_one_is_of_a_newer_mapred(pattern: str, tmp_path: Path) -> None:
    folder, path = made_newer("finished", pattern, tmp_path)
    (listed,) = mapred.runs(folder.parent)
    assert listed.state == "unreadable"
    assert re.match(f"{re.escape(path)} {NEWER}", listed.problem)
    shown = CliRunner().invoke(main, ["show", str(folder)])
    assert (shown.exit_code > 0, shown.stdout) == (True, "")
    assert re.search(NEWER, shown.stderr)


def test_a_worker_refuses_the_job_of_a_newer_mapred(tmp_path: Path) -> None:
    folder, path = made_newer("finished", layout.JOB, tmp_path)
    digest = hashlib.sha256((folder / path).read_bytes()).hexdigest()
    with pytest.raises(RecordError, match=NEWER):
        run_block(Block(str(folder), digest, "map", [0]))


def test_a_heartbeat_and_the_mark_of_a_removal_are_refused(tmp_path: Path) -> None:
    folder, path = made_newer("killed", "map/commits/000001.json", tmp_path)
    store = open_store(str(folder))
    store.delete(path)
    store.write(layout.HEARTBEAT, b'{"version":"2.0","ref":"x"}')
    with pytest.raises(RecordError, match=f"heartbeat.json {NEWER}"):
        liveness.seconds_quiet(store, "x", time.time())
    store.delete(layout.HEARTBEAT)
    store.write(layout.REMOVED, encode(Removal("killed")).replace(b'"1.0"', b'"2.0"'))
    with pytest.raises(RecordError, match=NEWER):
        records.refuse_newer(store, [layout.REMOVED])
    assert "removed.json" in str(mapred.gc(folder.parent))
    assert store.read(layout.JOB)


def test_a_file_of_the_user_has_no_version_of_ours(tmp_path: Path) -> None:
    archive.unpack(FOLDERS["named"], tmp_path / "named")
    run = mapred.open(tmp_path / "named" / "a-name-of-the-users")
    (tmp_path / "named").joinpath("a-name-of-the-users/map/files/000000-1-0a0a0a0a").mkdir()
    run.store.write("map/files/000000-1-0a0a0a0a/mine.json", b'{"version": "2.0"}')
    assert mapred.rm(run).files


def test_the_firing_of_a_schedule_leaves_the_run_of_a_newer_mapred(tmp_path: Path) -> None:
    folder, _ = made_newer("finished", layout.JOB, tmp_path)
    before = content(folder)
    with pytest.raises(RecordError, match=NEWER):
        stored.find_run(str(folder))
    assert content(folder) == before
    assert stored.find_run(str(tmp_path / "none")) is None


def test_a_newer_pickle_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    head = pickle.dumps(({}, (), b"", {}, "2.0"))
    digest = "0" * 64
    store = open_store(str(tmp_path))
    with pytest.raises(RecordError, match=f"^the place {NEWER}"):
        transport.unpickle(head + b"cmapred.nowhere\nnothing\n.", "the place")
    assert transport.unpickle(pickle.dumps(({}, (), b"", {}, VERSION)) + pickle.dumps(7)) == 7
    store.write(layout.schedule("daily", digest), head)
    with pytest.raises(MapredError):
        firing.load(str(tmp_path), "daily", digest)


def test_newer_modules_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        MapredError, match=r"modules .* newer mapred: their format is 2, .* upgrade"
    ):
        install(pickle.dumps((2, "whatever")))


def test_a_newer_manifest_of_a_dataset_is_refused_by_name(tmp_path: Path) -> None:
    archive.unpack(FOLDERS["written"], tmp_path)
    file = max((tmp_path / "lake" / "_manifest").iterdir())
    file.write_text(file.read_text().replace("mapred-manifest-1", "mapred-manifest-2"))
    match = rf"{file.name} was made by a newer mapred: .*-2, and this one reads .*-1; upgrade"
    with pytest.raises(DatasetError, match=match):
        mapred.plan(mapred.read_parquet(tmp_path / "lake"))
    target = mapred.write_parquet(str(tmp_path / "lake"), partition_by="city")
    table = pa.table({"city": ["Bern"], "rain": [1.0]})
    with pytest.raises(RunError, match=match):
        mapred.run(lambda table: table, table, write=target, **INLINE)
