"""How a finding is made."""

from __future__ import annotations

from cudactl.contracts.plan import Finding


def refuse(code: str, found: str, expected: str = "", remedy: str = "") -> Finding:
    """Return a finding that forbids applying the plan."""
    return Finding(code=code, found=found, expected=expected, remedy=remedy, refuses=True)


def remark(code: str, found: str, remedy: str = "") -> Finding:
    """Return a finding that the reader should know and that forbids nothing."""
    return Finding(code=code, found=found, remedy=remedy)
