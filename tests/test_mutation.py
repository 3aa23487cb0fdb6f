"""The faults that `make mutants` puts into mapred, and the sample that it takes of them."""

from __future__ import annotations

import ast

from mutation.__main__ import sample
from mutation.points import faults
from mutation.trials import ROOT, TESTS, Mutant, suite_of

SOURCE = '''"""A text, 1 of them."""
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import elsewhere

def größe(é: int = 2, ö: "1 < 2" = None) -> bool:
    """Not 3."""
    while é < 1:  # kept
        if not ö:
            break
        call(ö)
    return é and True
'''


def test_each_fault_changes_one_place_of_what_is_executed() -> None:
    source = SOURCE.encode()
    made = faults(source)
    assert [(fault.line, fault.old, fault.new) for fault in made] == [
        (6, "2", "(3)"),
        (8, "é < 1", "(not (é < 1))"),
        (8, "é < 1", "(é <= 1)"),
        (8, "1", "(2)"),
        (9, "not ö", "(not (not ö))"),
        (9, "not ö", "(ö)"),
        (10, "break", "continue"),
        (11, "call(ö)", "pass"),
        (12, "return é and True", "return None"),
        (12, "é and True", "(é or True)"),
        (12, "True", "(False)"),
    ]
    for fault in made:
        changed = fault.put_into(source)
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source))
        assert len(changed.splitlines()) == len(source.splitlines())


def test_samples_follow_from_their_seed_and_share_the_parts() -> None:
    parts = ["formats/magic.py", "planner/shards.py"]
    chosen = sample(parts, 20, 1)
    assert chosen == sample(parts, 20, 1)
    assert chosen != sample(parts, 20, 2)
    assert len({mutant.name for mutant in chosen}) == 20
    assert sum(mutant.file == "planner/shards.py" for mutant in chosen) == 10


def test_every_file_of_the_sampled_parts_has_tests() -> None:
    named = [name for names in TESTS.values() for name in names.split()]
    assert [name for name in named if not (ROOT / "tests" / name).exists()] == []
    files = [f"planner/{file.name}" for file in (ROOT / "mapred/planner").glob("*.py")]
    assert all(map(suite_of, [*files, "formats/json/tables.py", "formats/magic.py"]))
    assert suite_of("shuffle/__init__.py") == ["shuffle"]
    assert Mutant("planner/shards.py", None).name == "planner/shards.py as it is"
