"""What a dataset says of itself."""

from __future__ import annotations

from mapred import dataset
from mapred.dataset import as_dataset


def test_datasets_say_what_they_are() -> None:
    assert str(as_dataset("a/*.csv")) == "a/*.csv"
    assert str(as_dataset(["a.csv", "b.csv", "c.csv"])) == "a.csv and 2 more"
    assert repr(dataset.array(3000)) == "<Dataset array of 3,000>"
