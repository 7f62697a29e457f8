"""GPUs by the names that people write: catalogue names, aliases, families, PCI ids.

A spec's `gpus`, `gpu show` and the solver come through here. A name that covers several variants
means all of them, because what is locked for it must hold whichever board is in the machine.
"""

from __future__ import annotations

import difflib
import re

from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import Gpu
from cudactl.stack.refusals import StackRefused

MAKERS_WORDS = {"nvidia", "tesla", "geforce", "gpu", "series"}
"""Words of marketing that tell no GPU from another."""

Index = dict[str, tuple[Gpu, ...]]

_last: tuple[tuple[Gpu, ...], Index] | None = None


def find_gpus(catalogue: Catalogue, name: str) -> tuple[Gpu, ...]:
    """Return every GPU that `name` covers, in the catalogue's order.

    Case, blanks, hyphens, the words NVIDIA, Tesla and GeForce, the order of words and the form of a
    memory size ("80GB", "80 GB", "80G") do not matter. An architecture's name covers its GPUs. A
    PCI device id is found too: "10de:2335", "0x2335" or "2335".

    Raises:
        StackRefused: STACK-GPU-UNKNOWN, with the nearest names.
    """
    index = _index_of(catalogue.gpus)
    found = next((index[key] for key in _keys(name) if key in index), None)
    if found is None:
        found = _with_pci_id(catalogue.gpus, name)
    if not found:
        close = nearest_gpus(catalogue, name)
        raise StackRefused(
            "STACK-GPU-UNKNOWN",
            f"the catalogue knows no GPU {_shown(name)}",
            expected="a catalogue name, an alias, an architecture or a PCI device id",
            remedy=f"did you mean {' or '.join(close)}?" if close else "see: cudactl gpu list",
        )
    return found


def nearest_gpus(catalogue: Catalogue, name: str, count: int = 3) -> list[str]:
    """Return the catalogue's names that are spelled most like `name`, nearest first."""
    spelled: dict[str, str] = {}
    for gpu in catalogue.gpus:
        for known in (gpu.name, *gpu.aliases):
            spelled.setdefault("".join(_words(known)), gpu.name)
    wanted = "".join(_words(name))[:80]
    close = difflib.get_close_matches(wanted, spelled, n=count * 3, cutoff=0.6)
    return list(dict.fromkeys(spelled[key] for key in close))[:count]


def _index_of(gpus: tuple[Gpu, ...]) -> Index:
    """Return key → GPUs, made once for a catalogue: a run may look up hundreds of specs."""
    global _last
    if _last is None or _last[0] is not gpus:
        _last = (gpus, _make_index(gpus))
    return _last[1]


def _make_index(gpus: tuple[Gpu, ...]) -> Index:
    index: dict[str, list[Gpu]] = {}
    for gpu in gpus:
        known = (gpu.name, *gpu.aliases, gpu.architecture)
        for key in dict.fromkeys(key for name in known for key in _keys(name)):
            index.setdefault(key, []).append(gpu)
    return {key: tuple(covered) for key, covered in index.items()}


def _keys(name: str) -> tuple[str, ...]:
    """Return what a name is looked up by: its words in order, in any order, and run together.

    The last is for names typed without separators, where words can no longer be told apart.
    """
    words = _words(name)
    together = "".join(re.findall(r"[^\W_]+", name.casefold()))
    while (cut := re.sub(r"^(?:nvidia|tesla|geforce)", "", together)) != together:
        together = cut
    return ("".join(words), " ".join(sorted(words)), together)


def _words(name: str) -> list[str]:
    """Return the words of a name that tell one GPU from another."""
    text = re.sub(r"([0-9]+)\s*g(?:i?b)?\b", r"\1gb", name.casefold())
    return [word for word in re.findall(r"[^\W_]+", text) if word not in MAKERS_WORDS]


def _with_pci_id(gpus: tuple[Gpu, ...], name: str) -> tuple[Gpu, ...]:
    """Return the GPUs with a PCI device id; several boards may share one."""
    text = name.strip().casefold()
    found = re.fullmatch(r"(?:(?:0x)?10de[:\s])?(?:0x)?([0-9a-f]{4})", text)
    return tuple(g for g in gpus if found and found.group(1) in g.pci_ids)


def _shown(name: str) -> str:
    """Return what was typed, short and on one line."""
    text = repr(name[:80])
    return text if len(text) <= 62 else text[:60] + "…'"
