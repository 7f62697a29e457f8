"""Is it right: evidence and policy to verdicts. Standard library only, pure, Python ≥ 3.8.

The gate runs before every job and must start at once, so the checks are imported when they are
asked for, not with the package.
"""

from __future__ import annotations

from .errors import JudgeError, exit_code

TYPE_CHECKING = False  # see probe/__init__.py
if TYPE_CHECKING:
    from typing import Any, Dict

__all__ = ["JudgeError", "exit_code", "judge"]


def judge(
    evidence: Dict[str, Any], policy: Dict[str, Any], host: str, now: float
) -> Dict[str, Any]:
    """Return the Certificate document for `evidence` under `policy`; see `judging.judge`."""
    from .judging import judge as decide

    return decide(evidence, policy, host, now)
