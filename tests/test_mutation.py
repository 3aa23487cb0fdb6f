"""The faults that `make mutants` puts into mapred, and the sample that it takes of them."""

from __future__ import annotations

import ast

from mutation.__main__ import PARTS, mutants, sample
from mutation.points import faults
from mutation.trials import ALSO, ROOT, Mutant, suite_of
from test_mirror import modules

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
    parts = [name.split(".") for name in modules() if name.startswith(("planner", "formats"))]
    named = {"/".join(part) + ".py": suite_of("/".join(part) + ".py") for part in parts}
    assert [file for file, names in named.items() if not names] == []
    assert all((ROOT / "tests" / name).exists() for names in named.values() for name in names)
    assert named["planner/stages.py"] == ["planner/test_stages.py"]
    assert len(named["formats/csv.py"]) == 4
    assert {name.replace(".", "/") + ".py" for name in ALSO} <= named.keys()


def test_names_tell_where_a_fault_is() -> None:
    assert Mutant("planner/shards.py", None).name == "planner/shards.py as it is"
    fault = faults(b"x = 1\ny = (x\n  < 2)\n")[-2]
    assert Mutant("a.py", fault).name == "a.py:2:11: x < 2 -> (x <= 2)"


def test_the_parts_are_there() -> None:
    assert all(next(mutants([part]), None) for part in PARTS)
