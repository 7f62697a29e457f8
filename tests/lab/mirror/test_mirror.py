"""The lab's mirror behaves under apt as NVIDIA's repository does."""

from __future__ import annotations

import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from cudactl.contracts.errors import UsageError
from cudactl.lab.mirror import Mirror
from cudactl.stack.bundle.repository import read_stanzas
from tests.lab.mirror.apt import EXTERNAL, Apt


def test_a_toolkit_pinned_by_its_metapackage_floats_its_components(ubuntu: Apt) -> None:
    chosen = ubuntu.installs("cuda-toolkit-13-0=13.0.0-1")
    assert chosen["cuda-toolkit-13-0"] == "13.0.0-1"
    assert chosen["cuda-cudart-13-0"] == "13.0.96-1"
    assert chosen["libcublas-13-0"] == "13.1.0.3-1"
    assert chosen["cuda-toolkit-config-common"] == "13.3.29-1"
    assert not [name for name in chosen if "driver" in name and name != "cuda-driver-dev-13-0"]


def test_the_older_components_are_still_there_for_a_lock_that_names_them(ubuntu: Apt) -> None:
    wish = ["cuda-cudart-13-0=13.0.48-1", "libcublas-13-0=13.0.0.19-1"]
    assert ubuntu.installs(*wish)["cuda-cudart-13-0"] == "13.0.48-1"


def test_tensorrt_pinned_alone_cannot_be_satisfied(ubuntu: Apt) -> None:
    told = ubuntu.refuses("tensorrt=10.13.3.9-1+cuda12.9")
    wanted = "libnvinfer10 (= 10.13.3.9-1+cuda12.9) but 10.14.1.48-1+cuda13.0 is to be installed"
    assert wanted in told


def test_names_without_version_follow_tensorrt_11_while_libnvinfer10_stays(ubuntu: Apt) -> None:
    assert ubuntu.installs("tensorrt")["libnvinfer11"] == "11.0.0.114-1+cuda13.2"
    assert ubuntu.installs("libnvinfer10")["libnvinfer10"] == "10.14.1.48-1+cuda13.0"


@pytest.mark.parametrize(
    "name",
    [
        *("nvidia-open-590", "cuda-drivers-595", "nvidia-driver-610-open"),
        *("nvidia-fabricmanager-580", "libcudnn9", "libcudnn8-cuda-13"),
    ],
)
def test_names_that_never_existed_do_not_exist(ubuntu: Apt, name: str) -> None:
    assert f"Unable to locate package {name}" in ubuntu.refuses(name)


def test_cccl_of_13_3_is_virtual_under_its_old_name(ubuntu: Apt) -> None:
    assert ubuntu.installs("cuda-cccl-13-3") == {"cccl-13-3": "13.3.3.3.1-1"}
    assert "was not found" in ubuntu.refuses("cuda-cccl-13-3=13.3.3.3.1-1")


def test_two_pinning_packages_conflict(ubuntu: Apt) -> None:
    told = ubuntu.refuses("nvidia-driver-pinning-580", "nvidia-driver-pinning-595")
    assert "Conflicts: nvidia-driver-pinning" in told


@pytest.mark.parametrize("name", ["cuda", "cuda-13-0", "cuda-runtime-13-0"])
def test_cuda_brings_a_driver(ubuntu: Apt, name: str) -> None:
    assert ubuntu.installs(name)["nvidia-open"] == "610.43.02-1ubuntu1"


def test_a_pinning_package_selects_the_branch(mirror: Mirror, ubuntu: Apt, tmp_path: Path) -> None:
    assert ubuntu.installs("nvidia-open")["nvidia-driver-open"] == "610.43.02-1ubuntu1"
    package = mirror.repository("ubuntu2404") / "nvidia-driver-pinning-580_580.159.04-1_all.deb"
    subprocess.run(["dpkg-deb", "-x", package, tmp_path / "x"], check=True)
    apt = Apt(tmp_path / "apt", mirror, "ubuntu2404").updated()
    for file in (tmp_path / "x/etc/apt/preferences.d").iterdir():
        shutil.copy(file, tmp_path / "apt/etc/preferences.d")
    chosen = apt.installs("nvidia-open")
    assert chosen["nvidia-open-580"] == "580.159.04-1ubuntu1"
    assert chosen["nvidia-driver-580-open"] == "580.159.04-1ubuntu1"


