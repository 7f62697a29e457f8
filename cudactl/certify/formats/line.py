"""One line a host, at most 200 characters: for `scontrol … reason=`, a ticket, a chat."""

from __future__ import annotations

from collections.abc import Sequence

from cudactl.certify.formats.judged import Judged, summary


def render(judged: Sequence[Judged]) -> str:
    """Return a line for every host."""
    return "".join(summary(one) + "\n" for one in judged)
