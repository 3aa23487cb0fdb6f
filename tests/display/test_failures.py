from __future__ import annotations

from mapred.display import Failures
from mapred.model.failure import Failure


def test_a_prompt_and_a_notebook_see_groups(sample) -> None:
    found = Failures(sample.failure(task) for task in range(200))
    assert len(found) == 200
    assert found[3].task == 3
    bundle = found._repr_mimebundle_()
    assert bundle["text/plain"] == repr(found)
    assert "200 × map: ValueError" in repr(found)
    tree = sample.parse(bundle["text/html"])
    assert "200 failures" in tree.text
    assert "Traceback" in tree.text


def test_no_failures_are_said_so(sample) -> None:
    assert repr(Failures()) == "no failures"
    assert sample.parse(Failures()._repr_mimebundle_()["text/html"]).text == "no failures"
    assert Failures() == ()


def test_a_table_of_failures_has_the_error_of_each_item() -> None:
    errors = {1: "ValueError: no 1", 4: "KeyError: 'a: b'", 6: "StopIteration"}
    failure = Failure(
        "map", 0, "1-a", "function", "ValueError", "no 1", items=(1, 4, 6, 9), errors=errors
    )
    frame = Failures([failure]).to_pandas()
    assert frame["type"].tolist() == ["ValueError", "KeyError", "StopIteration", "ValueError"]
    assert frame["message"].tolist() == ["no 1", "'a: b'", "", "no 1"]
