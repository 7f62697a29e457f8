"""Errors written for the reader: what was found, what was expected, what to do.

Each layer derives one exception from `CudactlError`. `code` is stable: scripts match it and
`cudactl … --explain CODE` tells more. The command line prints an error once, without a traceback.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command. 3 wins over 4 wins over 5."""

    PASS = 0
    INTERNAL = 1  # cudactl itself broke
    USAGE = 2  # wrong call or unreadable file
    FAIL = 3  # a failure or a refusal
    UNMEASURED = 4  # could not measure or reach
    FLAGGED = 5  # only warnings, under --strict
    INTERRUPTED = 130


def worst(codes: list[Exit]) -> Exit:
    """Return the exit code that wins over the others (3, then 4, then 5, then 0)."""
    for code in (Exit.INTERNAL, Exit.USAGE, Exit.FAIL, Exit.UNMEASURED, Exit.FLAGGED):
        if code in codes:
            return code
    return Exit.PASS


class CudactlError(Exception):
    """An expected error: one clear message, a stable code, an exit code, no traceback."""

    exit_code: Exit = Exit.FAIL

    def __init__(
        self,
        code: str,
        found: str,
        *,
        expected: str = "",
        remedy: str = "",
        exit_code: Exit | None = None,
    ) -> None:
        super().__init__(found)
        self.code = code
        self.found = found
        self.expected = expected
        self.remedy = remedy
        if exit_code is not None:
            self.exit_code = exit_code

    def as_dict(self) -> dict[str, str]:
        """Return the error as `--json` prints it."""
        return {
            "code": self.code,
            "found": self.found,
            "expected": self.expected,
            "remedy": self.remedy,
        }


class UsageError(CudactlError):
    """A wrong call, or a file that cannot be read as what it should be."""

    exit_code = Exit.USAGE


class UnreachableError(CudactlError):
    """A host, an index or an engine that could not be reached or did not answer in time."""

    exit_code = Exit.UNMEASURED
