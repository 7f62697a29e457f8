"""A first spec as people read it: beside every wish why it is so, and what could stand there.

What is said of versions comes from the catalogue and the solver's answer, so the remarks age with
the catalogue and not with this file.
"""

from __future__ import annotations

from typing import get_args

from cudactl.contracts.lock import Component
from cudactl.contracts.spec import OsName
from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.spec.check import check_spec
from cudactl.stack.spec.initial import Initial, codes
from cudactl.stack.spec.text import render_spec

KINDS = {"LTS": "long-term", "PB": "production"}
LIBRARIES: tuple[Component, ...] = ("cudnn", "tensorrt", "nccl", "dcgm", "container_toolkit")


def initial_text(initial: Initial, catalogue: Catalogue, command: str) -> str:
    """Return the file.

    Args:
        initial: The first spec.
        catalogue: Facts.
        command: The command that asked for it, for the file's head.
    """
    head = [f"Begun by: {command}"]
    if initial.assumed:
        head.append(f"Assumed, since nothing was said of it: {'; '.join(initial.assumed)}.")
    if initial.verdict.verdict != "ok":
        said = ", ".join(codes(initial.verdict))
        head.append(f"Flagged, and nothing that was tried is flagged less: {said}.")
    head += [
        'A version is a prefix by component: "9.1" admits 9.1.2 and not 9.13; the highest that '
        "fits wins. A key that is not written is not part of the stack.",
        "Judge it: cudactl stack check. Lock it: cudactl stack lock. Every key: docs/stack.md.",
    ]
    return render_spec(initial.spec, _remarks(initial, catalogue), head=head, tail=_tail(initial))


def _remarks(initial: Initial, catalogue: Catalogue) -> dict[str, str]:
    spec, resolved = initial.spec, initial.verdict.resolved
    others = [name for name in get_args(OsName) if name != spec.os]
    remarks = {
        "os": f"or {', '.join(others)}",
        "arch": "or sbsa (64-bit Arm servers)" if spec.arch == "x86_64" else "or x86_64",
        "gpus": _boards(initial),
        "cuda": _cuda(initial, catalogue),
        "packages": "Python wheels, side by side with anything; or apt, for the whole host",
    }
    for key in LIBRARIES:
        version = resolved.get(key)
        if version is not None:
            remarks[key] = f'{version} today; or another prefix, up to "{version}"'
    if spec.driver is not None and spec.driver.branch == "none":
        remarks["driver.branch"] = (
            'no driver: the machine that runs it brings one; or a branch such as "580"'
        )
    elif spec.driver is not None:
        remarks["driver.branch"] = _branch(initial, catalogue)
        flavour = initial.verdict.driver_flavour
        remarks["driver.flavour"] = f"{flavour} here; or say open, or proprietary"
    return remarks


def _boards(initial: Initial) -> str:
    chips = ", ".join(dict.fromkeys(f"{gpu.architecture} {gpu.cc}" for gpu in initial.gpus))
    names = [gpu.name for gpu in initial.gpus]
    covered = f": {', '.join(names)}" if len(names) > len(initial.spec.gpus) else ""
    return f"{chips}{covered}. More names: cudactl gpu list"


def _branch(initial: Initial, catalogue: Catalogue) -> str:
    assert initial.spec.driver is not None
    said, others = "", []
    for row in reversed(catalogue.drivers):
        if row.kind not in KINDS:
            continue
        past = row.eol is not None and row.eol < catalogue.day
        until = "until a day not known"
        if row.eol is not None:
            until = f"{'ended' if past else 'until'} {row.eol}"
            until += " (sources disagree)" if "eol" in row.contested else ""
        if row.branch == initial.spec.driver.branch:
            said = f"{KINDS[row.kind]} branch, support {until}"
        elif not past:
            driver = initial.spec.driver.model_copy(update={"branch": row.branch})
            other = initial.spec.model_copy(update={"driver": driver})
            verdict = check_spec(other, catalogue)
            if verdict.verdict != "refused":
                flagged = f"; flagged: {', '.join(codes(verdict))}" if codes(verdict) else ""
                others.append(f'"{row.branch}" ({KINDS[row.kind]}, {until}{flagged})')
    also = [*others, "an exact version", "preinstalled", "none"]
    return f"{said}; or {', '.join(also)}"


def _cuda(initial: Initial, catalogue: Catalogue) -> str:
    version = initial.verdict.resolved["cuda"]
    row = next(row for row in catalogue.toolkits if row.version == version)
    text = f"{version} today"
    newest = initial.passed_over
    if newest is not None and codes(initial.passed_verdict):
        judged, said = initial.passed_verdict.verdict, ", ".join(codes(initial.passed_verdict))
        text += f"; {newest} is {judged} here ({said})"
    elif newest is not None:
        text += f"; {newest} needs a newer driver than any long-term or production one"
    if "driver" not in initial.verdict.resolved:
        text += f"; to run, {row.minor} needs driver {row.driver_minor} or later on the host"
    return f'{text}; or "{row.major}" (any {row.major}.x), "{version}" (exactly)'


def _tail(initial: Initial) -> list[str]:
    lines = []
    for key, why in initial.left_out.items():
        lines += ["", f"{key} is left out: every version is refused here ({', '.join(why)})"]
    lines += ["", "What could be added:"]
    lines += [f'{key}: "{prefix}"' for key, prefix in initial.suggested.items()]
    if initial.torch is not None:
        flags = [code for code in initial.torch_flags if code not in codes(initial.verdict)]
        said = f"; flagged: {', '.join(flags)}" if flags else ""
        lines.append(f'frameworks: {{torch: "{initial.torch}"}} # judged, not locked yet{said}')
    if "container_toolkit" in initial.suggested or initial.spec.container_toolkit is not None:
        lines.append("container_runtime: docker # or containerd, podman")
    lines.append("mirror: {url: https://…, key: FILE} # instead of NVIDIA's own repository")
    return lines