def test_debian_has_debians_driver_names(debian: Apt) -> None:
    chosen = debian.installs("nvidia-open")
    assert chosen["libnvidia-ml1"] == "610.43.02-1"
    assert chosen["nvidia-kernel-open-dkms"] == chosen["nvidia-driver-cuda"] == "610.43.02-1"
    assert "libnvidia-compute" not in chosen


def test_debian_13_begins_at_cuda_13_1(mirror: Mirror) -> None:
    names = {stanza.name for stanza in read_stanzas(mirror.repository("debian13"))}
    assert "cuda-toolkit-13-1" in names
    assert not {"cuda-toolkit-12-9", "cuda-toolkit-13-0"} & names


def test_cudnn_8_says_cuda_in_its_version_and_9_in_its_name(debian: Apt) -> None:
    assert debian.installs("libcudnn8-dev")["libcudnn8"] == "8.9.7.29-1+cuda12.2"
    assert debian.installs("cudnn9-cuda-13")["libcudnn9-dev-cuda-13"] == "9.28.0.42-1"


def test_every_dependency_can_be_met(mirror: Mirror) -> None:
    for repository in mirror.repositories:
        stanzas = read_stanzas(mirror.repository(repository))
        known = {stanza.name for stanza in stanzas} | EXTERNAL
        for stanza in stanzas:
            known |= {name.strip() for name in stanza.fields.get("Provides", "").split(",")}
        for stanza in stanzas:
            for group in stanza.fields.get("Depends", "").split(","):
                options = {option.split()[0] for option in group.split("|") if option.strip()}
                assert not options or options & known, f"{repository}: {stanza.name}: {group}"


def test_packages_that_own_the_same_file_say_so(mirror: Mirror) -> None:
    universe = mirror.universe()
    for distribution in ("ubuntu2404", "debian12"):
        owners: dict[str, set[str]] = {}
        against: dict[str, set[str]] = {}
        provided: dict[str, set[str]] = {}
        for deb in universe.debs(distribution, "x86_64"):
            for path in {*deb.files, *deb.links}:
                owners.setdefault(path, set()).add(deb.name)
            named = {*deb.conflicts, *deb.breaks}
            against.setdefault(deb.name, set()).update(name.split()[0] for name in named)
            provided.setdefault(deb.name, {deb.name}).update(deb.provides)
        for path, names in owners.items():
            for one in names:
                for two in names - {one}:
                    apart = against[one] & provided[two] or against[two] & provided[one]
                    assert apart, f"{distribution}: {path} is in {one} and in {two}"


def test_two_builds_give_the_same_packages(mirror: Mirror, tmp_path: Path) -> None:
    again = Mirror.build(tmp_path / "again", repositories=("ubuntu2404",))

    def sums(one: Mirror) -> dict[str, str]:
        stanzas = read_stanzas(one.repository("ubuntu2404"))
        return {s.filename: s.fields["SHA256"] for s in stanzas if s.name != "cuda-keyring"}

    assert sums(again) == sums(mirror)


def test_a_built_mirror_is_used_again(mirror: Mirror) -> None:
    about = mirror.folder / "mirror.json"
    before = about.stat().st_mtime_ns
    again = Mirror.build(mirror.folder, repositories=mirror.repositories)
    assert about.stat().st_mtime_ns == before
    assert again.fingerprint == mirror.fingerprint


def test_an_unknown_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        Mirror.build(tmp_path / "m", repositories=("ubuntu1604",))
    assert refused.value.code == "LAB-UNKNOWN-REPOSITORY"


def test_apt_installs_over_http_and_requests_are_counted(mirror: Mirror, tmp_path: Path) -> None:
    with mirror.serve("127.0.0.1") as server:
        apt = Apt(tmp_path / "apt", mirror, "ubuntu2404", server.url).updated()
        done = apt.run("install", "-y", "--download-only", "tensorrt")
        assert done.returncode == 0, done.stderr
        asked = [path for path in server.requests if path.endswith(".deb")]
        assert len(asked) == len(list((tmp_path / "apt/cache/archives").glob("*.deb"))) > 10
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(server.url, timeout=5)


def test_the_server_can_run_as_a_program(mirror: Mirror) -> None:
    command = [sys.executable, "-m", "cudactl.lab.serve", str(mirror.folder), "127.0.0.1", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}/ubuntu2404/x86_64/InRelease", timeout=5) as answer:
            assert answer.read().startswith(b"-----BEGIN PGP SIGNED MESSAGE-----")
        process.terminate()
        assert process.wait(10) == 0
