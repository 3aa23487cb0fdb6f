"""Each wait of the package has a bound, or stands here with what ends it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mapred"
# What may wait for good, and at which position it takes a bound (None: by name alone).
BOUNDS: dict[str, int | None] = {
    "wait": 0, "wait_for": 1, "result": 0, "exception": 0, "join": 0, "get": 1, "acquire": 1,
    "select": 3, "poll": 0, "communicate": 1, "urlopen": 2, "as_completed": 1, "check_output": None,
    "check_call": None, "waitpid": None, "recv": None, "recv_into": None, "recv_fds": None,
    "recvmsg": None, "accept": None, "receive": None, "readline": None, "sendall": None,
    "send_fds": None, "lockf": None, "flock": None, "gather": None, "shutdown": None, "sleep": None,
    "input": None, "system": None, "popen": None,
}  # fmt: skip
_STORE = "each request of a store has a timeout, and so many tries"
_TRIES = "the waits end, and the loop with them"
_LIMIT = "the loop has a limit of its own"
_POOL = "the pool ends each future, and kills workers that do not leave within some seconds"
_SERVER = "the other end is closed when the driver ends"
_USER = "the user waits for the run, whose driver ends or is seen to have ended"
_DRIVER = "the driver answers, or ends this process"
# What ends each wait that has no bound.
ENDED_BY = {
    "backends.argo.cron.wait_until_gone:sleep": _LIMIT,
    "backends.argo.doctor._await_outcome:sleep": _LIMIT,
    "backends.argo.watch.WorkflowHandle.cancel:sleep": _LIMIT,
    "backends.argo.watch.WorkflowHandle.wait:sleep": _LIMIT,
    "backends.dask.DaskExecutor._pass_on:gather": "the future is done",
    "engine.batch.Batch.close:shutdown": _POOL,
    "engine.driver.Driver.run:shutdown": _POOL,
    "engine.fork_client.ForkServer._listen:recv": "a thread of its own, which ends with the server",
    "engine.fork_client.ForkServer.start:send_fds": "bound_sending",
    "engine.fork_client.ForkServer.start:sendall": "bound_sending",
    "engine.fork_client.fork_server:poll": "a question to Popen, which waits for nothing",
    "engine.fork_server._fill:recv": _SERVER,
    "engine.fork_server._reap:sendall": _SERVER,
    "engine.fork_server._receive:recv_fds": _SERVER,
    "engine.fork_server._work:receive": _SERVER,
    "engine.fork_server.fork_workers:recv": "select says that there is something",
    "engine.fork_server.fork_workers:select": _SERVER,
    "engine.fork_server.fork_workers:sendall": _SERVER,
    "engine.fork_server.serve:wait": "the server ends with the driver",
    "engine.hosted.end:gather": _POOL,
    "engine.hosted.run_in_subprocess:result": _POOL,
    "backends.local.Local.prove:result": _POOL,
    "engine.messages.Channel._take:recv_into": "MSG_DONTWAIT in the driver, else its end",
    "engine.messages.Channel.send:sendall": "bound_sending in the driver, else its end",
    "engine.process_pool.ProcessExecutor._hear:receive": "has_value says that all of it is there",
    "engine.process_pool.ProcessExecutor.kill:join": _POOL,
    "engine.process_pool.ProcessExecutor.shutdown:join": "as long as the calls that run",
    "process.children.end_children:sleep": _LIMIT,
    "cli.reports._result:result": _USER,
    "functions.commands.Command._run:communicate": "as long as the user's program; timeout= ends both",
    "dataset.lakes.Lakes._await_settled:sleep": _LIMIT,
    "dataset.remote_listing._stat_files:result": _STORE,
    "cli.pipelines._conclude:result": _USER,
    "cli.pipelines._follow:sleep": _USER,
    "client.pipelines.handle.PipelineRun._await_end:sleep": _USER,
    "client.pipelines.handle.PipelineRun.result:wait": _USER,
    "client.pipelines.steps.Execution.finish:wait": _USER,
    "client.pipelines.steps.Execution.wait_for_all:wait": _USER,
    "client.run_outputs._await_run:wait": _USER,
    "cli.following.follow_logs:sleep": _USER,
    "cli.following.follow_status:sleep": _USER,
    "client.reporting.__init__.make_page:gather": "a function of this package, which waits for nothing",
    "client.run_results.RunResults._await_result:wait": _USER,
    "client.run_results.RunResults.outputs:wait": _USER,
    "client.viewing._of_dataset:result": "the run has succeeded",
    "client.viewing.result_preview:result": "the run has succeeded",
    "display.colours.paint:get": "the capture of a console, which waits for nothing",
    "client.deploying.__init__._await_run:sleep": _LIMIT,
    "client.deploying.starting.main:wait": _USER,
    "client.scheduling.firing.main:wait": _USER,
    "storage.concurrency.prefetch:result": _STORE,
    "storage.concurrency.prefetch:shutdown": _STORE,
    "storage.bucket_store.BucketStore._persist:sleep": _TRIES,
    "storage.object_store.ObjectStore._pieces:sleep": _TRIES,
    "storage.oss.OSSStore._call:sleep": _TRIES,
    "storage.retries.put_if_absent:sleep": _TRIES,
    "storage.opening.RemoteFile.readline:readline": _STORE,
    "storage.concurrency.run_coroutine:result": _STORE,
    "worker.supervisor._Child._watch:waitpid": "the child was killed",
    "worker.supervisor._Parent.log:readline": _DRIVER,
    "worker.inputs._ready:sleep": "the driver sees where commits are gone, and ends this process",
    "writing.parquet_files._Writer.clean_up:shutdown": _STORE,
    "writing.parquet_files._Writer.finish:result": _STORE,
    "writing.parquet_files._Writer.undo:exception": "the pool was shut down",
    "writing.parquet_files._Writer.undo:result": "the pool was shut down",
    "writing.parquet_files._Writer.undo:shutdown": _STORE,
}
OF_KUBERNETES = re.compile(
    r"(list|read|create|delete|patch|replace|get)_(namespaced|cluster|self)_"
)


def calls(tree: ast.Module, file: str) -> Iterator[tuple[str, ast.Call, bool]]:
    """Each call of a module: the function that it stands in, and whether in a `while` loop."""
    left: list[tuple[str, ast.AST, bool]] = [(file, tree, False)]
    while left:
        name, node, looped = left.pop()
        if isinstance(node, ast.Call):
            yield name, node, looped
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name, looped = f"{name}.{node.name}", False
        looped = looped or isinstance(node, ast.While)
        left += [
            (name, child, looped)
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, (ast.Constant, ast.Name, ast.expr_context))
        ]


def unbounded(source: str, file: str = "module") -> Iterator[str]:
    """`function:call` of every wait that has no bound where it stands."""
    tree = ast.parse(source)
    settings = {ast.unparse(target) for target in context_variables(tree)}
    for name, call, looped in calls(tree, file):
        if settings and owner_of(call) in settings:
            continue
        if waits(call, looped=looped):
            yield f"{name}:{called(call)}"


def context_variables(tree: ast.Module) -> Iterator[ast.expr]:
    """The names of a module's context variables, whose `get` waits for nothing."""
    for node in tree.body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)):
            continue
        if isinstance(node.value, ast.Call) and called(node.value) == "ContextVar":
            yield from node.targets if isinstance(node, ast.Assign) else [node.target]


