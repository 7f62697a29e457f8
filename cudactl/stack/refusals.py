"""Refusals of a wish, and how one is overridden.

A refusal says what cannot stand together and why. `--allow CODE --reason TEXT` lets those through
that are a judgement; what no package could satisfy stays refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cudactl.contracts.errors import CudactlError, UsageError
from cudactl.contracts.lock import Allowance

ALLOWABLE = ("STACK-DRIVER-TOO-OLD", "STACK-TOOLKIT-NOT-FOR-OS", "STACK-TENSORRT-CUDA")
"""Codes that `--allow` can override."""


class StackRefused(CudactlError):
    """A wish that cannot, or should not, be locked. Exit code 3."""


class Ruling:
    """Collects what is said about one wish: overridden refusals and notes."""

    def __init__(self, allowed: Sequence[Allowance] = ()) -> None:
        for allowance in allowed:
            if allowance.code not in ALLOWABLE:
                raise UsageError(
                    "STACK-NOT-ALLOWABLE",
                    f"--allow {allowance.code}: this code cannot be overridden",
                    expected="one of: " + ", ".join(ALLOWABLE),
                    remedy="mend the spec instead",
                )
            if not allowance.reason.strip():
                raise UsageError(
                    "STACK-REASON-MISSING",
                    f"--allow {allowance.code} has no reason",
                    expected="a reason, which every certificate will show",
                    remedy="add: --reason TEXT",
                )
        self._allowed = {allowance.code: allowance for allowance in allowed}
        self._used: dict[str, Allowance] = {}
        self.notes: list[str] = []

    @property
    def used(self) -> list[Allowance]:
        """The overrides that were needed, by code."""
        return [self._used[code] for code in sorted(self._used)]

    def note(self, text: str) -> None:
        """Say something that does not stand in the way."""
        if text not in self.notes:
            self.notes.append(text)

    def allows(self, code: str) -> bool:
        """Return True when `code` may be overridden here."""
        return code in self._allowed

    def refuse(self, code: str, found: str, *, expected: str, remedy: str) -> None:
        """Refuse, unless the code is allowed; then it is written down and the work goes on.

        Raises:
            StackRefused: unless allowed.
        """
        if code in self._allowed:
            self._used[code] = self._allowed[code]
            self.note(f"{code} allowed ({self._allowed[code].reason}): {found}")
            return
        if code in ALLOWABLE:
            remedy += f"; or, knowing better: --allow {code} --reason TEXT"
        raise StackRefused(code, found, expected=expected, remedy=remedy)

    def unused(self) -> list[str]:
        """Return the codes that were allowed and not needed."""
        return sorted(set(self._allowed) - set(self._used))


def listed(versions: Iterable[str], most: int = 8) -> str:
    """Return versions for a sentence, the first `most` of them."""
    every = list(dict.fromkeys(versions))
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more if every else "none"
