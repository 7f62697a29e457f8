"""Part of HostState: what else of apt's configuration concerns NVIDIA's packages."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cudactl.contracts.base import Contract


class AptFile(Contract):
    """A preferences file or trusted key about NVIDIA's packages that is not cudactl's."""

    path: str
    """Absolute path."""
    kind: Literal["pin", "key"]
    """pin: under preferences.d, or the preferences file; key: a keyring that apt trusts for every
    repository."""
    sha256: str
    """sha256 of its content."""
    names: list[str] = Field(default_factory=list)
    """pin: the packages it is for, as it writes them ("*", "nvidia-driver-*")."""
    package: str | None = None
    """The installed package that brought it, as far as the usual ones tell."""
