"""Areas of the certificate, one module each: what a healthy machine shows, and its red fixtures.

A module may define
- `healthy(evidence)`: adds its device parts to the kind `gpu`;
- `machine(evidence, *, gpu)`: adds its part of the machine to every kind written by hand;
- `nightly(evidence)`: adds what only the kind `nightly` has;
- `policy(document)`: sets in a policy what a user would;
- `RED`: its red fixtures.
It is imported when it is asked for, so it may import `tests.judge.healthy` and `tests.judge.red`.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def modules() -> list[ModuleType]:
    """Return every area's module, by name."""
    names = sorted(one.name for one in pkgutil.iter_modules(__path__))
    return [importlib.import_module(f"{__name__}.{name}") for name in names]
