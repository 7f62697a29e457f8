"""A lock in the forms of other tools: apt, pip, conda, Docker, Ansible, a shell. Pure.

Every export carries the lock's hash in its header, and the same lock gives the same bytes. A form
that cannot say what the lock says (requirements of apt packages) is refused, never half filled.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any, Literal, get_args

import yaml

from cudactl.contracts.errors import UsageError
from cudactl.contracts.lock import LockedPackage, StackLock
from cudactl.contracts.preferences import apt_packages, apt_preferences

Form = Literal[
    "apt-preferences",
    "pip-requirements",
    "dockerfile-args",
    "ansible-vars",
    "environment.yml",
    "env",
    "json",
]
FORMS: tuple[str, ...] = get_args(Form)


def export_lock(lock: StackLock, form: str) -> str:
    """Return the lock's text in one of `FORMS`.

    Raises:
        UsageError: EXPORT-UNKNOWN-FORMAT, EXPORT-NO-APT, EXPORT-NO-WHEELS.
    """
    write = _WRITERS.get(form)
    if write is None:
        raise UsageError(
            "EXPORT-UNKNOWN-FORMAT",
            f"there is no export format {form!r}",
            expected=f"one of: {', '.join(FORMS)}",
            remedy="name one of these: --format FORMAT",
        )
    return write(lock)


def wheel_packages(lock: StackLock) -> list[LockedPackage]:
    """Return the lock's packages that are Python wheels, in the lock's order."""
    names = {source.name for source in lock.sources if source.kind == "wheels"}
    return [package for package in lock.packages if package.source in names]


def variables(lock: StackLock) -> dict[str, str]:
    """Return name → value of what a build or a script asks a lock for; no value holds a blank."""
    found = {
        "CUDACTL_LOCK_HASH": lock.hash,
        "CUDACTL_OS": lock.target.os,
        "CUDACTL_ARCH": lock.target.arch,
    }
    for component, version in sorted(lock.resolved.items()):
        if component != "frameworks":
            found[f"{component.upper()}_VERSION"] = version
    for framework in sorted(lock.spec.frameworks):
        package = lock.package(framework)
        if package is not None:
            found[f"{framework.upper()}_VERSION"] = package.version
    if lock.driver_flavour is not None:
        found["DRIVER_FLAVOUR"] = lock.driver_flavour
    for source in lock.sources:
        name = source.name.upper().replace("-", "_")
        found[f"{name}_URL"] = source.url
        if source.fingerprint is not None:
            found[f"{name}_KEY_FINGERPRINT"] = source.fingerprint
    if lock.base_image is not None:
        found["BASE_IMAGE"] = lock.base_image
    return found


def _header(lock: StackLock, form: str) -> str:
    target = lock.target
    python = f", {target.python}" if target.python else ""
    return (
        f"# cudactl stack export --format {form}\n"
        f"# lock {lock.hash}\n"
        f"# for {target.os} {target.arch}, {target.packages}{python}\n"
    )


def _apt_preferences(lock: StackLock) -> str:
    text = apt_preferences(lock)
    if not text:
        raise UsageError(
            "EXPORT-NO-APT",
            "this lock holds no apt package",
            expected="a lock of apt packages (packages: apt)",
            remedy="a lock of wheels goes to pip: --format pip-requirements",
        )
    return text


def _requirements(lock: StackLock) -> list[tuple[str, str]]:
    """Return requirement and sha256 of every wheel."""
    packages = wheel_packages(lock)
    if not packages:
        raise UsageError(
            "EXPORT-NO-WHEELS",
            "this lock holds no Python wheel",
            expected="a lock of wheels (packages: wheels)",
            remedy="a lock of apt packages goes to apt: --format apt-preferences, or "
            "--format dockerfile-args",
        )
    return [(f"{package.name}=={package.version}", package.sha256) for package in packages]


def _from(lock: StackLock) -> str:
    urls = ", ".join(source.url for source in lock.sources if source.kind == "wheels")
    return f"# locked from {urls}; pip's own configuration says where it fetches from\n"


def _pip_requirements(lock: StackLock) -> str:
    lines = [
        f"{requirement} \\\n    --hash=sha256:{sha256}\n"
        for requirement, sha256 in _requirements(lock)
    ]
    return _header(lock, "pip-requirements") + _from(lock) + "\n" + "".join(lines)


def _environment_yml(lock: StackLock) -> str:
    # Conda hands each line of the pip section to pip as a line of a requirements file.
    pip = [f"{requirement} --hash=sha256:{sha256}" for requirement, sha256 in _requirements(lock)]
    tag = lock.target.python
    python = [f"python={tag[2]}.{tag[3:]}"] if tag else ["python"]
    document = {
        "name": f"cudactl-{lock.short_hash}",
        "dependencies": [*python, "pip", {"pip": pip}],
    }
    return _header(lock, "environment.yml") + _from(lock) + _yaml(document)


def _dockerfile_args(lock: StackLock) -> str:
    named = variables(lock)
    packages = [f"{package.name}={package.version}" for package in apt_packages(lock)]
    if packages:
        named["CUDACTL_APT_PACKAGES"] = " ".join(packages)
    lines = [f"ARG {name}={_docker_quoted(value)}\n" for name, value in named.items()]
    return _header(lock, "dockerfile-args") + "".join(lines)


def _docker_quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def _env(lock: StackLock) -> str:
    # Read by shells and by `docker run --env-file`, which knows no quotes: plain values need none.
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in variables(lock).items()]
    return _header(lock, "env") + "".join(lines)


def _document(lock: StackLock) -> dict[str, Any]:
    urls = {source.name: source.url for source in lock.sources}
    return {
        "lock": lock.hash,
        "target": lock.target.model_dump(mode="json", exclude_none=True),
        "versions": dict(sorted(lock.resolved.items())),
        "driver_flavour": lock.driver_flavour,
        "base_image": lock.base_image,
        "sources": [
            {"name": s.name, "kind": s.kind, "url": s.url, "fingerprint": s.fingerprint}
            for s in lock.sources
        ],
        "packages": [
            {
                "name": p.name,
                "version": p.version,
                "arch": p.arch,
                "component": p.component,
                "top_level": p.top_level,
                "sha256": p.sha256,
                "size": p.size,
                "file": p.filename,
                "source": urls[p.source],
            }
            for p in lock.packages
        ],
        "external": [dependency.name for dependency in lock.external],
    }


def _ansible_vars(lock: StackLock) -> str:
    """One variable, so that nothing of a user's own is overwritten by a short name."""
    document = _document(lock)
    document["apt_names"] = [f"{p.name}={p.version}" for p in apt_packages(lock)]
    return _header(lock, "ansible-vars") + _yaml({"cudactl_locked": document})


def _json(lock: StackLock) -> str:
    document = {"generated_by": "cudactl stack export --format json", **_document(lock)}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _yaml(document: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(
        document,
        sort_keys=False,
        allow_unicode=True,
        width=10_000,
        default_flow_style=False,
        explicit_start=True,
    )
    return text


_WRITERS: dict[str, Callable[[StackLock], str]] = {
    "apt-preferences": _apt_preferences,
    "pip-requirements": _pip_requirements,
    "dockerfile-args": _dockerfile_args,
    "ansible-vars": _ansible_vars,
    "environment.yml": _environment_yml,
    "env": _env,
    "json": _json,
}
