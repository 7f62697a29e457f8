"""`protection`: holds, and a narrow list for unattended-upgrades."""

from __future__ import annotations

import re

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Change, Choices, PlanStep
from cudactl.contracts.preferences import GENERATED, apt_packages
from cudactl.contracts.state import HostState
from cudactl.provision.steps.apt import locked_debs
from cudactl.provision.steps.files import DesiredFile, file_changes, file_variables
from cudactl.provision.steps.rates import PER_ROLE_S

TOGETHER = 20
"""Names in one pattern."""


def protection_files(lock: StackLock) -> list[DesiredFile]:
    """Return the apt configuration that keeps unattended-upgrades off exactly the closure.

    The list holds anchored regular expressions, which is what unattended-upgrades matches names
    with; everything outside the closure keeps getting its security updates. Several names stand in
    one expression, in brackets: a plain one it hands to apt, which then takes seconds for each (ten
    with the 64 000 names of Debian 12, measured), while one with brackets it matches by itself.
    """
    names = [p.name for p in apt_packages(lock)]
    if not names:
        return []
    # A character class instead of a backslash, which apt.conf would read for itself.
    quoted = [re.sub(r"([.+])", r"[\1]", name) for name in names]
    parts = [quoted[at : at + TOGETHER] for at in range(0, len(quoted), TOGETHER)]
    lines = "".join(f'        "^(?:{"|".join(part)})$";\n' for part in parts)
    return [
        DesiredFile(
            path="/etc/apt/apt.conf.d/cudactl-protection.conf",
            content=GENERATED.format(lock=lock.short_hash).replace("#", "//", 1)
            + "Unattended-Upgrade::Package-Blacklist {\n"
            + lines
            + "};\n",
        )
    ]


def protection_step(lock: StackLock, state: HostState, _: Choices) -> PlanStep | None:
    """Return the step that holds what is not held."""
    names = [p.name for p in locked_debs(lock)]
    files = protection_files(lock)
    changes = file_changes(files, state)
    unheld = [n for n in names if n not in state.holds]
    changes += [Change(kind="hold", name=n, after="hold") for n in unheld]
    if not changes:
        return None
    return PlanStep(
        id="protection.hold",
        role="protection",
        summary=f"hold exactly these {len(names)} packages, also against unattended upgrades",
        reason="one library upgraded alone breaks the driver or cuDNN until the next repair; "
        "everything else keeps its security updates",
        changes=changes,
        seconds=PER_ROLE_S,
        variables={"files": file_variables(files, changes), "hold": unheld},
    )
