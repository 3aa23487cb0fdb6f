"""Several users, one root: what each may do there is up to the root's own mode."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed import people
from testbed.people import ALICE, BOB, EVE, TEAM, User, team_root

import mapred
from mapred.errors import BackendError, StorageError
from mapred.storage import modes, open_store
from mapred.storage.local import LocalStore

UMASKS = (0o022, 0o077, 0o002)
QUIET: dict[str, Any] = {"progress": "none"}


@pytest.fixture(scope="module")
def users() -> None:
    if (why := people.missing()) is not None:
        pytest.skip(why)


@pytest.fixture
def office(users: None) -> Iterator[Path]:
    """A folder that all users may enter, with a home for each."""
    with people.office() as folder:
        yield folder


RUN = """
    import sys, mapred
    def write(i, task: mapred.Task):
        task.output("note.txt").write_text(str(i))
        return [i] * 40_000
    run = mapred.run(
        write, mapred.items(range(3)), root=sys.argv[1], backend="inline", progress="none"
    )
    print(run.uri)
"""
HALF = """
    import os, sys, mapred
    def half(i, go):
        if i == 2 and not os.path.exists(go):
            raise ValueError("not yet")
        return i
    try:
        job = mapred.job(half, mapred.items(range(4)), attempts=1).bind(go=sys.argv[2])
        job.run(root=sys.argv[1], progress="none")
    except mapred.RunError as error:
        print(error.run.uri)
