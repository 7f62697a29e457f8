#!/usr/bin/env python3
"""Write the JSON Schema of every file that cudactl reads or writes into docs/schemas/.

tools/schemas.py            write them
tools/schemas.py --check    exit 3 when one is not what the models say
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["CUDACTL_DESCRIBE_MODELS"] = "1"  # before the models are made

from pydantic import BaseModel

from cudactl.contracts.certificate import Certificate, Policy
from cudactl.contracts.diagnosis import Diagnosis
from cudactl.contracts.diff import LockDiff
from cudactl.contracts.evidence import Evidence
from cudactl.contracts.lock import StackLock
from cudactl.contracts.outdated import Outdated
from cudactl.contracts.plan import SavedPlan
from cudactl.contracts.rollout import RolloutReport
from cudactl.contracts.spec import StackSpec
from cudactl.contracts.state import HostState
from cudactl.contracts.verdict import SpecVerdict
from cudactl.contracts.verification import CertifiedHost, Verification
from cudactl.stack.bundle.bundle import BundleRecord

FOLDER = Path(__file__).parent.parent / "docs" / "schemas"
MODELS: dict[str, tuple[type[BaseModel], str]] = {
    "stack": (StackSpec, "stack.yaml: the wish"),
    "lock": (StackLock, "the value of `lock` in stack.lock"),
    "state": (HostState, "what `probe state` prints"),
    "plan": (SavedPlan, "a saved plan"),
    "evidence": (Evidence, "what `probe measure` prints"),
    "certificate": (Certificate, "a certificate"),
    "certified": (CertifiedHost, "each element of what `certify host --json` says"),
    "verification": (Verification, "each element of what `certify verify --json` says"),
    "policy": (Policy, "what `certify policy` prints and `certify judge --policy` reads"),
    "diagnosis": (Diagnosis, "the value of `diagnosis` in what `doctor --json` says"),
    "verdict": (SpecVerdict, "what `stack check --json` says of one spec"),
    "diff": (LockDiff, "the value of `diff` in what `stack diff --json` and `upgrade --json` say"),
    "outdated": (Outdated, "what `stack outdated --json` says"),
    "rollout": (RolloutReport, "what `rollout start|status|pause|resume|abort --json` say"),
    "bundle": (BundleRecord, "an offline bundle's bundle.json"),
}


def schema(name: str) -> str:
    """Return one schema as text; the same models give the same bytes."""
    model, title = MODELS[name]
    document = model.model_json_schema(by_alias=True)
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **document,
        "title": f"cudactl: {title}",
    }
    if name == "stack":
        # A spec may say which schema it follows; the reader takes the key out.
        document["properties"] = {"$schema": {"type": "string"}, **document["properties"]}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write or check; return the exit code."""
    wrong = []
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        path, text = FOLDER / f"{name}.schema.json", schema(name)
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text() != text:
                wrong.append(path.name)
        else:
            path.write_text(text)
    if wrong:
        print(f"not what the models say: {', '.join(wrong)}; run tools/schemas.py", file=sys.stderr)
    return 3 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
