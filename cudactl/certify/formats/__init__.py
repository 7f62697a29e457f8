"""What one run says, in the forms that other programs read: one module per form.

Each has `render(judged) -> str`, a pure function over every host of the run. Text of a certificate
came from another machine: each form escapes for itself, and no character of it has a meaning there.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

from cudactl.certify.formats.judged import Judged

Render = Callable[[Sequence[Judged]], str]

FORMATS: dict[str, str] = {
    "table": "as on the terminal",
    "json": "each host's certificate, as --json prints it",
    "dsse": "the signed certificate: an in-toto statement in a DSSE envelope",
    "junit": "JUnit XML",
    "ctrf": "CTRF JSON (Common Test Report Format)",
    "prometheus": "a textfile for Prometheus' node exporter",
    "html": "one page without outside files",
    "line": "one line of at most 200 characters, for a scheduler's reason",
    "kubernetes": "a Kubernetes node condition",
    "nagios": "one line as monitoring plugins print it",
}
"""Name → what it is."""

__all__ = ["FORMATS", "Judged", "Render", "renderer"]


def renderer(name: str) -> Render:
    """Return a form's `render`."""
    module = importlib.import_module(f"cudactl.certify.formats.{name}")
    render: Render = module.render
    return render
