"""What the judge refuses, and what a verdict means to a shell."""


class JudgeError(Exception):
    """Evidence or policy is not what it should be."""


def exit_code(verdict: str) -> int:
    """Return the exit code for a verdict: 0 pass (warnings too), 3 failure, 4 not measured."""
    return {"PASS": 0, "WARN": 0, "FAIL": 3}.get(verdict, 4)
