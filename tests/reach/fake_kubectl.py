#!/usr/bin/env -S python3 -I -S
"""A kubectl for tests: nodes in a JSON file, every call written down, faults on demand.

It takes the flags that kubectl documents and no others, and answers with kubectl's own words.
Beside it lie `cluster.json` (nodes, pods, faults) and `calls.jsonl`.
"""

import argparse
import json
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    with (HERE / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(sys.argv[1:]) + "\n")
    cluster = json.loads((HERE / "cluster.json").read_text())
    parser = argparse.ArgumentParser(prog="kubectl", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True)
    get = verbs.add_parser("get", allow_abbrev=False)
    get.add_argument("kind", choices=["nodes"])
    get.add_argument("names", nargs="+")
    get.add_argument("--ignore-not-found", action="store_true")
    get.add_argument("--output", choices=["json"], required=True)
    patch = verbs.add_parser("patch", allow_abbrev=False)
    patch.add_argument("kind", choices=["node"])
    patch.add_argument("name")
    patch.add_argument("--type", choices=["merge", "json", "strategic"], required=True)
    patch.add_argument("--patch", required=True)
    drain = verbs.add_parser("drain", allow_abbrev=False)
    drain.add_argument("name")
    drain.add_argument("--ignore-daemonsets", action="store_true")
    drain.add_argument("--delete-emptydir-data", action="store_true")
    drain.add_argument("--timeout", required=True)
    asked = parser.parse_args()
    fault = cluster.get("faults", {}).get(asked.verb)
    if fault == "hangs":
        time.sleep(60)
    if fault == "down":
        print("The connection to the server 10.0.0.1:6443 was refused", file=sys.stderr)
        return 1
    code = {"get": do_get, "patch": do_patch, "drain": do_drain}[asked.verb](asked, cluster)
    (HERE / "cluster.json").write_text(json.dumps(cluster))
    return code


def do_get(asked, cluster) -> int:
    there = [cluster["nodes"][n] for n in asked.names if n in cluster["nodes"]]
    if there and len(asked.names) == 1:
        print(json.dumps(there[0]))
    elif len(asked.names) > 1:
        print(json.dumps({"kind": "List", "apiVersion": "v1", "items": there}))
    return 0


def do_patch(asked, cluster) -> int:
    node = cluster["nodes"].get(asked.name)
    if node is None:
        print(f'Error from server (NotFound): nodes "{asked.name}" not found', file=sys.stderr)
        return 1
    faults = cluster.setdefault("faults", {})
    if faults.get("patch") == "forbidden":
        print('Error from server (Forbidden): nodes "k1" is forbidden: User "u" cannot patch '
              'resource "nodes"', file=sys.stderr)  # fmt: skip
        return 1
    # Somebody else comes first, as often as the test says.
    if faults.get("races"):
        change = faults["races"].pop(0)
        merge(node, change)
        bump(node)
    wanted = json.loads(asked.patch)
    version = wanted.get("metadata", {}).get("resourceVersion")
    if version is not None and version != node["metadata"]["resourceVersion"]:
        print(f'Error from server (Conflict): Operation cannot be fulfilled on nodes "{asked.name}"'
              ": the object has been modified; please apply your changes to the latest version and "
              "try again", file=sys.stderr)  # fmt: skip
        return 1
    wanted["metadata"].pop("resourceVersion", None)
    merge(node, wanted)
    bump(node)
    print(f"node/{asked.name} patched")
    return 0


def complain(*lines) -> None:
    print("\n".join(lines), file=sys.stderr)


def merge(target, change) -> None:
    """RFC 7386."""
    for key, value in change.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


def bump(node) -> None:
    node["metadata"]["resourceVersion"] = str(int(node["metadata"]["resourceVersion"]) + 1)


def do_drain(asked, cluster) -> int:
    node = cluster["nodes"][asked.name]
    if not node["spec"].get("unschedulable"):
        node["spec"]["unschedulable"] = True
        bump(node)
    print(f"node/{asked.name} already cordoned")
    pods = cluster.setdefault("pods", {}).setdefault(asked.name, [])
    if any(p.get("daemonset") for p in pods) and not asked.ignore_daemonsets:
        print("error: cannot delete DaemonSet-managed Pods", file=sys.stderr)
        return 1
    local = [p["name"] for p in pods if p.get("emptydir")]
    if local and not asked.delete_emptydir_data:
        advice = "cannot delete Pods with local storage (use --delete-emptydir-data to override)"
        complain(
            f'error: unable to drain node "{asked.name}" due to error: {advice}: '
            f"default/{local[0]}, continuing command...",
            f"There are pending nodes to be drained:\n {asked.name}\n{advice}: default/{local[0]}",
        )
        return 1
    kept = [p for p in pods if p.get("budget") and not p.get("daemonset")]
    pods[:] = [p for p in pods if p.get("daemonset") or p in kept]
    if kept:
        complain(
            f'error when evicting pods/"{kept[0]["name"]}" -n "default" (will retry after 5s): '
            "Cannot evict pod as it would violate the pod's disruption budget.",
            f"There are pending nodes to be drained:\n {asked.name}",
            f'error: unable to drain node "{asked.name}" due to error: global timeout reached: '
            f"{asked.timeout}",
        )
        return 1
    print(f"node/{asked.name} drained")
    return 0


if __name__ == "__main__":
    sys.exit(main())
