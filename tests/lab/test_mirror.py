"""The lab's mirror behaves under apt as NVIDIA's repository; every situation is refused."""

from __future__ import annotations

import ctypes
import gzip
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cudactl.contracts.errors import UsageError
from cudactl.lab.mirror import Mirror
from cudactl.lab.serve import Server
from cudactl.lab.simulated.build import MARKER
from cudactl.stack.repository import read_stanzas

EXTERNAL = {"build-essential", "dkms", "python3"}
"""What the mirror expects from the distribution."""


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Mirror:
    folder = tmp_path_factory.mktemp("lab") / "mirror"
    names = ("ubuntu2404", "debian12", "debian13", "ubuntu2404/sbsa")
    return Mirror.build(folder, repositories=names)


class Apt:
    """apt with folders of its own: it sees only the mirror, and a few names from outside."""

    def __init__(self, root: Path, mirror: Mirror, repository: str, url: str = "") -> None:
        for folder in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
            (root / folder).mkdir(parents=True)
        stanza = "Package: {}\nStatus: install ok installed\nVersion: 99\nArchitecture: all\n"
        stanza += "Maintainer: none\nDescription: none\n\n"
        (root / "status").write_text("".join(stanza.format(name) for name in sorted(EXTERNAL)))
        shutil.copyfile(mirror.key_file, root / "key.asc")
        address = f"{url}/{repository}/x86_64" if url else f"file://{mirror.repository(repository)}"
        (root / "list").write_text(f"deb [signed-by={root}/key.asc] {address} /\n")
        self.root = root
        options = {
            "Dir::State": root / "state",
            "Dir::State::status": root / "status",
            "Dir::Cache": root / "cache",
            "Dir::Etc": root / "etc",
            "Dir::Etc::SourceList": root / "list",
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "root",
            "Acquire::Check-Date": "true",
            "Acquire::Check-Valid-Until": "true",
            "Acquire::http::Proxy": "DIRECT",
        }
        self._options = [part for k, v in options.items() for part in ("-o", f"{k}={v}")]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["apt-get", *self._options, *command], capture_output=True, text=True, check=False
        )

    def updated(self) -> Apt:
        done = self.run("update")
        assert done.returncode == 0, done.stderr
        return self

    def installs(self, *wishes: str) -> dict[str, str]:
        """What a simulated installation comes to: package → version."""
        done = self.run("-s", "install", *wishes)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [line.split() for line in done.stdout.splitlines() if line.startswith("Inst ")]
        return {words[1]: words[2].lstrip("(") for words in lines}

    def refuses(self, *wishes: str) -> str:
        """Why a simulated installation fails."""
        done = self.run("-s", "install", *wishes)
        assert done.returncode == 100, done.stdout
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def ubuntu(mirror: Mirror, tmp_path_factory: pytest.TempPathFactory) -> Apt:
    return Apt(tmp_path_factory.mktemp("apt") / "u", mirror, "ubuntu2404").updated()


@pytest.fixture(scope="module")
def debian(mirror: Mirror, tmp_path_factory: pytest.TempPathFactory) -> Apt:
    return Apt(tmp_path_factory.mktemp("apt") / "d", mirror, "debian12").updated()


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


def extract(mirror: Mirror, into: Path, *files: str) -> Path:
    for file in files:
        subprocess.run(["dpkg-deb", "-x", mirror.repository("ubuntu2404") / file, into], check=True)
    return into


@pytest.mark.parametrize(
    ("package", "library", "symbol", "answer"),
    [
        ("libcudnn9-cuda-13_9.13.1.26-1", "libcudnn.so.9", "cudnnGetVersion", 91301),
        ("libnvinfer10_10.13.3.9-1+cuda13.0", "libnvinfer.so.10", "getInferLibVersion", 101303),
        ("libnvinfer11_11.0.0.114-1+cuda13.2", "libnvinfer.so.11", "getInferLibVersion", 110000),
        ("libcublas-13-0_13.1.0.3-1", "libcublasLt.so.13", "cublasLtGetVersion", 130100),
    ],
)
def test_libraries_answer_their_version_and_carry_the_mark(
    mirror: Mirror, tmp_path: Path, package: str, library: str, symbol: str, answer: int
) -> None:
    root = extract(mirror, tmp_path, f"{package}_amd64.deb")
    (path,) = root.rglob(library)
    assert MARKER in path.read_bytes()
    loaded = ctypes.CDLL(str(path))
    assert loaded[symbol]() == answer
    assert bytes((ctypes.c_char * 25).in_dll(loaded, "cudactl_simulated")) == MARKER


