"""Check that a run is whole: every byte, item and record of the plan has a commit.

`coverage` compares the plan with what was read, `outputs` and `files` what was returned with
what lies in the run's folder, `published` what `write=` wrote with the dataset.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from mapred import display
from mapred.client.audit import commits, coverage, ending, files, outputs
from mapred.client.audit.files import Stored
from mapred.client.audit.problems import Problem
from mapred.client.audit.published import Published, check_published
from mapred.display.format import pluralize
from mapred.display.text.run import given_up_text, skipped_text
from mapred.errors import MapredError
from mapred.model import layout
from mapred.model.records import Commit, GivenUp
from mapred.model.spec import Job, Stage
from mapred.planner import plan_schema, read_plan
from mapred.runfolder import plans
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store, etags, map_ahead

__all__ = ["Audit", "Problem", "audit"]

_MOST = 50
_BROKEN = (ValueError, KeyError, TypeError, OSError, pa.ArrowException)


@dataclass(frozen=True)
class MadeBy:
    """How many commits of a stage one function made: its name, file and SHA-256."""

    stage: str
    name: str
    file: str
    digest: str
    commits: int

    def __str__(self) -> str:
        file = f" of {self.file}" if self.file else ""
        return f"{pluralize(self.commits, 'commit')} by {self.name}{file} ({self.digest[:12]})"


@dataclass(frozen=True)
class Audit:
    """What `Run.audit` checked, and the problems: none means that the run is whole but for `given_up`.

    Its text says it in a few lines.

    Attributes:
        run: The run's id.
        shards: How many shards were read, for what stands.
        planned_shards: How many shards the plan has.
        ranges: How many ranges of files were read.
        planned_ranges: How many ranges the plan has.
        bytes: How many bytes were read.
        planned_bytes: How many bytes the plan has.
        items: How many items were done.
        planned_items: How many items the plan has.
        records: How many records were read.
        skipped: How many malformed rows were left out.
        commits: How many commits there are, of all stages.
        files: How many files the job itself has in the run's folder.
        outputs: How many outputs of tasks there are as files.
        inline: How many results lie in commits; they are always read.
        published: How many files of a dataset `write=` published.
        replaced: How many of those a later version of the dataset replaced.
        contents: How many files were read whole.
        sizes: Of how many files only the size was compared.
        etags: Of how many files size and the store's own checksum were compared.
        given_up: The shards or items that the run goes without.
        unread_bytes: The bytes of given-up shards, which nobody read.
        unread_records: Their records, estimated from the other shards.
        functions: Which function made how many commits of which stage; a run that was resumed with
            another function has several for a stage.
        problems: What is wrong, one value each.

    Examples:
        >>> audit = mapred.run(abs, [-1, -2, -3]).audit()
        >>> audit.ok, audit.complete, audit.problems
        (True, True, ())
    """

    run: str
    shards: int
    planned_shards: int
    ranges: int
    planned_ranges: int
    bytes: int
    planned_bytes: int
    items: int
    planned_items: int
    records: int
    skipped: int
    commits: int
    files: int
    outputs: int
    inline: int
    published: int
    replaced: int
    contents: int
    sizes: int
    etags: int
    given_up: GivenUp
    unread_bytes: int
    unread_records: int
    functions: tuple[MadeBy, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong but for losses that `max_failed` and `on_bad_rows` allow."""
        return not self.problems

    @property
    def complete(self) -> bool:
        """Whether nothing is wrong and nothing was given up or skipped."""
        return self.ok and not self.given_up.indices and not self.skipped

    def __str__(self) -> str:
        head = f"{self.run}: {self._describe_read()}; {self._describe_checks()}: "
        if self.ok:
            return "\n".join([head + self._describe_wholeness(), *self._made_by()])
        lines = [str(problem) for problem in self.problems[:_MOST]]
        more = len(self.problems) - len(lines)
        lines = [head + pluralize(len(self.problems), "problem"), *lines]
        lines += [f"… and {more:,} more"] if more else []
        return "\n".join([*lines, *self._list_losses(), *self._made_by()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        counts = [("shards", self.shards, self.planned_shards)]
        counts += [("ranges", self.ranges, self.planned_ranges)]
        counts += [("bytes", self.bytes, self.planned_bytes)]
        counts += [("items", self.items, self.planned_items)] * bool(self.planned_items)
        rows = [{"": what, "read": done, "planned": all_} for what, done, all_ in counts]
        return display.table_html(rows, str(self).split("\n"))

    def _describe_read(self) -> str:
        parts = [
            pluralize(self.commits, "commit"),
            _format_share(self.shards, self.planned_shards, "shard"),
            _format_share(self.ranges, self.planned_ranges, "range"),
            _format_share(self.bytes, self.planned_bytes, "byte"),
        ]
        if self.planned_items:
            parts.append(_format_share(self.items, self.planned_items, "item"))
        return ", ".join([*parts, pluralize(self.records, "record")])

    def _describe_checks(self) -> str:
        kinds = [pluralize(self.files, "file") + " of the job", pluralize(self.outputs, "output")]
        kinds += [pluralize(self.published, "published file")] if self.published else []
        ways = [f"{self.contents:,} by content", f"{self.sizes:,} by size alone"]
        ways += [f"{self.etags:,} by size and etag"] if self.etags else []
        read = self.contents + self.sizes + self.etags
        names = self.files + self.outputs + self.published - read
        ways += [f"{names:,} by name"] if names else []
        text = f"{', '.join(kinds)} checked ({', '.join(ways)})"
        text += f", {pluralize(self.inline, 'inline result')}" if self.inline else ""
        if self.replaced:
            text += f"; {pluralize(self.replaced, 'published file')} replaced by a later version"
        return text

    def _made_by(self) -> Iterator[str]:
        """Yield, for each stage with commits of several functions, how many each made."""
        for stage in dict.fromkeys(made.stage for made in self.functions):
            makers = [made for made in self.functions if made.stage == stage]
            if len(makers) > 1:
                yield f"{stage}: {', '.join(map(str, makers))}"

    def _list_losses(self) -> list[str]:
        losses = []
        if self.given_up.indices:
            losses.append(given_up_text(self.given_up) + self._describe_unread())
        if self.skipped:
            losses.append(skipped_text(self.skipped))
        return losses

    def _describe_unread(self) -> str:
        if not self.unread_bytes:
            return ""
        about = f" and about {pluralize(self.unread_records, 'record')}" if self.records else ""
        return f" ({pluralize(self.unread_bytes, 'byte')}{about} not read)"

    def _describe_wholeness(self) -> str:
        losses = self._list_losses()
        return f"whole but for {' and '.join(losses)}" if losses else "whole"


def _format_share(number: int, planned: int, what: str) -> str:
    total = pluralize(planned, what)
    return total if number == planned else f"{number:,} of {total}"


@dataclass
class _Sums:
    """The fields of an `Audit` that are summed over the commits."""

    shards: int = 0
    ranges: int = 0
    bytes: int = 0
    records: int = 0
    skipped: int = 0
    commits: int = 0
    outputs: int = 0
    inline: int = 0
    etags: int = 0
    functions: Counter[tuple[str, str]] = field(default_factory=Counter)


def audit(folder: RunFolder, job: Job, *, content: bool = True, contact: bool = False) -> Audit:
    """Check a run's folder and what it published; nothing that a user wrote is unpickled.

    Reads every plan file and commit, and once every file of the job, output, published file
    and footer of a Parquet dataset. Without `content` only the sizes of files are compared.
    With `contact` the dataset is read by the file system and options that the run's record names.
    """
    changed = ending.check_same_job(folder)
    tasks, problems = ending.check_given_up(folder, job)
    store = folder.store
    plan, unreadable = _plan(store, job)
    given_up = GivenUp() if unreadable else folder.given_up(job, tasks)
    lost = {task for task, items in tasks.items() if items is None}
    sums = _Sums()
    problems += [*ending.check_end(folder), *([] if changed is None else [changed]), *unreadable]
    foreign = [*_job_files(store, job, plan, content=content)]
    problems += foreign
    # Where files are not those of the job, nothing else in the folder is followed.
    listed, wrong = ({}, []) if foreign else ending.listed_outputs(folder, job, lost)
    problems += [*wrong, *_stages(folder, job, plan, given_up, lost, listed, sums, content=content)]
    published = Published()
    if changed is None and not unreadable:
        # A job or a plan that someone changed may name any file, so none of theirs is opened.
        problems += coverage.coverage(plan, job)
        problems += coverage.seams(folder, plan, job)
        if content and not foreign:
            problems += coverage.row_groups(folder, plan, job, given_up, contact=contact)
        published = check_published(folder, job, lost, content=content)
        problems += published.problems
    inputs = sum(path.startswith(layout.INPUT) for path in job.digests)
    looked_at = sums.outputs + published.files
    unread = 0 if job.format.once_per_item else coverage.unread_bytes(plan, lost)
    return Audit(
        **{**vars(sums), "functions": tuple(_made_by(job, sums.functions))},
        run=job.run_id,
        planned_shards=job.shards,
        planned_ranges=plan.num_rows,
        planned_bytes=job.bytes,
        items=sums.records if job.format.once_per_item else 0,
        planned_items=job.items,
        files=len(job.digests),
        published=published.files,
        replaced=published.replaced,
        contents=looked_at + len(job.digests) if content else 0,
        sizes=0 if content else looked_at + inputs - sums.etags,
        given_up=given_up,
        unread_bytes=unread,
        unread_records=round(unread * sums.records / max(1, sums.bytes)),
        problems=tuple(problems),
    )


def _made_by(job: Job, commits: Mapping[tuple[str, str], int]) -> Iterator[MadeBy]:
    paths = {digest: path for path, digest in job.digests.items()}
    for (stage, digest), number in commits.items():
        origin = job.code.get(paths.get(digest, ""), {})
        yield MadeBy(stage, origin.get("name", job.name), origin.get("file", ""), digest, number)


def _stages(
    folder: RunFolder,
    job: Job,
    plan: pa.Table,
    given_up: GivenUp,
    lost: set[int],
    listed: ending.Entries,
    sums: _Sums,
    *,
    content: bool,
) -> Iterator[Problem]:
    store = folder.store
    for stage in job.stages:
        attempts: dict[str, int] = {}
        tasks = [i for i in range(stage.tasks) if stage.kind != "map" or i not in lost]
        listing = None if content else _list_outputs(store, stage)
        check_file = functools.partial(files.check_file, store, listing=listing)
        check_task = functools.partial(_check_task, folder, stage, check_file)
        for index, (commit, wrong) in zip(tasks, map_ahead(store, check_task, tasks), strict=True):
            yield from wrong
            if commit is None:
                continue
            yield from _identity(commit, stage, index, attempts)
            _add_commit(sums, commit, stage, given_up.kept.get(index, commit.records))
            written = outputs.iter_files(commit)
            sums.etags += sum(files.has_etag(listing or {}, file) for file in written)
            if stage.kind == "map" and plan.num_rows:
                yield from coverage.reading(plan, commit, index, job, given_up)
            if stage.last:
                yield from outputs.check_listed(listed, commit, check_file)
        yield from commits.check_inputs_taken(folder, job, stage, lost)


def _add_commit(sums: _Sums, commit: Commit, stage: Stage, kept: int) -> None:
    sums.commits += 1
    sums.functions[stage.name, commit.function] += 1
    sums.outputs += (commit.output.path is not None) + len(commit.files)
    sums.inline += commit.output.kind == "inline"
    if stage.kind == "map":
        sums.shards += 1
        sums.ranges += commit.ranges
        sums.bytes += commit.bytes
        sums.records += kept
        sums.skipped += commit.skipped


def _list_outputs(store: Store, stage: Stage) -> files.Listing:
    data = etags(store, layout.all_data(stage.name))
    return data | etags(store, layout.all_outputs(stage.name))


def _check_task(
    folder: RunFolder, stage: Stage, check: Callable[[Stored], Problem | None], index: int
) -> tuple[Commit | None, list[Problem]]:
    """Return a task's commit, and what is wrong with it and its outputs."""
    commit, problem = commits.commit(folder, stage.name, index)
    if problem is not None:
        return None, [problem]
    if commit is None:
        text = f"no commit; it reads {_where(folder.store, stage, index)}"
        return None, [Problem("missing", f"{stage.name} task {index}", text)]
    wrong = [p for p in map(check, outputs.iter_files(commit)) if p is not None]
    inline = outputs.check_inline(commit) if commit.output.kind == "inline" else ()
    return commit, [*wrong, *inline]


def _where(store: Store, stage: Stage, index: int) -> str:
    try:
        return plans.describe_task_input(store, stage, index)
    except (MapredError, *_BROKEN):
        return "what a plan says that cannot be read"


def _job_files(store: Store, job: Job, plan: pa.Table, *, content: bool) -> Iterator[Problem]:
    """Yield what is wrong with the files that the job names, such as the function and the items."""
    listing = None if content else {p: (size, "") for p, size in store.list(layout.INPUT)}
    for path, digest in sorted(job.digests.items()):
        file = Stored(path, path, "the file", None, digest)
        if content:
            problem = files.check_file(store, file, None)
        elif path.startswith(layout.INPUT):
            file = replace(file, size=coverage.planned_size(plan, path))
            problem = files.check_file(store, file, listing)
        else:
            problem = files.check_exists(store, file)
        if problem is not None:
            yield problem


def _plan(store: Store, job: Job) -> tuple[pa.Table, list[Problem]]:
    """Return the plan of a run; an empty one, and why, unless it is the one that the job names."""
    tables, problems = [], []
    for number in plans.plan_numbers(job):
        path = layout.plan_file(number)
        try:
            data = store.read(path)
            if job.digests.get(path) != hashlib.sha256(data).hexdigest():
                raise ValueError("its SHA-256 is not the one that the job names")
            tables.append(read_plan(data))
        except (FileNotFoundError, *_BROKEN) as error:
            text = f"it cannot be compared with what was read: {error}"
            problems.append(Problem("unreadable", path, text))
    if problems or not tables:
        return plan_schema().empty_table(), problems
    return pa.concat_tables(tables), problems


def _identity(
    commit: Commit, stage: Stage, index: int, attempts: dict[str, int]
) -> Iterator[Problem]:
    """Yield a commit of another task, or of an attempt that another task names as well."""
    where = f"{stage.name} task {index}"
    if (commit.stage, commit.task) != (stage.name, index):
        text = f"the commit is that of {commit.stage} task {commit.task}"
        yield Problem("doubled", where, text)
    elif commit.attempt in attempts:
        text = f"attempt {commit.attempt} is also the one of task {attempts[commit.attempt]}"
        yield Problem("doubled", where, text)
    attempts.setdefault(commit.attempt, index)
