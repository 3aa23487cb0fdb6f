"""The same work without mapred: a Workflow as a user of Argo writes it, and one by hera."""

from __future__ import annotations

import inspect
import json
from typing import Any

from testbed.cluster import access, fake, shapes

from benchmarks.argo import reach
from benchmarks.functions import hits

CPU = 0.01  # asked for by each pod of each contender: what limits is the machine, not the scheduler
REQUESTS = {"requests": {"cpu": "10m"}}


def answer(count: int) -> int:
    return sum(map(hits, range(count)))


def by_hand(found: access.Cluster, count: int) -> dict[str, Any]:
    """A loop whose pods have output parameters, which a pod after them all adds up.

    Nothing in it waits for storage, and a pod imports numpy alone.
    """
    one = inspect.getsource(hits) + (
        "import sys\nopen('/out/hits', 'w').write(str(hits(int(sys.argv[1]))))\n"
    )
    add = (
        "import json, sys\n"
        "open('/out/total', 'w').write(str(sum(map(int, json.loads(sys.argv[1])))))\n"
    )
    each = {
        "name": "map",
        "template": "hits",
        "arguments": {"parameters": [{"name": "i", "value": "{{item}}"}]},
        "withSequence": {"count": str(count)},
    }
    last = {
        "name": "reduce",
        "template": "total",
        "depends": "map",
        "arguments": {
            "parameters": [{"name": "all", "value": "{{tasks.map.outputs.parameters.hits}}"}]
        },
    }
    templates = [
        {"name": "main", "dag": {"tasks": [each, last]}},
        _pod(found, "hits", one, "i"),
        _pod(found, "total", add, "all"),
    ]
    return reach.named(shapes.workflow("hand", templates), "hand")


def _pod(found: access.Cluster, name: str, source: str, given: str) -> dict[str, Any]:
    """Python in the image of mapred, its answer an output parameter of the template's name."""
    command = ("python3", "-c", source, f"{{{{inputs.parameters.{given}}}}}")
    outputs = {"parameters": [{"name": name, "valueFrom": {"path": f"/out/{name}"}}]}
    inputs = {"parameters": [{"name": given}]}
    made = shapes.container(name, found.images.mapred, *command, inputs=inputs, outputs=outputs)
    made["container"]["resources"] = REQUESTS
    return made


def total(workflow: dict[str, Any]) -> int:
    """What the last pod of `by_hand` or `by_hera` gave."""
    (node,) = (
        node for node in workflow["status"]["nodes"].values() if node.get("templateName") == "total"
    )
    return int(node["outputs"]["parameters"][0]["value"])


def by_hera(found: access.Cluster, count: int, *, real: bool) -> dict[str, Any]:
    """Scripts of hera over `with_items`; pods that are not real can hand nothing on."""
    from hera.workflows import DAG, Parameter, Workflow, models, script

    # hera reads annotations as types, and those of this module are texts.
    @script(image=found.images.mapred, command=["python3"])
    def points(i):
        import numpy

        x, y = numpy.random.default_rng(i).random((2, 200_000))
        print(int((x * x + y * y < 1).sum()))

    @script(
        image=found.images.mapred,
        command=["python3"],
        outputs=Parameter(name="total", value_from=models.ValueFrom(path="/tmp/total")),
    )
    def total(hits):
        with open("/tmp/total", "w") as file:
            file.write(str(sum(map(int, hits))))

    @script(image=found.images.mapred, command=["python3"])
    def end():
        print("done")

    with Workflow(generate_name="hera-", entrypoint="main") as workflow, DAG(name="main"):
        items = list(range(count))
        each = points(name="map", arguments={"i": "{{item}}"}, with_items=items)
        each >> (total(arguments={"hits": each.result}) if real else end())
    return admitted(workflow.to_dict(), "hera", real=real)


def admitted(manifest: dict[str, Any], name: str, *, real: bool) -> dict[str, Any]:
    """With the accounts and the limits that the namespace asks for, on the node that it is for."""
    rules = {
        key: value
        for key, value in shapes.workflow(name, [{"name": "main"}])["spec"].items()
        if key not in ("entrypoint", "templates")
    }
    patch = json.loads(rules["podSpecPatch"])
    main = {key: value for key, value in shapes.CONFINED.items() if key != "readOnlyRootFilesystem"}
    patch["containers"].append({"name": "main", "securityContext": main, "resources": REQUESTS})
    spec = {**manifest["spec"], **rules, "podSpecPatch": json.dumps(patch)}
    if not real:
        spec |= {"nodeSelector": fake.SELECTOR, "tolerations": [fake.TOLERATION]}
    return reach.named({**manifest, "spec": spec}, name)
