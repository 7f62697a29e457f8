"""The house's rules: which room imports which, how large one may grow, what targets can run."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "cudactl"

# Room → rooms it may import. `contracts` is every room's common tongue; `zipapp` packs probe and
# judge for the trip to a host, so whoever reaches out may use it. `lab` uses the repository writer
# and the catalogue of `stack`, and nothing else of it (see LAB_MAY).
ARROWS: dict[str, set[str]] = {
    "contracts": set(),
    "probe": set(),
    "judge": set(),
    "zipapp": {"probe", "judge"},
    "stack": {"contracts"},
    "provision": {"contracts", "stack", "zipapp"},
    "certify": {"contracts", "judge"},
    "reach": {"contracts", "zipapp"},
    "lab": {"contracts", "stack"},
    "workflow": {"contracts", "stack", "provision", "certify", "reach", "zipapp"},
    "cli": {"contracts", "workflow", "lab", "certify", "provision", "stack", "judge", "zipapp"},
}
# DESIGN allows no sibling imports but two; what a room may take from a sibling is named exactly.
ONLY_FROM: dict[tuple[str, str], set[str]] = {
    ("lab", "stack"): {
        "cudactl.stack.bundle.repository",
        "cudactl.stack.bundle.signing",
        "cudactl.stack.facts.catalogue",
    },
    # Ansible reads locks from files: the run writes them with the lock's own writer. Which GPU a
    # PCI id is, and what drives it, are facts: a plan holds the host's GPUs against them.
    ("provision", "stack"): {
        "cudactl.stack.lock.file",
        "cudactl.stack.facts.catalogue",
        "cudactl.stack.facts.rows",
        "cudactl.stack.gpus.find",
        "cudactl.stack.gpus.support",
    },
    # The gate runs on nodes, without pydantic: cli calls the pure function directly.
    ("cli", "judge"): {"cudactl.judge.gate"},
    ("cli", "zipapp"): {"cudactl.zipapp.main"},
}
STANDARD_LIBRARY_ONLY = ("probe", "judge")


def modules(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.py") if "_data" not in p.parts)


def imports(path: Path) -> set[str]:
    """Return the absolute names of everything a module imports, wherever in it."""
    names: set[str] = set()
    package = ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parts, base] if base else parts)
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return names


def room_of(name: str) -> str | None:
    parts = name.split(".")
    if parts[0] != "cudactl" or len(parts) < 2 or parts[1] not in ARROWS:
        return None
    return parts[1]


@pytest.mark.parametrize("room", sorted(ARROWS))
def test_data_flows_one_way(room: str) -> None:
    wrong = []
    for path in modules(PACKAGE / room):
        for name in imports(path):
            other = room_of(name)
            if other is None or other == room:
                continue
            allowed = ONLY_FROM.get((room, other))
            if other not in ARROWS[room]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
            elif allowed and not any(name.startswith(a) or a.startswith(name) for a in allowed):
                wrong.append(f"{path.relative_to(ROOT)} imports {name} of a sibling")
    assert not wrong


def test_every_room_is_on_the_map() -> None:
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert rooms - {"catalogue"} == set(ARROWS)


def test_nobody_imports_the_command_line() -> None:
    wrong = [
        str(path)
        for path in modules(PACKAGE)
        if "cli" not in path.relative_to(PACKAGE).parts
        and any(n == "cudactl.cli" or n.startswith("cudactl.cli.") for n in imports(path))
    ]
    assert not wrong


@pytest.mark.parametrize("room", STANDARD_LIBRARY_ONLY)
def test_what_runs_on_targets_needs_the_standard_library_only(room: str) -> None:
    known = set(sys.stdlib_module_names) | {"cudactl", "__future__"}
    wrong = {
        f"{path.name}: {name}"
        for path in modules(PACKAGE / room)
        for name in imports(path)
        # What a leg imports from the stack under test is measured, not needed.
        if name.split(".")[0] not in known and not name.startswith("tensorrt")
    }
    assert not wrong


def on_targets() -> list[Path]:
    files = modules(PACKAGE / "probe") + modules(PACKAGE / "judge")
    files += [PACKAGE / "zipapp" / "main.py"]
    return files + sorted((ROOT / "playbooks" / "library").glob("*.py"))


@pytest.mark.parametrize("path", on_targets(), ids=lambda p: str(p.relative_to(ROOT)))
def test_what_runs_on_targets_parses_for_python_3_8(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 8))


def test_what_runs_on_targets_uses_the_library_of_python_3_8() -> None:
    vermin = str(Path(sys.executable).parent / "vermin")
    command = [vermin, "--no-tips", "-t=3.8-", "--violations"]
    done = subprocess.run(
        [*command, *(str(p) for p in on_targets())], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_no_module_has_grown_past_400_lines() -> None:
    grown = {
        str(path.relative_to(ROOT)): count
        for path in [*modules(PACKAGE), *(ROOT / "playbooks").rglob("*.py")]
        if (count := len(path.read_text().splitlines())) > 400
    }
    assert not grown
