"""Every path inside a run's folder. Nothing else knows a name.

root/<run-id>/
  job.json                              the job: stages, backend's arguments, digests of all below
  function.pkl  reduce.pkl              the functions (cloudpickle)
  modules.pkl                           the sources of the user's own modules
  input/                                pickled items and how often each came before, Arrow frames
  sums/                                 the digests of each MiB of these, where they are large
  plan/00000.parquet                    the plan, one file per `PLAN_SHARDS` shards
  <stage>/data/000017-<attempt>.arrow   what one attempt wrote
  <stage>/files/000017-<attempt>/NAME   what it wrote by `task.output`
  <stage>/commits/000017.json           the commit: put if absent; `….broken` was one that cannot be read
  <stage>/schemas/000000.arrow          names and types of the tables, as they came: put if absent
  <stage>/errors/000017-<attempt>.json  a failed attempt
  <stage>/logs/000017-<attempt>.txt     what it printed
  map/kept/000017/…                     what succeeded in failed attempts, until there is a commit
  result/manifest.json                  the outputs of the last stage
  handle.json                           where the run was last started: how to reach it
  heartbeat.json                        when the process that drives it last said that it lives
  writes/<id>.json                      where tables of this run were written to
  failed.json  end.json                 final words: put if absent
  removed.json                          the run is being removed: what is left goes too

A pipeline's folder lies beside those of its runs:

root/<pipeline-id>/
  pipeline.json                         the pipeline: its parameters, digests of the next files
  function.pkl  modules.pkl             its function
  parameters.pkl                        what it is called with
  order/0-000003.json                   the step that it asked for in that place: put if absent
  claims/<address>.json                 the run that does a step: put if absent
  recorded/<address>.json               what `mapred.recorded` keeps: put if absent
  gates/<name>.json  answers/<name>.json  a question and its answer: put if absent
  resumptions/000001.json               what a resumption starts again: put if absent
  handle.json  heartbeat.json  end.json as those of a run
  result.pkl                            what the function returned

Stages are called `map`, `reduce-1`, `reduce-2`, …
"""

from __future__ import annotations

import functools
import re

JOB = "job.json"
INPUT = "input/"
PLAN = "plan/"
FUNCTION = "function.pkl"
REDUCE = "reduce.pkl"
MODULES = "modules.pkl"
ITEMS = "input/items.pkl"
OCCURRENCES = "input/occurrences"
FRAME = "input/frame.arrow"
HANDLE = "handle.json"
HEARTBEAT = "heartbeat.json"
FAILED = "failed.json"
END = "end.json"
MANIFEST = "result/manifest.json"
REMOVED = "removed.json"
WRITES = "writes/"
PIPELINE = "pipeline.json"
PARAMETERS = "parameters.pkl"
RESULT = "result.pkl"
ORDER = "order/"
CLAIMS = "claims/"
RECORDED = "recorded/"
GATES = "gates/"
ANSWERS = "answers/"
RESUMPTIONS = "resumptions/"
KEPT = "map/kept/"  # what failed attempts at map tasks kept for the next one
PLAN_SHARDS = 1000
_NUMBER, _ATTEMPT = r"([0-9]{6,18})", r"-[0-9]+-[0-9a-f]+"
_NAMES = {
    "commits": re.compile(rf"{_NUMBER}\.json"),
    "schemas": re.compile(rf"{_NUMBER}\.arrow"),
    "errors": re.compile(rf"{_NUMBER}{_ATTEMPT}\.json"),
    "logs": re.compile(rf"{_NUMBER}{_ATTEMPT}\.txt"),
    "data": re.compile(rf"{_NUMBER}{_ATTEMPT}\.[a-z]+"),
}

# A run's id is the name of its folder, and a word of command lines.
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NAMED = (
    r"(?:job|handle|heartbeat|failed|end|removed)\.json",
    r"(?:function|reduce|modules)(?:-[0-9a-f]{12})?\.pkl",
    r"pipeline\.json",
    r"(?:parameters|result)\.pkl",
    r"order/\d+-(?:\d{6,}|[0-9a-f]{16,})\.json",
    r"(?:claims|recorded)/[0-9a-f]{16,}\.json",
    r"(?:gates|answers)/[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.json",
    r"resumptions/\d{6,}\.json",
    r"(?:input|sums)/(?:items\.pkl|occurrences|frame\.arrow)",
    r"plan/\d{5,}\.parquet",
    r"result/manifest\.json",
    r"writes/[^/]+\.json",
    r"[a-z]+(?:-\d+)?/(?:data|commits|schemas|errors|logs)/\d{6,}[^/]*",
    r"[a-z]+(?:-\d+)?/files/\d{6,}-[^/]+/[^/]+",
    r"map/kept/\d{6,}/(?:values/[^/]+|files/[^/]+/[^/]+)",
)


def is_run_id(text: object) -> bool:
    """Whether a text can be the id of a run: up to 128 letters, digits, `_`, `-` and `.`."""
    return isinstance(text, str) and _RUN_ID.fullmatch(text) is not None


