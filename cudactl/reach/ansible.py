"""Ansible's own reading of inventories, with its mutterings turned into one error.

Importing this module imports Ansible.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cudactl.contracts.errors import UsageError

# What these would say, our own errors say; before the import, because Ansible reads them then.
for _name in ("DEPRECATION_WARNINGS", "INVENTORY_UNPARSED_WARNING", "LOCALHOST_WARNING"):
    os.environ.setdefault(f"ANSIBLE_{_name}", "False")
os.environ.setdefault("ANSIBLE_HOST_PATTERN_MISMATCH", "ignore")

from ansible import constants  # noqa: E402
from ansible.inventory.manager import InventoryManager  # noqa: E402
from ansible.parsing.dataloader import DataLoader  # noqa: E402
from ansible.template import Templar  # noqa: E402
from ansible.utils.display import Display  # noqa: E402
from ansible.vars.manager import VariableManager  # noqa: E402


@dataclass(frozen=True)
class AnsibleInventory:
    """Inventories as Ansible understood them."""

    inventory: Any
    """Ansible's InventoryManager."""
    _sources: tuple[str, ...]
    _loader: Any
    _variables: Any

    def variables(self, host: Any, names: Sequence[str]) -> dict[str, Any]:  # noqa: ANN401
        """Return those of the named variables that a host has, with templates filled in.

        Raises:
            UsageError: INVENTORY-BAD.
        """
        try:
            raw = self._variables.get_vars(host=host, include_hostvars=False)
            templar = Templar(loader=self._loader, variables=raw)
            return {name: templar.template(raw[name]) for name in names if name in raw}
        except Exception as error:
            raise _bad(
                self._sources, f"the variables of {host.name}: {_line(str(error))}"
            ) from error


class _Inventory(InventoryManager):  # type: ignore[misc]
    """Remembers which of its sources no plugin could read."""

    def __init__(self, loader: Any, sources: list[str]) -> None:  # noqa: ANN401
        self.unread: list[str] = []
        super().__init__(loader=loader, sources=sources)

    def parse_source(self, source: str, cache: bool = False) -> bool:
        read = bool(super().parse_source(source, cache=cache))
        if not read:
            self.unread.append(source)
        return read


def read(sources: Sequence[str]) -> AnsibleInventory:
    """Read inventories.

    Raises:
        UsageError: INVENTORY-BAD.
    """
    loader = DataLoader()
    with _warnings() as said:
        try:
            _open_vault(loader)
            inventory = _Inventory(loader, list(sources))
        except Exception as error:
            raise _bad(sources, _line(str(error))) from error
        named = {str(Path(source).absolute()) for source in sources if "," not in source}
        if unread := [s for s in inventory.unread if str(Path(s).absolute()) in named]:
            # One reason for every plugin that tried; the first is the likeliest one's.
            raise _bad(unread, _line(said[0]) if said else "no inventory plugin can read it")
    for text in said:
        Display().warning(text)
    variables = VariableManager(loader=loader, inventory=inventory)
    return AnsibleInventory(inventory, tuple(sources), loader, variables)


def _open_vault(loader: Any) -> None:  # noqa: ANN401
    """Give Ansible the vault passwords that its own configuration names."""
    file, identities = constants.DEFAULT_VAULT_PASSWORD_FILE, constants.DEFAULT_VAULT_IDENTITY_LIST
    if not file and not identities:
        return
    from ansible.cli import CLI

    files = [file] if file else []
    loader.set_vault_secrets(
        CLI.setup_vault_secrets(loader, vault_ids=list(identities), vault_password_files=files)
    )


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collect Ansible's warnings instead of printing them."""
    said: list[str] = []
    display = Display()

    def hear(msg: object = None, exception: object = None, *_: object, **__: object) -> None:
        said.append(str(exception or msg))

    ways = [way for way in ("warning", "error_as_warning") if hasattr(display, way)]
    for way in ways:
        setattr(display, way, hear)
    try:
        yield said
    finally:
        for way in ways:
            delattr(display, way)


def _bad(sources: Sequence[str], why: str) -> UsageError:
    return UsageError(
        "INVENTORY-BAD",
        f"{', '.join(sources)}: {why}",
        expected="an inventory that `ansible-inventory --list` accepts",
        remedy=f"run: ansible-inventory -i {sources[0]} --list",
    )


def _line(text: str) -> str:
    return " ".join(text.split())[:400]
