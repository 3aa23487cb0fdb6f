"""Where a module is tested: in the file of its name, or in the one that the table names.

The folders of the tests mirror those of the package: mapred/a/b.py is tested by tests/a/test_b.py,
or by tests/test_a.py where one file is enough for a whole package. What belongs to no module, runs
as a whole, is in tests/whole.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "mapred"
# The test file of each module that has none of its own name.
TESTED_BY = {
    "backends/argo/test_doctor.py": "backends.argo.pod_scripts.checkup backends.findings",
    "backends/argo/test_deployments.py": "backends.argo.templates",
    "backends/argo/test_driving.py": "backends.argo.submitters",
    "backends/argo/test_handle.py": "backends.argo.watch backends.argo.reasons backends.argo.statuses",
    "backends/argo/test_rbac.py": "backends.argo.claims",
    "backends/argo/test_render.py": (
        "backends.argo.backend backends.argo.locations backends.argo.objects backends.argo.pods"
    ),
    "backends/test_config.py": "backends.config_files",
    "backends/test_contract.py": (
        "backends backends.inline backends.local engine.base testing.backend testing.changes"
    ),
    "backends/test_dask.py": "engine.hosted",
    "cli/test_clusters.py": "cli.jobs",
    "cli/test_commands.py": "__main__ cli cli.reports",
    "cli/test_output.py": "display.tables",
    "cli/test_run_list.py": "cli.runs",
    "client/test_hints.py": "functions.origins",
    "client/test_completing.py": "runfolder.completed runfolder.extent",
    "client/pipelines/test_gates.py": "client.pipelines.asking",
    "client/pipelines/test_kills.py": (
        "client.pipelines.driver client.pipelines.steps runfolder.pipelines"
    ),
    "client/pipelines/test_pod.py": "client.pipelines.remote client.pipelines.waiting",
    "client/pipelines/test_pipeline.py": (
        "client.pipelines.arguments client.pipelines.context client.pipelines.failing client.pipelines.handle client.pipelines.prepared "
        "client.pipelines.stored model.pipelines"
    ),
    "client/test_advising.py": "cli.keeping client.run_summaries display.advice",
    "client/test_history.py": "client.lookup display.summary",
    "client/test_options.py": (
        "cli.options client.api client.job client.plan client.submission model.checking model.rules"
    ),
    "client/test_retention.py": (
        "cli.retention client.removable client.run_errors client.run_handle client.run_results runfolder.files"
    ),
    "client/test_run_outputs.py": (
        "dataset.runs runfolder.places runfolder.references worker.other_runs writing.published"
    ),
    "client/test_deploying.py": "backends.deployments client.stored",
    "client/test_scheduling.py": "backends.argo.pod_scripts.notice backends.schedules",
    "dataset/test_coercion.py": "dataset.options dataset.readers",
    "dataset/test_imports.py": "process.lazy process.private",
    "dataset/test_lakes.py": "dataset.manifests",
    "dataset/test_remote_listing.py": "dataset.remote_walk",
    "dataset/test_schema.py": "arrow.samples",
    "display/test_live.py": "display.showing",
    "display/test_plan.py": "display.text.plan",
    "display/test_sweeps.py": "display.drawing",
    "display/test_run.py": (
        "display.html display.markup display.scales display.svg display.text.bars display.text.failures display.text.run"
    ),
    "engine/test_fork_client.py": "engine.messages engine.worker_process",
    "formats/test_casting.py": "arrow.types formats.schemas",
    "formats/test_csv.py": "formats.lines formats.tables",
    "formats/test_csv_dialects.py": "formats.headers",
    "formats/test_csv_values.py": "formats.conversion formats.inference formats.parsing",
    "formats/test_items.py": "formats.whole_files",
    "formats/test_parquet.py": "formats.int96",
    "formats/test_text.py": "formats formats.base formats.compression",
    "functions/test_code_digest.py": (
        "functions.class_forms functions.code_forms functions.object_forms functions.ownership"
    ),
    "functions/test_fitting.py": "functions.commands",
    "functions/test_instances.py": "worker.closing",
    "functions/test_modules.py": (
        "functions.copying functions.earlier functions.pickling process.definitions"
    ),
    "functions/test_signatures.py": "functions.task",
    "model/test_canonical.py": "model.arrow_forms model.columns model.forms model.frame_forms",
    "model/test_coding.py": (
        "model.failure model.fields model.layout model.records model.shuffle model.spec model.status"
    ),
    "model/test_packs.py": "process.whereabouts worker.turns",
    "model/test_policy.py": "model.events",
    "planner/test_shards.py": "planner.ranges",
    "process/test_forks.py": "process.children",
    "process/test_secrecy.py": "functions.excerpts storage.allowed",
    "runfolder/test_agreement.py": "runfolder.gathering",
    "runfolder/test_liveness.py": "client.drivers",
    "runfolder/test_records.py": "runfolder.run_records runfolder.task_records",
    "runfolder/test_results.py": "runfolder.outputs runfolder.tabular",
    "runfolder/test_tabulating.py": "runfolder.items",
    "runfolder/test_swept.py": "functions.plain_numbers",
    "runfolder/test_shortfall.py": "runfolder.plans runfolder.tally",
    "shuffle/test_aggregates.py": (
        "shuffle.answers shuffle.dense shuffle.kinds shuffle.lists shuffle.quantiles shuffle.sums"
    ),
    "storage/test_access.py": "storage.responses",
    "storage/test_inside.py": "storage.uris",
    "storage/test_local.py": "testing.store",
    "storage/test_object_store.py": "storage.aws storage.bucket_store storage.object_client",
    "storage/test_opening.py": "storage storage.arrow storage.base storage.ossfs",
    "storage/test_oss.py": "storage.oss_client",
    "storage/test_requests.py": "storage.concurrency storage.retries",
    "test_public_api.py": "__init__",
    "test_wheel.py": "_version",
    "whole/test_ends.py": "engine.leaving engine.thread process.interrupts runfolder.failures",
    "whole/test_errors.py": "errors errors.escaping errors.rendering",
    "whole/test_frame_indexes.py": "arrow.indexes",
    "whole/test_protocol.py": (
        "testing.fakes worker.attempt worker.context worker.inputs worker.map worker.reduce "
        "worker.storing worker.tasks"
    ),
    "whole/test_resume.py": "engine.batch engine.calls engine.driver engine.progress engine.watch",
    "whole/test_trust.py": "storage.looking",
    "worker/test_keyed.py": (
        "arrow.encoding shuffle.arguments shuffle.manifest shuffle.map_side shuffle.memory "
        "shuffle.part_files shuffle.reduce_side shuffle.skew"
    ),
    "worker/test_supervisor.py": "worker.blocks",
    "writing/test_delta.py": "writing.stats",
}


def defines(file: Path) -> bool:
    """Whether a module is more than names of others."""
    things = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return any(isinstance(node, things) for node in ast.parse(file.read_bytes()).body)


def own_file(module: str) -> Path | None:
    """The test file of the module's own name, or of a package around it."""
    parts = module.split(".")
    files = [TESTS.joinpath(*parts[:i], f"test_{part}.py") for i, part in enumerate(parts)]
    return next((file for file in reversed(files) if file.exists()), None)


def modules() -> list[str]:
    files = [file for file in PACKAGE.rglob("*.py") if file.stem != "__init__" or defines(file)]
    named = (file.relative_to(PACKAGE).with_suffix("").parts for file in sorted(files))
    return [name for parts in named if (name := ".".join(parts).removesuffix(".__init__"))]


def test_every_module_is_tested_in_a_known_place() -> None:
    listed = " ".join(TESTED_BY.values()).split()
    nowhere = [name for name in modules() if own_file(name) is None and name not in listed]
    assert not nowhere, f"write tests/…/test_NAME.py, or list them in TESTED_BY: {nowhere}"


def test_the_table_names_what_has_no_file_of_its_own() -> None:
    listed = Counter(" ".join(TESTED_BY.values()).split())
    assert [name for name, times in listed.items() if times > 1] == []
    assert listed.keys() <= set(modules()), "gone: take it off the table"
    own = {name: str(file) for name in listed if (file := own_file(name)) is not None}
    assert own == {}, "these need no line in the table"


def test_the_table_names_files() -> None:
    assert [file for file in TESTED_BY if not (TESTS / file).exists()] == []
