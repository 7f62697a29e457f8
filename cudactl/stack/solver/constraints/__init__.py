"""What cannot stand together, and what stands but is not what it seems: one rule a fact.

A rule speaks of one, two or three dimensions. `clashes` decides for one combination of values;
`says` tells why, with the facts and their sources. Refusals are what the solver avoids; flags and
notes are said of the stack that it found.
"""

from __future__ import annotations

from cudactl.stack.solver.constraints import driver, frameworks, gpu, libraries, platform
from cudactl.stack.solver.constraints.rule import Rule, Said

RULES: tuple[Rule, ...] = (
    *platform.RULES,
    *gpu.RULES,
    *driver.RULES,
    *libraries.RULES,
    *frameworks.RULES,
)
REFUSALS = tuple(rule for rule in RULES if rule.severity == "refused")
FLAGS = tuple(rule for rule in RULES if rule.severity != "refused")
ALLOWABLE = tuple(dict.fromkeys(rule.code for rule in REFUSALS if rule.allowable))
"""Codes that `--allow` can override: judgements, not impossibilities."""

__all__ = ["ALLOWABLE", "FLAGS", "REFUSALS", "RULES", "Rule", "Said"]
