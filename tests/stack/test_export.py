"""Exports are read by the tools they are for: apt, pip, Docker, Ansible, a shell."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml
from packaging.requirements import Requirement

from cudactl.contracts.errors import Exit, UsageError
from cudactl.contracts.lock import StackLock
from cudactl.lab.mirror import Mirror
from cudactl.provision.steps.repository import repository_files
from cudactl.stack.facts.catalogue import load_catalogue
from cudactl.stack.lock.export import FORMS, export_lock, variables
from tests.lab.mirror.apt import Apt
from tests.stack.conftest import Locks
from tests.stack.test_wheels import Door, Index

OLD = {"driver": {"branch": "580.95.05"}, "cuda": "13.0.0", "cudnn": "9.13"}


@pytest.fixture
def apt_lock(lock_from: Locks) -> StackLock:
    return lock_from(**OLD)[0]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(tmp_path / "simple")
    made.folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Door, directory=str(made.folder)))
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}/"
    for part in load_catalogue().components_of("13.0.3"):
        made.wheel(part.wheel, part.version)
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def wheel_lock(index: Index) -> StackLock:
    return index.lock(cuda="13.0")


def forms_for(lock: StackLock) -> set[str]:
    wheels = {"pip-requirements", "environment.yml"}
    none = wheels if lock.target.packages == "apt" else {"apt-preferences"}
    return set(FORMS) - none


def test_every_export_says_which_lock_it_is_and_is_the_same_every_time(
    apt_lock: StackLock, wheel_lock: StackLock
) -> None:
    for lock in (apt_lock, wheel_lock):
        again = StackLock.model_validate(lock.model_dump(mode="json"))
        for form in forms_for(lock):
            text = export_lock(lock, form)
            head = "\n".join(text.splitlines()[:5])
            assert (lock.short_hash if form == "apt-preferences" else lock.hash) in head
            assert text == export_lock(again, form)
            assert text.endswith("\n")


@pytest.mark.parametrize("form", ["pip-requirements", "environment.yml"])
def test_an_apt_lock_has_no_requirements(apt_lock: StackLock, form: str) -> None:
    with pytest.raises(UsageError) as refused:
        export_lock(apt_lock, form)
    assert refused.value.code == "EXPORT-NO-WHEELS"
    assert "apt-preferences" in refused.value.remedy


def test_a_wheel_lock_has_no_preferences(wheel_lock: StackLock) -> None:
    with pytest.raises(UsageError) as refused:
        export_lock(wheel_lock, "apt-preferences")
    assert refused.value.code == "EXPORT-NO-APT"
    assert refused.value.exit_code is Exit.USAGE


def test_an_unknown_format_is_refused_with_the_known_ones(apt_lock: StackLock) -> None:
    with pytest.raises(UsageError) as refused:
        export_lock(apt_lock, "spack.yaml")
    assert refused.value.code == "EXPORT-UNKNOWN-FORMAT"
    assert all(form in refused.value.expected for form in FORMS)


def test_the_preferences_are_those_that_hosts_get(apt_lock: StackLock) -> None:
    placed = {f.path: f.content for f in repository_files(apt_lock)}
    text = export_lock(apt_lock, "apt-preferences")
    assert text == placed["/etc/apt/preferences.d/cudactl-lock.pref"]


def test_apt_arrives_at_the_lock_by_the_exported_preferences(
    apt_lock: StackLock, mirror: Mirror, tmp_path: Path
) -> None:
    apt = Apt(tmp_path / "apt", mirror, "ubuntu2404")
    names = [p.name for p in apt_lock.packages if p.top_level]
    wanted = {p.name: p.version for p in apt_lock.packages}
    file = tmp_path / "apt/etc/preferences.d/exported.pref"
    file.write_text(export_lock(apt_lock, "apt-preferences"))
    assert apt.updated().installs(*names) == wanted
    policy = subprocess.run(
        ["apt-cache", *apt._options, "policy", "libcublas-13-0"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Candidate: 13.0.0.19-1" in policy
    assert "13.0.0.19-1 1001" in policy
    file.unlink()
    assert apt.installs(*names) != wanted, "without the file apt takes the newest"


def pip(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--isolated", "--no-cache-dir"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def downloads(index: Index, requirements: Path, into: Path) -> subprocess.CompletedProcess[str]:
    """Let pip fetch exactly what the file says, for the lock's own platform."""
    target = ["--platform", "manylinux_2_27_x86_64", "--python-version", "311"]
    return pip(
        *("download", "--no-deps", "--require-hashes", "--only-binary=:all:", *target),
        *("--index-url", index.url, "--dest", into, "-r", requirements),
    )


