"""The table that the terminal shows, without colours."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cudactl.certify.formats.judged import Judged, summary
from cudactl.certify.show import certificate_table


def render(judged: Sequence[Judged]) -> str:
    """Return every host's table."""
    parts = []
    for one in judged:
        if one.certificate is None:
            parts.append(summary(one))
        else:
            parts.append(click.unstyle(certificate_table(one.certificate)))
    return "\n\n".join(parts) + "\n"
