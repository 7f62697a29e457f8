"""Results of other tools, where somebody gives them: a lock promises none by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cudactl.contracts.certificate import Expectation, Policy
from cudactl.contracts.errors import UsageError

LARGEST_BYTES = 8 * 1024 * 1024
ENDINGS = (".json", ".txt", ".log", ".out")


def with_results(
    policy: Policy, files: Sequence[str] = (), documents: Mapping[str, str] | None = None
) -> Policy:
    """Return the policy with results of dcgmi diag, nvbandwidth and nccl-tests to be taken in.

    Args:
        policy: A policy.
        files: Files or folders on the host.
        documents: Name → text, of files on the controller.
    """
    asked: dict[str, Any] = {"deadline_s": 30.0, "libraries": {}}
    asked |= {"files": list(files), "documents": dict(documents or {})}
    legs = {**policy.request["legs"], "ingest": asked}
    expectation = Expectation(check="ingest.results", source="results that were given")
    return policy.model_copy(
        update={
            "legs": sorted({*policy.legs, "ingest"}),
            "request": {**policy.request, "legs": legs},
            "expectations": [*policy.expectations, expectation],
        }
    )


def read_results(places: Sequence[Path]) -> dict[str, str]:
    """Return name → text of result files (or folders of them) on the controller.

    Raises:
        UsageError: INGEST-UNREADABLE.
    """
    found: dict[str, str] = {}
    for place in places:
        try:
            folder = place.is_dir()
            inside = (
                sorted(p for p in place.iterdir() if p.suffix in ENDINGS) if folder else [place]
            )
            if not inside:
                raise ValueError("the folder holds no results")
            for path in inside:
                if path.stat().st_size > LARGEST_BYTES:
                    raise ValueError(f"{path.name} is larger than {LARGEST_BYTES // 1024**2} MiB")
                found[str(path)] = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise UsageError(
                "INGEST-UNREADABLE",
                f"{place}: {why}",
                expected="what dcgmi diag -j, nvbandwidth -j and nccl-tests (-J, or text) write",
                remedy="give the files that these tools wrote",
            ) from error
    return found