def test_pip_takes_the_requirements_and_checks_the_hashes(
    wheel_lock: StackLock, index: Index, tmp_path: Path
) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(export_lock(wheel_lock, "pip-requirements"))
    done = downloads(index, file, tmp_path / "wheels")
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "wheels").iterdir()} == {
        p.filename for p in wheel_lock.packages
    }
    package = wheel_lock.packages[0]
    file.write_text(file.read_text().replace(package.sha256, "0" * 64))
    done = downloads(index, file, tmp_path / "other")
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr


def test_conda_reads_an_environment_with_a_pip_section(
    wheel_lock: StackLock, index: Index, tmp_path: Path
) -> None:
    document = yaml.safe_load(export_lock(wheel_lock, "environment.yml"))
    python, installer, section = document["dependencies"]
    assert document["name"] == f"cudactl-{wheel_lock.short_hash}"
    assert (python, installer) == ("python=3.11", "pip")
    found = {Requirement(line.split(" --hash=")[0]).name for line in section["pip"]}
    assert found == {p.name for p in wheel_lock.packages}
    # Conda writes the section into a requirements file and calls pip with it.
    file = tmp_path / "requirements.txt"
    file.write_text("\n".join(section["pip"]))
    assert downloads(index, file, tmp_path / "wheels").returncode == 0


def test_ansible_reads_the_variables(apt_lock: StackLock, tmp_path: Path) -> None:
    file = tmp_path / "vars.yml"
    file.write_text(export_lock(apt_lock, "ansible-vars"))
    ansible = Path(sys.executable).parent / "ansible"
    done = subprocess.run(
        [
            *(str(ansible), "localhost", "-c", "local", "-i", "localhost,", "-e", f"@{file}"),
            *("-m", "ansible.builtin.debug", "-a", "msg={{ cudactl_locked | to_json }}"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "ANSIBLE_STDOUT_CALLBACK": "minimal"},
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(json.loads(done.stdout.partition("=>")[2])["msg"])
    assert shown["lock"] == apt_lock.hash
    assert shown["versions"]["driver"] == "580.95.05"
    assert len(shown["packages"]) == len(apt_lock.packages)
    assert "libcublas-13-0=13.0.0.19-1" in shown["apt_names"]


def test_a_shell_reads_the_variables_and_so_does_docker(
    apt_lock: StackLock, tmp_path: Path
) -> None:
    file = tmp_path / "lock.env"
    file.write_text(export_lock(apt_lock, "env"))
    shown = subprocess.run(
        ["env", "-i", "sh", "-ac", f". {file}; /usr/bin/env"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    wanted = variables(apt_lock)
    assert wanted["CUDA_VERSION"] == "13.0.0"
    for name, value in wanted.items():
        assert f"{name}={value}\n" in shown
        assert f"{name}={value}\n" in file.read_text(), "docker's --env-file knows no quotes"


def test_json_says_where_every_file_is(apt_lock: StackLock, mirror: Mirror) -> None:
    document = json.loads(export_lock(apt_lock, "json"))
    assert document["lock"] == apt_lock.hash
    for package in document["packages"]:
        address = package["source"] + package["file"]
        assert address.startswith(mirror.root.as_uri())
        assert Path(address.removeprefix("file://")).stat().st_size == package["size"]


def test_dockerfile_arguments_name_the_whole_closure(apt_lock: StackLock) -> None:
    lines = export_lock(apt_lock, "dockerfile-args").splitlines()
    arguments = dict(
        line.removeprefix("ARG ").split("=", 1) for line in lines if not line.startswith("#")
    )
    assert arguments["CUDACTL_LOCK_HASH"] == f'"{apt_lock.hash}"'
    assert arguments["CUDNN_VERSION"] == f'"{apt_lock.resolved["cudnn"]}"'
    names = arguments["CUDACTL_APT_PACKAGES"].strip('"').split()
    assert names == [f"{p.name}={p.version}" for p in apt_lock.packages]


@pytest.mark.lab
def test_docker_builds_with_the_arguments(apt_lock: StackLock, tmp_path: Path) -> None:
    import docker

    client = docker.from_env()
    text = export_lock(apt_lock, "dockerfile-args")
    text = f"FROM scratch\n{text}LABEL cuda=${{CUDA_VERSION}} all=${{CUDACTL_APT_PACKAGES}}\n"
    image, _ = client.images.build(fileobj=io.BytesIO(text.encode()), rm=True)
    try:
        assert image.labels["cuda"] == "13.0.0"
        packages = image.labels["all"].split()
        assert packages == [f"{p.name}={p.version}" for p in apt_lock.packages]
    finally:
        client.images.remove(image.id)
