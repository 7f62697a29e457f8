"""Examine hosts and say what is wrong: read-only, needs no lock; evidence kept on request."""

from __future__ import annotations

import base64
import binascii
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cudactl.certify.doctor import exit_of_diagnosis, explained, make_diagnosis, text_of, unreadable
from cudactl.contracts.diagnosis import Diagnosis
from cudactl.contracts.errors import CudactlError, Exit, UsageError, worst
from cudactl.reach.fanout import Answer, run_probe
from cudactl.reach.inventory import resolve_targets
from cudactl.reach.targets import Target

__all__ = ["Examined", "examine_hosts", "exit_of", "explained", "keep_bundles"]
# The signs, two questions to the driver of 20 s each, and the way there.
DEADLINE_S = 90.0
BUNDLE_DEADLINE_S = 180.0


@dataclass(frozen=True)
class Examined:
    """One host's diagnosis, or the reason why there is none."""

    target: Target
    diagnosis: Diagnosis | None
    bundle: bytes | None
    error: CudactlError | None

    @property
    def text(self) -> str:
        """The diagnosis as people read it."""
        assert self.diagnosis is not None
        return text_of(self.target.name, self.diagnosis)


def examine_hosts(
    names: Sequence[str],
    inventories: Sequence[str] = (),
    limit: str | None = None,
    *,
    forks: int = 30,
    ssh_args: Sequence[str] = (),
    become: bool = False,
    become_password: str | None = None,
    with_bundle: bool = False,
    keep_host_name: bool = False,
) -> list[Examined]:
    """Examine hosts (none named: this machine) and return one result each, in their order.

    Args:
        names: Hosts.
        inventories: Ansible inventories.
        limit: Narrows an inventory.
        forks: Hosts at once.
        ssh_args: Further arguments for ssh.
        become: Look as root, by sudo: sees the kernel log and other users' processes.
        become_password: sudo's password.
        with_bundle: Collect the evidence that a reset would destroy.
        keep_host_name: Leave host names in it.

    Raises:
        UsageError: TARGET-…, INVENTORY-….
    """
    targets = resolve_targets(names, inventories, limit, ssh_args=ssh_args)
    arguments = ["doctor", "--evidence"]
    arguments += ["--with-bundle"] * with_bundle + ["--keep-host-name"] * keep_host_name
    answers = run_probe(
        targets,
        arguments,
        become=become,
        become_password=become_password,
        forks=forks,
        deadline_s=BUNDLE_DEADLINE_S if with_bundle else DEADLINE_S,
    )
    return [_examined(answer) for answer in answers]


def _examined(answer: Answer) -> Examined:
    if answer.document is None:
        return Examined(answer.target, None, None, answer.error)
    name = answer.target.name
    packed = answer.document.get("bundle")
    examination = answer.document.get("examination")
    try:
        if not isinstance(examination, dict):
            raise unreadable(name, "it holds none")
        _with_our_clock(examination, answer)
        diagnosis = make_diagnosis(examination, name)
        data = base64.b64decode(packed, validate=True) if packed is not None else None
    except (TypeError, binascii.Error) as error:
        return Examined(answer.target, None, None, unreadable(name, str(error)))
    except CudactlError as error:
        return Examined(answer.target, None, None, error)
    return Examined(answer.target, diagnosis, data, None)


def _with_our_clock(examination: dict[str, Any], answer: Answer) -> None:
    """Add this machine's clock, which shows a host's that is wrong."""
    signs = examination.get("signs")
    clock = signs.get("clock") if isinstance(signs, dict) else None
    if answer.target.connection != "local" and isinstance(clock, dict):
        clock["controller_now"] = time.time()


def keep_bundles(results: Sequence[Examined], place: Path) -> list[tuple[Path, int]]:
    """Write the bundles: one host to `place` itself, several into it as a folder.

    Raises:
        UsageError: DOCTOR-BUNDLE.
    """
    there = [r for r in results if r.bundle is not None]
    several = len(results) > 1 or place.is_dir()
    written = []
    for result in there:
        assert result.bundle is not None
        name = "".join(c if c.isalnum() or c in ".-_" else "_" for c in result.target.name)
        path = place / f"{name}.tar.gz" if several else place
        try:
            if several:
                place.mkdir(parents=True, exist_ok=True)
            # Evidence is for whoever collected it, and never written over.
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as sink:
                sink.write(result.bundle)
        except OSError as error:
            raise UsageError(
                "DOCTOR-BUNDLE",
                f"{path}: {error.strerror}",
                expected="a new file (several hosts: a folder)",
                remedy="choose another name; evidence is never written over",
            ) from error
        written.append((path, len(result.bundle)))
    return written


def exit_of(results: Sequence[Examined], *, strict: bool) -> Exit:
    """Return the exit code over all results."""
    return worst(
        [
            exit_of_diagnosis(r.diagnosis, strict=strict)
            if r.diagnosis is not None
            else Exit.UNMEASURED
            for r in results
        ]
    )