"""


def mode_of(path: Path | str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def all_below(folder: Path | str) -> list[Path]:
    return [Path(folder), *Path(folder).rglob("*")]


@pytest.mark.slow
def test_a_team_root_serves_users_of_every_umask(office: Path) -> None:
    root = team_root(office)
    made = []
    for user, umask in ((ALICE, 0o077), (BOB, 0o022), (ALICE, 0o002)):
        made.append(User(office, user, umask).does(RUN, root).strip())
    for path in (path for uri in made for path in all_below(uri)):
        status = path.stat()
        assert status.st_gid == TEAM, path
        assert stat.S_IMODE(status.st_mode) == (0o2770 if path.is_dir() else 0o660), path
    for user, umask in ((ALICE, 0o077), (BOB, 0o077)):
        opened = User(office, user, umask).does(
            """
            import sys, mapred
            for uri in sys.argv[2:]:
                run = mapred.open(uri)
                assert run.result()[1] == [1] * 40_000 and run.audit().ok
            print([entry.state for entry in mapred.runs(sys.argv[1])])
            """,
            root,
            *made,
        )
        assert opened.split() == ["['succeeded',", "'succeeded',", "'succeeded']"]
    assert "denied" in User(office, EVE).does(
        "import sys, mapred; mapred.open(sys.argv[1])", made[0], fails=True
    )


@pytest.mark.slow
def test_a_colleague_resumes_and_removes(office: Path) -> None:
    root = team_root(office)
    uri = User(office, ALICE, 0o077).does(HALF, root, office / "go").strip()
    (office / "go").touch()
    told = User(office, BOB, 0o077).does(
        """
        import sys, mapred
        run = mapred.open(sys.argv[1])
        print(run.resume(progress="none").result(), run.audit().ok)
        """,
        uri,
    )
    assert told.strip() == "[0, 1, 2, 3] True"
    assert (
        User(office, ALICE).does(
            "import sys, mapred; print(mapred.open(sys.argv[1]).result())", uri
        )
        == "[0, 1, 2, 3]\n"
    )
    removed = User(office, BOB).types("rm", uri, "--yes")
    assert removed.returncode == 0, removed.stderr
    assert os.listdir(root) == []


@pytest.mark.slow
def test_what_is_closed_is_one_line(office: Path) -> None:
    root = team_root(office)
    first = User(office, BOB).does(RUN, root).strip()
    second = User(office, ALICE).does(RUN, root).strip()
    os.chmod(second, 0o700)
    name = os.path.basename(second)
    bob = User(office, BOB)
    listed = bob.types("ls", "--root", root)
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[1] for line in listed.stdout.splitlines()[1:3]] == [
        "unreadable",
        "succeeded",
    ]
    shown = bob.types("show", "last", "--root", root)
    assert shown.returncode == 0, shown.stderr
    assert os.path.basename(first) in shown.stdout
    assert shown.stderr == f"newer, but not readable by this user: {name}\n"
    counted = bob.types("metrics", "--root", root)
    assert counted.returncode == 0, counted.stderr
    assert "\nmapred_runs_unreadable 1\n" in counted.stdout
    cleaned = bob.types("gc", "--root", root, "--older-than", "0s", "--yes")
    assert cleaned.returncode == 0, cleaned.stderr
    assert f"{second} is user {ALICE}'s, mode 0700; ask for access" in cleaned.stdout
    assert os.listdir(root) == [name]
    only = bob.types("show", "last", "--root", root)
    assert "1 run in" in only.stderr
    assert "none that this user may read" in only.stderr
    refused = bob.types("show", second)
    assert f"{second} is user {ALICE}'s, mode 0700" in refused.stderr


@pytest.mark.slow
def test_a_root_that_is_closed_to_writing_says_whose_it_is(office: Path) -> None:
    root = team_root(office, 0o755)
    refused = User(office, BOB).does(RUN, root, fails=True)
    assert f"{root} is user {ALICE}'s, mode 0755; ask for access, or choose another" in refused


def test_what_a_user_makes_is_private_by_default(office: Path) -> None:
    alice = User(office, ALICE, 0o002)
    uri = alice.does(
        """
        import os, tempfile, mapred
        def write(i, task: mapred.Task):
            path = task.output("patients.txt")
            path.write_text("data")
            assert os.stat(path.parent).st_mode & 0o777 == 0o700
            return [i] * 40_000
        run = mapred.run(write, mapred.items(range(2)), progress="none")
        assert run.result()[1][0] == 1
        print(run.uri)
        """
    ).strip()
    home = office / f"{ALICE}"
    assert uri.startswith(f"{home}/.mapred/runs/")
    for path in all_below(home / ".mapred"):
        assert mode_of(path) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize(
    ("root", "rights"),
    [
        (0o700, 0), (0o755, 0), (0o775, 0o070), (0o770, 0o070), (0o2755, 0o050), (0o2775, 0o070), (0o3770, 0o070),
        (0o1777, 0), (0o777, 0o077), (0o750, 0),
    ],
)  # fmt: skip
def test_a_root_decides_who_may_use_its_runs(tmp_path: Path, root: int, rights: int) -> None:
    before = os.umask(0o077)
    try:
        (tmp_path / "root").mkdir()
        (tmp_path / "root").chmod(root)
        store = open_store(str(tmp_path / "root/run"))
        store.write("job.json", b"x")
        store.put_if_absent("map/commits/0.json", b"x")
        (tmp_path / "loose").write_bytes(b"x")
        (tmp_path / "loose").chmod(0o644)
        open_store(store.uri).put_file(tmp_path / "loose", "map/files/0/loose")
        open_store(str(tmp_path / "root")).write(".schedules/a/b.pkl", b"x")
    finally:
        os.umask(before)
    for path in [*all_below(store.uri), *all_below(tmp_path / "root/.schedules")]:
        wanted = 0o700 | rights if path.is_dir() else 0o600 | (rights & 0o066)
        assert mode_of(path) & 0o777 == wanted, path


def test_mode_says_who_may_use_a_run(tmp_path: Path) -> None:
    def f(i: int) -> int:
        return i

    job = mapred.job(f, mapred.items(range(2)))
    run = job.run(root=tmp_path / "new/root", mode=0o750, backend="inline", **QUIET)
    for path in all_below(run.uri):
        assert mode_of(path) & 0o777 == (0o750 if path.is_dir() else 0o640), path
    assert mode_of(tmp_path / "new/root") & 0o777 == 0o750
    assert mode_of(tmp_path / "new") == 0o700
    run = mapred.submit(f, mapred.items(range(2)), root=tmp_path, mode=0o755).wait()
    assert mode_of(run.uri) & 0o777 == 0o755
    closed = mapred.run(f, mapred.items([1]), root=tmp_path, mode=0o700, **QUIET)
    assert mode_of(closed.uri) == 0o700


@pytest.mark.parametrize(
    ("mode", "says"), [(750, "0o1356"), (0o640, "0o640"), ("750", ""), (-1, "")]
)
def test_a_mode_that_does_not_fit_is_named(tmp_path: Path, mode: Any, says: str) -> None:
    with pytest.raises(BackendError, match=r"mode=.* from 0o700 to 0o777, such as 0o750") as caught:
        mapred.run(abs, mapred.items([1]), root=tmp_path, mode=mode, **QUIET)
    assert says in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_mode_is_for_paths_alone() -> None:
    with pytest.raises(StorageError, match=r"mode=0o750 needs a root on a local or mounted path"):
        mapred.run(abs, mapred.items([1]), root="s3://bucket/runs", mode=0o750, **QUIET)


@pytest.mark.parametrize("umask", UMASKS)
@pytest.mark.parametrize("root", [0o755, 0o2770])
def test_a_dataset_is_as_open_as_the_umask_says(tmp_path: Path, umask: int, root: int) -> None:
    table = tmp_path / "table"
    table.mkdir()
    table.chmod(root)
    before = os.umask(umask)
    try:
        store = open_store(str(table), dataset=True)
        store.write("_staging/a/part", b"x")
        store.copy("_staging/a/part", "day=1/part")
        (tmp_path / "file").write_bytes(b"x")
        store.put_file(tmp_path / "file", "day=2/part")
    finally:
        os.umask(before)
    rights = 0o070 if root & stat.S_ISGID else 0
    for path in all_below(table)[1:]:
        wanted = (0o777 if path.is_dir() else 0o666) & ~umask | (
            rights if path.is_dir() else rights & 0o066
        )
        assert mode_of(path) & 0o777 == wanted, path


@pytest.mark.slow
def test_a_group_that_cannot_be_given_gets_no_rights(office: Path) -> None:
    root = team_root(office, 0o777, owner=EVE)
    uri = User(office, EVE).does(RUN, root).strip()  # not of the team
    for path in all_below(uri):
        assert path.stat().st_gid == EVE
        assert mode_of(path) == (0o707 if path.is_dir() else 0o606), path


def test_root_works_for_the_owner_of_a_folder(office: Path) -> None:
    home = office / f"{BOB}"
    run = mapred.run(abs, mapred.items([-1]), root=home / "runs", **QUIET)
    assert {path.stat().st_uid for path in all_below(home / "runs")} == {BOB}
    assert mode_of(run.uri) == 0o700


def test_a_probe_leaves_no_folder_to_the_first_user(tmp_path: Path) -> None:
    run = mapred.run(abs, mapred.items([1]), root=tmp_path, **QUIET)
    assert os.listdir(tmp_path) == [run.id]
    assert json.loads(run.store.read("job.json"))["run_id"] == run.id


def test_a_file_system_without_modes_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    tmp_path.chmod(0o2777)
    LocalStore(tmp_path / "run").write("a", b"x")
    assert (tmp_path / "run/a").read_bytes() == b"x"


def test_why_a_path_is_closed(tmp_path: Path) -> None:
    assert modes.why_closed(str(tmp_path / "a/b"), write=False) == "check who may read it"
