"""The names that `mapred` promises, pinned: adding or losing one is a decision."""

from __future__ import annotations

import mapred

PUBLIC = """
    AccessError Answer Argo Audit Backend BackendError CommandError Completed Dask Dataset DatasetError Deployment Failure File FunctionError Gate Job Local MapredError MissingDependency Pipeline PipelineRun PipelineStatus Plan
    PlanError ReduceError Reducer Removals Resources Run RunError RunStatus Schedule StaleDatasetError StepStatus StorageError
    Store Task Volume Written
    __version__
    approve array command deployed deployments errors files gc items job loguniform open outputs pipeline plan
    public read_arrow read_csv read_files read_json read_parquet read_text recorded reducers rm run runs schedule
    schedules submit sweep undeploy uniform unschedule
    write_delta write_parquet
"""


def test_all_is_pinned() -> None:
    assert sorted(mapred.__all__) == sorted(PUBLIC.split())


def test_every_name_is_there() -> None:
    assert set(mapred.__all__) <= set(dir(mapred))
    for name in mapred.__all__:
        assert getattr(mapred, name) is not None


def test_each_name_has_one_line_that_says_what_it_is() -> None:
    for name in set(mapred.__all__) - {"__version__"}:
        first, *more = (getattr(mapred, name).__doc__ or "").strip().splitlines()
        assert first.endswith("."), f"mapred.{name} begins with: {first}"
        assert not more or not more[0].strip(), f"mapred.{name} has more than a line first"
