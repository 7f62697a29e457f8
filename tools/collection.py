#!/usr/bin/env python3
"""Build the Ansible collection cudactl.stack: the roles, modules and plays, for AWX and own plays.

tools/collection.py [-o FOLDER]    build it there (dist/), without asking any server

What is in the checkout is what is built: names become fully qualified, each role gets a README from
its argument_specs.yml, and nothing else is changed.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from cudactl import __version__  # noqa: E402

NAME = "cudactl.stack"
ABOUT = "Provision NVIDIA drivers, CUDA, cuDNN and TensorRT to an exact lock, and back."


def galaxy() -> dict[str, Any]:
    """Return galaxy.yml."""
    return {
        "namespace": NAME.partition(".")[0],
        "name": NAME.partition(".")[2],
        "version": __version__,
        "readme": "README.md",
        "authors": ["cudactl"],
        "description": ABOUT,
        "license": ["GPL-3.0-or-later"],
        "tags": ["nvidia", "cuda", "gpu", "linux", "infrastructure"],
        "dependencies": {},
        "build_ignore": ["*.pyc", "__pycache__"],
    }


def qualified(text: str, modules: set[str], roles: set[str]) -> str:
    """Return a playbook or task file with our modules and roles by their full names."""
    text = re.sub(
        r"^(\s*(?:- )?)(" + "|".join(sorted(modules)) + r"):",
        rf"\1{NAME}.\2:",
        text,
        flags=re.MULTILINE,
    )
    include = r"(ansible\.builtin\.(?:include|import)_role: \{name: )(" + "|".join(sorted(roles))
    return re.sub(include + r")\b", rf"\1{NAME}.\2", text)


def options_table(options: dict[str, Any], level: int = 0) -> list[str]:
    """Return the lines that describe a role's options, those within them indented."""
    lines = []
    for name, option in options.items():
        kind = option.get("type", "str")
        if kind == "list":
            kind = f"list of {option.get('elements', 'str')}"
        notes = [kind]
        if option.get("required"):
            notes.append("required")
        if "default" in option:
            notes.append(f"default `{option['default']}`")
        described = " ".join(str(option.get("description", "")).split())
        lines.append(f"{'  ' * level}- `{name}` ({', '.join(notes)}): {described}")
        lines += options_table(option.get("options") or {}, level + 1)
    return lines


def role_readme(name: str, specs: dict[str, Any]) -> str:
    """Return a role's README."""
    main = specs["argument_specs"]["main"]
    described = " ".join(str(main.get("description", "")).split())
    return (
        f"# {NAME}.{name}\n\n{main['short_description']}.\n\n{described}\n\n## Options\n\n"
        + "\n".join(options_table(main.get("options") or {}))
        + f"\n\nThe steps come from the plan that `{NAME}.cudactl_plan` makes on the host; "
        "see the collection's README.\n"
    )


def collect(into: Path) -> None:
    """Write the collection's tree into an empty folder."""
    library = sorted((ROOT / "playbooks" / "library").glob("*.py"))
    roles = sorted(p.name for p in (ROOT / "roles").iterdir() if (p / "tasks").is_dir())
    places = {"library": "modules", "action_plugins": "action", "connection_plugins": "connection"}
    for folder, plugins in places.items():
        for path in sorted((ROOT / "playbooks" / folder).glob("*.py")):
            (into / "plugins" / plugins).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, into / "plugins" / plugins / path.name)
    modules = {p.stem for p in library} | {"cudactl_plan"}
    for name in roles:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "roles" / name, into / "roles" / name, ignore=ignored)
        for path in (into / "roles" / name).rglob("*.yml"):
            path.write_text(qualified(path.read_text(), modules, set(roles)))
        specs = yaml.safe_load((ROOT / "roles" / name / "meta/argument_specs.yml").read_text())
        (into / "roles" / name / "README.md").write_text(role_readme(name, specs))
    (into / "playbooks").mkdir()
    for path in (ROOT / "playbooks").glob("*.yml"):
        text = qualified(path.read_text(), modules, set(roles))
        (into / "playbooks" / path.name).write_text(text)
    (into / "meta").mkdir()
    (into / "meta" / "runtime.yml").write_text('---\nrequires_ansible: ">=2.17.0"\n')
    (into / "meta" / "execution-environment.yml").write_text(
        "---\nversion: 3\ndependencies:\n  python: requirements.txt\n"
    )
    (into / "requirements.txt").write_text(f"cudactl=={__version__}\n")
    shutil.copy(ROOT / "LICENSE", into / "LICENSE")
    readme = (ROOT / "docs" / "collection.md").read_text()
    (into / "README.md").write_text(readme.replace("](../", "]("))
    (into / "galaxy.yml").write_text(yaml.safe_dump(galaxy(), sort_keys=False))


def build(output: Path) -> Path:
    """Build the collection and return the archive."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cudactl-collection-") as folder:
        collect(Path(folder))
        program = Path(sys.executable).parent / "ansible-galaxy"
        command = [str(program), "collection", "build", "--force", "--output-path", str(output)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"ansible-galaxy: {done.stderr or done.stdout}")
    return output / f"{NAME.replace('.', '-')}-{__version__}.tar.gz"


def main() -> None:
    """Build where the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "dist", help="folder")
    print(build(parser.parse_args().output.resolve()))


if __name__ == "__main__":
    main()