def test_the_runtime_and_the_driver_answer_as_on_a_machine_without_gpu(
    mirror: Mirror, tmp_path: Path
) -> None:
    root = extract(
        mirror,
        tmp_path,
        "cuda-cudart-13-0_13.0.96-1_amd64.deb",
        "libnvidia-compute-580_580.95.05-1ubuntu1_amd64.deb",
    )
    runtime = ctypes.CDLL(str(next(root.rglob("libcudart.so.13"))))
    number, text = ctypes.c_int(7), ctypes.create_string_buffer(80)
    assert runtime.cudaRuntimeGetVersion(ctypes.byref(number)) == 0
    assert number.value == 13000
    assert runtime.cudaGetDeviceCount(ctypes.byref(number)) in (35, 100)
    assert number.value == 0
    driver = ctypes.CDLL(str(next(root.rglob("libcuda.so.1"))))
    assert driver.cuInit(0) == 100
    nvml = ctypes.CDLL(str(next(root.rglob("libnvidia-ml.so.1"))))
    assert nvml.nvmlSystemGetDriverVersion(text, 80) == 1  # not initialised yet
    assert nvml.nvmlInit_v2() == 0
    assert nvml.nvmlSystemGetDriverVersion(text, 80) == 0
    assert text.value == b"580.95.05"
    assert nvml.nvmlDeviceGetCount_v2(ctypes.byref(number)) == 0
    assert number.value == 0


PROGRAM = """
#include <cstdio>
#include <cublas_v2.h>
#include <cudnn_v9.h>
int main() {
  int cublas = 0;
  cublasGetVersion(nullptr, &cublas);
  std::printf("%d %zu\\n", cublas, cudnnGetVersion());
}
"""


