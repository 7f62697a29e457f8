"""Captured: a spec, and where it can be had a lock, of what a machine or an image carries.

Made by `stack capture`. What is there and cannot be said by a spec, or not be locked, is never left
out in silence: it is a remark.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cudactl.contracts.base import Contract
from cudactl.contracts.lock import StackLock
from cudactl.contracts.spec import StackSpec
from cudactl.contracts.verdict import SpecVerdict


class CaptureRemark(Contract):
    """Something that is there and that spec or lock do not say."""

    code: str
    """Stable code, e.g. "CAPTURE-FOREIGN"."""
    text: str
    """What was found, one sentence."""
    items: list[str] = Field(default_factory=list)
    """Packages ("name version") or paths."""
    remedy: str = ""
    """What to do about it, one sentence; empty where there is nothing to do."""


class Captured(Contract):
    """What `stack capture` found."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    name: str
    """Host or image."""
    spec: StackSpec
    """What is there, as a wish with exact versions."""
    verdict: SpecVerdict
    """What the catalogue says of that wish."""
    remarks: list[CaptureRemark]
    """What spec and lock do not say."""
    lock: StackLock | None = None
    """The packages that are there, where they could be locked."""