def called(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def waits(call: ast.Call, *, looped: bool) -> bool:
    name = called(call)
    if OF_KUBERNETES.match(name):
        given = {keyword.arg for keyword in call.keywords}
        return given.isdisjoint({"_request_timeout", None})
    if name in ("run", "call"):
        return ast.unparse(call.func).startswith("subprocess.") and not is_bounded(call, None)
    if name not in BOUNDS or is_of_others(name, call):
        return False
    if name == "sleep":
        return looped
    if name == "waitpid":
        return "WNOHANG" not in ast.unparse(call)
    if name == "shutdown":
        return "wait=False" not in ast.unparse(call)
    return not is_bounded(call, BOUNDS[name])


def owner_of(call: ast.Call) -> str:
    return ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""


def is_of_others(name: str, call: ast.Call) -> bool:
    """Whether another thing of the name is meant: a text's `join`, a mapping's `get`, …"""
    owner = owner_of(call)
    return (
        (name == "join" and bool(call.args))
        or (name == "get" and bool(call.args))
        or (name == "select" and owner != "select")
        or (name == "poll" and owner == "select")
        or (name == "shutdown" and "socket." in ast.unparse(call))
        or (name == "system" and owner != "os")
        or (name in ("result", "exception") and bool(call.args) and owner in ("results", "_log"))
    )


def is_bounded(call: ast.Call, position: int | None) -> bool:
    given = [k.value for k in call.keywords if k.arg in ("timeout", "_request_timeout")]
    if position is not None:
        given += call.args[position : position + 1]
    return any(not (isinstance(each, ast.Constant) and each.value is None) for each in given)


def found() -> set[str]:
    places: set[str] = set()
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.parent.name == "testing":
            continue  # What it waits for is as long as its user's tests may take.
        module = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
        places.update(unbounded(file.read_text(), module))
    return places


def test_every_wait_has_a_bound_or_a_reason() -> None:
    places = found()
    assert sorted(places - ENDED_BY.keys()) == [], "give it a timeout, or say what ends it"
    assert sorted(ENDED_BY.keys() - places) == [], "gone: take it out of the table"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("event.wait()", True),
        ("event.wait(5)", False),
        ("event.wait(timeout=None)", True),
        ("condition.wait_for(ready)", True),
        ("condition.wait_for(ready, 5)", False),
        ("queue.get()", True),
        ("queue.get(block=True)", True),
        ("queue.get(timeout=5)", False),
        ("known.get('name')", False),
        ("known: Any = ContextVar('known')\nknown.get()", False),
        ("thread.join()", True),
        ("', '.join(names)", False),
        ("future.result()", True),
        ("future.result(0)", False),
        ("select.select([a], [], [])", True),
        ("select.select([a], [], [], 1)", False),
        ("table.select(names)", False),
        ("poller.poll(None)", True),
        ("poller.poll(250)", False),
        ("os.waitpid(pid, 0)", True),
        ("os.waitpid(pid, os.WNOHANG)", False),
        ("subprocess.run(words)", True),
        ("subprocess.run(words, timeout=5)", False),
        ("urllib.request.urlopen(request)", True),
        ("socket.recv(4)", True),
        ("fcntl.flock(file, fcntl.LOCK_EX)", True),
        ("time.sleep(5)", False),
        ("while True: time.sleep(5)", True),
        ("api.list_namespaced_pod('n')", True),
        ("api.list_namespaced_pod('n', _request_timeout=5)", False),
        ("pool.shutdown()", True),
        ("pool.shutdown(wait=False)", False),
    ],
)
def test_a_wait_without_a_bound_is_seen(line: str, expected: bool) -> None:
    assert bool(list(unbounded(line))) is expected
