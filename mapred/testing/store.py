"""The contract of stores."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mapred.storage import Store, open_store, probe

_RACERS, _THREADS = 4, 16


def _race(uri: str, rounds: int, gate: Any, answers: Any) -> None:
    """Race for one name in each round, in one of several processes; put the winners in `answers`."""
    store, won = open_store(uri), []
    with ThreadPoolExecutor(_THREADS) as pool:
        for round_ in range(rounds):
            names = [f"{os.getpid()}-{number}" for number in range(_THREADS)]
            gate.wait(200)
            wins = pool.map(
                store.put_if_absent,
                [f"race/{round_}"] * _THREADS,
                [name.encode() for name in names],
            )
            won.append([name for name, win in zip(names, wins, strict=True) if win])
    answers.put(won)


class StoreContract:
    """What any store must do, as a class of tests. Subclasses give the fixture `store`, one of its own.

        class TestMyStore(mapred.testing.StoreContract):
            @pytest.fixture
            def store(self, tmp_path):
                return MyStore(f"mine://{tmp_path.name}")

    `again` opens the same place again, as another process would.

    Attributes:
        races: How often 64 writers, in several processes, are set upon one name.
    """

    races = 5

    def again(self, store: Store) -> Store:
        return open_store(store.uri)

    def test_reads_what_was_written(self, store: Store) -> None:
        store.write("a/b.bin", b"0123456789")
        assert store.read("a/b.bin") == b"0123456789"
        assert store.read("a/b.bin", 3, 4) == b"3456"
        assert store.read("a/b.bin", 8, 10) == b"89"
        assert store.read("a/b.bin", 4) == b"456789"
        store.write("a/b.bin", b"")
        assert self.again(store).read("a/b.bin") == b""

    def test_a_missing_file_is_not_found(self, store: Store) -> None:
        for act in (store.read, store.open, store.delete):
            try:
                act("nothing/here")
            except FileNotFoundError:
                continue
            raise AssertionError(f"{act} of a missing file must raise FileNotFoundError")

    def test_the_first_put_stands(self, store: Store) -> None:
        assert store.put_if_absent("commits/1", b"first")
        assert not store.put_if_absent("commits/1", b"second")
        assert not self.again(store).put_if_absent("commits/1", b"third")
        assert store.read("commits/1") == b"first"
        probe(store)

    def losing(self, store: Store) -> AbstractContextManager[Store] | None:
        """Return the same place, where the answer to every other write gets lost after the write.

        None for a store that cannot be made to do that.
        """
        return None

    def test_one_of_many_writers_wins(self, store: Store) -> None:
        spawn = multiprocessing.get_context("spawn")
        gate, answers = spawn.Barrier(_RACERS), spawn.Queue()
        racers = [
            spawn.Process(target=_race, args=(store.uri, self.races, gate, answers))
            for _ in range(_RACERS)
        ]
        for racer in racers:
            racer.start()
        won = [answers.get(timeout=240) for _ in racers]
        for racer in racers:
            racer.join()
        for round_ in range(self.races):
            (winner,) = [name for names in won for name in names[round_]]
            assert store.read(f"race/{round_}") == winner.encode()

    def test_a_lost_answer_is_found_out(self, store: Store) -> None:
        losing = self.losing(store)
        if losing is None:
            return
        store.put_if_absent("lost/taken", b"another's")
        with losing as lossy:
            for number in range(4):
                assert lossy.put_if_absent(f"lost/{number}", b"mine")
                assert not lossy.put_if_absent("lost/taken", b"mine")
        assert store.read("lost/taken") == b"another's"
        assert store.read("lost/3") == b"mine"

    def test_what_is_written_is_there_at_once(self, store: Store) -> None:
        other = self.again(store)
        for number in range(10):
            name = f"now/{number}"
            assert store.put_if_absent(name, b"x")
            assert other.read(name) == b"x"
            assert (name, 1) in other.list("now/")
            store.write(name, b"yy")
            assert other.read(name) == b"yy"
        store.delete("now/0")
        assert [path for path, _ in other.list("now")] == [f"now/{n}" for n in range(1, 10)]

    def test_lists_what_is_there(self, store: Store) -> None:
        for name in ("x/2", "x/10", "x/y/3", "xx/4"):
            store.write(name, b"abc")
        assert store.list("x/") == [("x/10", 3), ("x/2", 3), ("x/y/3", 3)]
        assert store.list("none/") == []
        store.write(".hidden/1", b"x")
        assert store.list(".hidden") == [(".hidden/1", 1)]
        store.delete("x/2")
        assert [path for path, _ in self.again(store).list("x")] == ["x/10", "x/y/3"]

    def test_puts_and_opens_files(self, store: Store, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"x" * 100_000)
        store.put_file(source, "files/name with # % ? é")
        with store.open("files/name with # % ? é") as file:
            file.seek(99_990)
            assert file.read() == b"x" * 10

    def test_copies_within_itself(self, store: Store) -> None:
        store.write("from/a=b%2Fc é/1", b"old")
        for _ in range(2):
            store.copy("from/a=b%2Fc é/1", "to/a=b%2Fc é/2")
        store.write("from/a=b%2Fc é/1", b"new one")
        assert store.read("to/a=b%2Fc é/2") == b"old"
        store.copy("from/a=b%2Fc é/1", "to/a=b%2Fc é/2")
        store.delete("from/a=b%2Fc é/1")
        assert store.list("to") == [("to/a=b%2Fc é/2", 7)]
        try:
            store.copy("from/nothing", "to/3")
        except FileNotFoundError:
            return
        raise AssertionError("a copy of a missing file must raise FileNotFoundError")

    def test_a_reader_sees_old_or_new(self, store: Store) -> None:
        store.write("page", b"a" * 200_000)
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                for letter in (b"b", b"a"):
                    store.write("page", letter * 200_000)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            seen = {bytes(set(store.read("page"))) for _ in range(50)}
        finally:
            stop.set()
            writer.join()
        assert seen <= {b"a", b"b"}