def test_nvcc_compiles_links_and_fails_for_real(mirror: Mirror, tmp_path: Path) -> None:
    root = extract(
        mirror,
        tmp_path / "root",
        *(f"{name}_13.0.96-1_amd64.deb" for name in ("cuda-cudart-13-0", "cuda-cudart-dev-13-0")),
        *(f"{name}_13.1.0.3-1_amd64.deb" for name in ("libcublas-13-0", "libcublas-dev-13-0")),
        "cuda-nvcc-13-0_13.0.88-1_amd64.deb",
        *(f"libcudnn9-{part}cuda-13_9.13.0.50-1_amd64.deb" for part in ("", "headers-")),
    )
    lib, include = root / "usr/lib/x86_64-linux-gnu", root / "usr/include/x86_64-linux-gnu"
    # What the -dev package's postinst does with alternatives.
    (lib / "libcudnn.so").symlink_to("libcudnn.so.9")
    (include / "cudnn_version.h").symlink_to("cudnn_version_v9.h")
    (tmp_path / "p.cu").write_text(PROGRAM)
    nvcc = [root / "usr/local/cuda-13.0/bin/nvcc", f"-I{include}", f"-L{lib}", "p.cu", "-o", "p"]

    def build(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*map(str, nvcc), *options], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    told = subprocess.run([nvcc[0], "--version"], capture_output=True, text=True, check=True)
    assert "release 13.0, V13.0.88" in told.stdout
    assert "undefined reference" in build("-lcublas").stderr
    assert "Unsupported gpu architecture 'compute_70'" in build("-arch=sm_70").stderr
    toolkit = root / "usr/local/cuda-13.0/targets/x86_64-linux/lib"
    done = build("-arch=sm_90", "-lcublas", "-lcudnn", "-Xlinker", f"-rpath-link,{toolkit}")
    assert done.returncode == 0, done.stderr
    answer = subprocess.run(
        [tmp_path / "p"],
        env={"LD_LIBRARY_PATH": f"{toolkit}:{lib}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "130100 91300\n"


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


def gpgv(mirror: Mirror, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    keyring = tmp_path / "keyring.gpg"
    keyring.write_bytes(mirror.key.keyring)
    signed = mirror.repository("ubuntu2404") / "InRelease"
    return subprocess.run(
        ["gpgv", "--keyring", str(keyring), str(signed)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("situation", "why"),
    [
        (Mirror.tampered_index, "Hash Sum mismatch"),
        (Mirror.unsigned, "is not signed"),
        (Mirror.signed_by_other_key, "NO_PUBKEY"),
        (Mirror.expired_valid_until, "is expired"),
        (Mirror.truncated_packages, "unexpected size"),
    ],
)
def test_apt_refuses_an_index_that_is_not_right(
    mirror: Mirror, tmp_path: Path, situation: Callable[[Mirror, Path], Mirror], why: str
) -> None:
    wrong = situation(mirror, tmp_path / "wrong")
    done = Apt(tmp_path / "apt", wrong, "ubuntu2404", _serve_url(wrong)).run("update")
    assert why in done.stderr
    assert done.returncode == 100
    assert Apt(tmp_path / "right", mirror, "ubuntu2404").updated()


@pytest.fixture(autouse=True)
def _stop_servers() -> Iterator[None]:
    yield
    while _servers:
        _servers.pop().stop()


_servers: list[Server] = []


def _serve_url(mirror: Mirror) -> str:
    """Serve until the test ends: apt tells less about a file: address."""
    server = Server(mirror.root, "127.0.0.1", 0)
    threading.Thread(target=server.run, daemon=True).start()
    _servers.append(server)
    return server.url


def test_gpgv_accepts_the_mirror_and_refuses_another_key(mirror: Mirror, tmp_path: Path) -> None:
    assert gpgv(mirror, tmp_path).returncode == 0
    other = mirror.signed_by_other_key(tmp_path / "other")
    assert "No public key" in gpgv(other, tmp_path).stderr


def test_a_package_that_is_gone_or_altered_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    gone = mirror.missing_package("libnccl2", tmp_path / "gone")
    apt = Apt(tmp_path / "a", gone, "ubuntu2404", _serve_url(gone)).updated()
    done = apt.run("install", "-y", "--download-only", "libnccl2")
    assert "404" in done.stderr
    assert done.returncode == 100
    altered = mirror.wrong_hash("libnccl2", tmp_path / "altered")
    apt = Apt(tmp_path / "b", altered, "ubuntu2404", _serve_url(altered)).updated()
    done = apt.run("install", "-y", "--download-only", "libnccl2")
    assert "Hash Sum mismatch" in done.stderr
    assert done.returncode == 100


def test_an_expired_pin_is_not_found_any_more(mirror: Mirror, tmp_path: Path) -> None:
    later = mirror.expired_pin("cuda-cudart-13-0", "13.0.48-1", tmp_path / "later")
    apt = Apt(tmp_path / "apt", later, "ubuntu2404").updated()
    assert "was not found" in apt.refuses("cuda-cudart-13-0=13.0.48-1")
    with pytest.raises(UsageError):
        mirror.expired_pin("cuda-cudart-13-0", "1.2.3", tmp_path / "never")


def test_a_new_release_appears(mirror: Mirror, tmp_path: Path) -> None:
    later = mirror.new_release(tmp_path / "later")
    apt = Apt(tmp_path / "apt", later, "ubuntu2404").updated()
    chosen = apt.installs("cuda-toolkit-13-0", "libcudnn9-cuda-13", "libnvinfer11")
    assert chosen["libcublas-13-0"] == "13.1.1.3-1"
    assert chosen["cuda-toolkit-13-0"] == "13.0.3-1"
    assert chosen["libcudnn9-cuda-13"] == "9.28.1.4-1"
    assert chosen["libnvinfer11"] == "11.1.0.106-1+cuda13.3"
    before = read_stanzas(mirror.repository("ubuntu2404"))
    assert not [stanza for stanza in before if stanza.version == "13.0.3-1"]


def test_a_huge_index_is_small_on_the_wire(mirror: Mirror, tmp_path: Path) -> None:
    huge = mirror.huge_index(tmp_path / "huge", size=64 << 20)
    index = huge.repository("ubuntu2404") / "Packages.gz"
    assert gpgv(huge, tmp_path).returncode == 0
    assert index.stat().st_size < 1 << 20
    with gzip.open(index) as stream:
        assert sum(len(block) for block in iter(lambda: stream.read(1 << 20), b"")) == 64 << 20


def test_situations_find_their_own_place(mirror: Mirror) -> None:
    copy = mirror.unsigned()
    assert copy.folder.is_relative_to(mirror.folder / "situations")
    assert (mirror.repository("ubuntu2404") / "InRelease").exists()
    shutil.rmtree(mirror.folder / "situations")
