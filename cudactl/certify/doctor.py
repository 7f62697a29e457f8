"""From an examination to a diagnosis, by the doctor that also travels to hosts."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from cudactl.contracts.diagnosis import Diagnosis
from cudactl.contracts.errors import Exit, UnreachableError, UsageError
from cudactl.judge import JudgeError
from cudactl.judge.doctor import diagnose, exit_code, explain
from cudactl.judge.doctor.show import diagnosis_text, explanation_text


def make_diagnosis(examination: dict[str, Any], host: str) -> Diagnosis:
    """Return the diagnosis for an Examination document.

    Raises:
        UnreachableError: DOCTOR-UNREADABLE.
    """
    try:
        return Diagnosis.model_validate(diagnose(examination))
    except (JudgeError, ValidationError, TypeError, AttributeError, ValueError) as error:
        raise unreadable(host, str(error)) from error


def unreadable(host: str, why: str) -> UnreachableError:
    """Return the error for an answer that is no examination."""
    return UnreachableError(
        "DOCTOR-UNREADABLE",
        f"{host}: its answer is no examination: {(why.splitlines() or ['it is empty'])[0]}",
        expected="what this version's probe says",
        remedy="run it again; if it stays, run the zipapp on the host: python3 cudactl.pyz doctor",
    )


def text_of(host: str, diagnosis: Diagnosis) -> str:
    """Return a diagnosis as people read it."""
    return diagnosis_text(host, diagnosis.model_dump())


def exit_of_diagnosis(diagnosis: Diagnosis, *, strict: bool) -> Exit:
    """Return the exit code of one diagnosis."""
    return Exit(exit_code(diagnosis.model_dump(), strict))


def explained(code: str) -> str:
    """Return what is known of a finding's code.

    Raises:
        UsageError: DOCTOR-CODE.
    """
    told = explain(code)
    if told is None:
        raise UsageError(
            "DOCTOR-CODE",
            f"there is no finding {code!r}",
            expected="a code that doctor names, such as DOCTOR-NOUVEAU",
            remedy="docs/doctor.md lists them all",
        )
    return explanation_text(told)
