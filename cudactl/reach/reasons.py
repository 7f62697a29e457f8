"""Why a host did not answer, in words that say what to do.

ssh, sudo and Python report by exit status and standard error; this turns them into one error with a
stable code. Everything here exits 4: nothing is known about the host, so nothing is judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cudactl.contracts.errors import CudactlError, UnreachableError
from cudactl.reach.targets import Target

# A state or an evidence document is far below this; what a host prints is held in memory.
MAX_ANSWER_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Ending:
    """How the way to one host ended, and what came over it."""

    code: int | None
    """Exit status of ssh or of the program; None when nothing can be said."""
    out: bytes = b""
    """Standard output."""
    err: bytes = b""
    """Standard error."""
    stopped: Literal["deadline", "flood"] | None = None
    """Why it was stopped from here, if it was."""


# (words in standard error, code, what was found, what to do); the first match wins.
SSH_REASONS: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    (
        ("REMOTE HOST IDENTIFICATION HAS CHANGED",),
        "HOST-KEY-CHANGED",
        "its SSH host key is not the one that is known",
        "if the machine was reinstalled, remove the old key with `ssh-keygen -R {known}` and "
        "check the new one; if not, somebody may be in between: do not go on",
    ),
    (
        ("Host key verification failed", "No ED25519 host key is known", "host key is known"),
        "HOST-KEY-UNKNOWN",
        "its SSH host key is not known yet",
        "connect once by hand (`ssh {login}`) and check the key, or add it to known_hosts",
    ),
    (
        ("Permission denied", "Too many authentication failures", "no such identity"),
        "HOST-LOGIN-REFUSED",
        "the SSH login was refused",
        "check user and key: `ssh {login}` must work without a password prompt",
    ),
    (
        ("Could not resolve hostname", "Name or service not known"),
        "HOST-NAME-UNKNOWN",
        "no address is known for this name",
        "check the spelling, DNS, or give an inventory with -i",
    ),
    (
        ("Connection refused",),
        "HOST-UNREACHABLE",
        "the connection was refused",
        "is sshd running there, and is the port right?",
    ),
    (
        ("Connection timed out", "No route to host", "Network is unreachable", "timed out"),
        "HOST-UNREACHABLE",
        "no connection could be made",
        "is the machine on, and is the way to it (VPN, bastion, firewall) open?",
    ),
)
SUDO_WORDS = (
    "a password is required",
    "is not in the sudoers",
    "may not run sudo",
    "not allowed to execute",
    "no tty present",
    "incorrect password",
    "Sorry, try again",
)


def reason_for(
    target: Target, ending: Ending, document: dict[str, Any] | None, deadline_s: float
) -> CudactlError:
    """Return the error for a host that gave no usable answer.

    Args:
        target: The host.
        ending: How asking it ended.
        document: The probe's document, when it printed one and still failed.
        deadline_s: Seconds that it had.
    """
    who, code = target.name, ending.code
    text = ending.err.decode(errors="replace").strip()
    if ending.stopped == "flood":
        return UnreachableError(
            "HOST-FLOODS",
            f"{who}: more than {MAX_ANSWER_BYTES // 1024**2} MiB came back, and no end",
            expected="one JSON document",
            remedy=f"something prints without end at login; try `ssh {target.address} true`",
        )
    if ending.stopped == "deadline":
        return UnreachableError(
            "HOST-HANGS",
            f"{who}: no answer within {deadline_s:.0f} s",
            expected="an answer from the probe",
            remedy="look at the machine's console: a hung driver or disk stops ssh or Python there",
        )
    if document is not None and "error" in document:
        said = document["error"]
        said = said if isinstance(said, dict) else {"found": str(said)}
        return UnreachableError(
            str(said.get("code", "PROBE-FAILED")),
            f"{who}: {said.get('found', 'the probe failed')}",
            expected=str(said.get("expected", "")),
            remedy=str(said.get("remedy", "")),
        )
    if any(word in text for word in SUDO_WORDS) or "sudo: command not found" in text:
        return UnreachableError(
            "HOST-NO-SUDO",
            f"{who}: {target.user or 'the login'} may not become root ({_last_line(text)})",
            expected="passwordless sudo, or its password",
            remedy="give the login sudo rights, or use -K to be asked for its password",
        )
    if code == 127 or ("not found" in text.lower() and target.python in text):
        return UnreachableError(
            "HOST-NO-PYTHON",
            f"{who}: no {target.python} there ({_last_line(text) or 'exit status 127'})",
            expected="Python 3.8 or newer",
            remedy="apt-get install python3 there, or name one by ansible_python_interpreter",
        )
    if target.connection == "ssh" and code == 255:
        for words, reason_code, found, remedy in SSH_REASONS:
            if any(word in text for word in words):
                login = f"-p {target.port} " if target.port else ""
                login += f"{target.user}@{target.address}" if target.user else target.address
                known = f"'[{target.address}]:{target.port}'" if target.port else target.address
                return UnreachableError(
                    reason_code,
                    f"{who}: {found} ({_last_line(text)})",
                    remedy=remedy.format(known=known, login=login),
                )
        return UnreachableError(
            "HOST-UNREACHABLE",
            f"{who}: ssh failed ({_last_line(text) or 'no message'})",
            remedy=f"try it by hand: ssh {target.address}",
        )
    if "memfd_create" in text or "SyntaxError" in text:
        return UnreachableError(
            "HOST-OLD-PYTHON",
            f"{who}: its {target.python} is too old ({_last_line(text)})",
            expected="Python 3.8 or newer",
            remedy="install a newer one and name it by ansible_python_interpreter",
        )
    said = (
        _last_line(text) or _last_line(ending.out.decode(errors="replace")) or "nothing on stderr"
    )
    return UnreachableError(
        "PROBE-FAILED",
        f"{who}: the probe ended with status {code} ({said})",
        expected="a JSON document",
        remedy="run it there by hand to see more, and please report it",
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