def is_named(path: str) -> bool:
    """Whether a path is one of this module's, and so a run's own."""
    return _name_pattern().fullmatch(path) is not None


def is_record(path: str) -> bool:
    """Whether a file of a run is a record in JSON rather than what a task wrote."""
    return path.endswith(".json") and "/files/" not in path


@functools.cache
def _name_pattern() -> re.Pattern[str]:
    return re.compile("|".join(_NAMED), re.DOTALL)


def sums(path: str) -> str:
    """Return the file with the digests of an input file's pieces."""
    return f"sums/{path.removeprefix(INPUT)}"


def packages(digest: str) -> str:
    """Return an archive of packages, beside the runs that share it: below the root, not the run."""
    return f".packages/{digest}.tar"


def lock(key: str) -> str:
    """Return the record of what an archive of packages was made of, whose digest is `key`."""
    return f".packages/{key}.json"


def schedule(name: str, digest: str) -> str:
    """Return the job of a schedule, below the root, not a run."""
    return f".schedules/{name}/{digest}.pkl"


def deployment(name: str, digest: str) -> str:
    """Return a version of a deployed job, below the root, not a run."""
    return f".deployments/{name}/{digest}.pkl"


def changed(path: str, digest: str) -> str:
    """Return where a run that was resumed with other functions, reduce or modules has them."""
    return f"{path.removesuffix('.pkl')}-{digest[:12]}.pkl"


def plan_file(number: int) -> str:
    """Return the plan file that holds shards `number * PLAN_SHARDS` and on."""
    return f"{PLAN}{number:05d}.parquet"


def commits(stage: str) -> str:
    """Return the folder whose listing is the progress of a stage."""
    return f"{stage}/commits/"


def commit(stage: str, index: int) -> str:
    return f"{stage}/commits/{index:06d}.json"


def schemas(stage: str) -> str:
    return f"{stage}/schemas/"


def schema(stage: str, number: int) -> str:
    """Return what the tables of a stage agree on; each says more than the one before it."""
    return f"{stage}/schemas/{number:06d}.arrow"


def stem(index: int, attempt: str) -> str:
    """Return how the names of all that an attempt at a task stores begin."""
    return f"{index:06d}-{attempt}"


def data(stage: str, stem: str, suffix: str) -> str:
    return f"{stage}/data/{stem}.{suffix}"


def all_data(stage: str) -> str:
    """Return the folder of what all attempts of a stage wrote."""
    return f"{stage}/data/"


def all_outputs(stage: str) -> str:
    """Return the folder of what they wrote by `task.output`."""
    return f"{stage}/files/"


def output(stage: str, stem: str, name: str) -> str:
    return f"{stage}/files/{stem}/{name}"


def kept_of(index: int) -> str:
    return f"{KEPT}{index:06d}/"


def kept_index(path: str) -> int | None:
    """Return the task that a path below `KEPT` belongs to; None for any other path."""
    number, slash, _ = path.removeprefix(KEPT).partition("/")
    return int(number) if slash and number.isdecimal() else None


def kept_values(index: int) -> str:
    return f"{kept_of(index)}values/"


def kept_value(index: int, number: int) -> str:
    """Return what an attempt kept, numbered from 0 so that it is found without a listing."""
    return f"{kept_values(index)}{number:06d}.pkl"


def kept_file(index: int, attempt: str, name: str) -> str:
    return f"{kept_of(index)}files/{attempt}/{name}"


def errors(stage: str) -> str:
    return f"{stage}/errors/"


def error(stage: str, stem: str) -> str:
    return f"{stage}/errors/{stem}.json"


def logs(stage: str) -> str:
    return f"{stage}/logs/"


def log(stage: str, stem: str) -> str:
    return f"{stage}/logs/{stem}.txt"


def write_record(write_id: str) -> str:
    """Return the record of a dataset that the run writes to, for cleanup."""
    return f"{WRITES}{write_id}.json"


def order(generation: int, place: int | str) -> str:
    """Return the record of a step: by its place in the pipeline's own thread, else by its address."""
    where = f"{place:06d}" if isinstance(place, int) else place
    return f"{ORDER}{generation}-{where}.json"


def claim(address: str) -> str:
    return f"{CLAIMS}{address}.json"


def recorded(address: str) -> str:
    return f"{RECORDED}{address}.json"


def gate(name: str) -> str:
    return f"{GATES}{name}.json"


def answer(name: str) -> str:
    return f"{ANSWERS}{name}.json"


def resumption(number: int) -> str:
    return f"{RESUMPTIONS}{number:06d}.json"


def index_of(path: str) -> int | None:
    """Return the task index in the name of a commit, an error, a log, a schema or an output.

    None for any other file: desktops and editors leave theirs in folders as well.
    """
    folder, _, name = path.rpartition("/")
    pattern = _NAMES.get(folder.rpartition("/")[2])
    match = pattern and pattern.fullmatch(name)
    return int(match[1]) if match else None


def attempt_of(path: str) -> str:
    """Return the attempt in the name of an error or a log."""
    name = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return name.split("-", 1)[1]
