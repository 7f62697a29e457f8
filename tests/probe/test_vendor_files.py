"""What lies beside dpkg: runfile toolkits, copied libraries, pip and conda, each named once."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from cudactl.contracts.state import HostState, VendorFiles
from tests.probe.conftest import Probe

TARGET = "targets/x86_64-linux/lib"
PACKAGED = f"/usr/local/cuda-13.0/{TARGET}/libcudart.so.13.0.96"
MULTIARCH = "/usr/lib/x86_64-linux-gnu"


class Tree:
    """A file system below a folder."""

    def __init__(self, root: Path, probe: Probe) -> None:
        self.root, self.probe = root, probe

    def file(self, path: str, content: str = "") -> Tree:
        where = self.root / path[1:]
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(content)
        return self

    def link(self, path: str, target: str) -> Tree:
        where = self.root / path[1:]
        where.parent.mkdir(parents=True, exist_ok=True)
        where.symlink_to(target)
        return self

    def package(self, name: str, *paths: str) -> Tree:
        for path in paths:
            self.file(path)
        return self.file(f"/var/lib/dpkg/info/{name}.list", "/.\n" + "\n".join(paths) + "\n")

    def state(self) -> HostState:
        return HostState.model_validate(self.probe("state", "--root", str(self.root)))

    def found(self) -> VendorFiles:
        vendor = self.state().vendor_files
        assert vendor is not None
        return vendor


@pytest.fixture
def tree(tmp_path: Path, probe: Probe) -> Tree:
    return Tree(tmp_path, probe)


def test_nothing_is_found_where_nothing_is(tree: Tree) -> None:
    assert tree.found() == VendorFiles(active_toolkit=None, toolkits=[], foreign=[], more=0)


def test_what_a_package_owns_is_not_foreign(tree: Tree) -> None:
    tree.package("cuda-cudart-13-0", PACKAGED)
    tree.package("libcudnn9-cuda-13", f"{MULTIARCH}/libcudnn.so.9.13.0")
    # A merged /usr: the list may say /lib where the file is found in /usr/lib.
    tree.file(f"{MULTIARCH}/libcuda.so.580.95.05")
    tree.package("libnvidia-compute-580:amd64", "/lib/x86_64-linux-gnu/libcuda.so.580.95.05")
    # A package whose name tells nothing is asked too.
    tree.package("acme-runtime", "/usr/local/lib/libnccl.so.2.28.9")
    found = tree.found()
    assert found.foreign == []
    assert [(home.path, home.packaged) for home in found.toolkits] == [
        ("/usr/local/cuda-13.0", True)
    ]


def test_a_runfile_toolkit_is_one_finding_with_its_version(tree: Tree) -> None:
    home = "/usr/local/cuda-12.4"
    tree.file(f"{home}/version.json", '{"cuda": {"name": "CUDA SDK", "version": "12.4.1"}}')
    tree.file(f"{home}/{TARGET}/libcudart.so.12.4.127")
    tree.file(f"{home}/{TARGET}/libcublas.so.12.4.5.8")
    tree.link(f"{home}/lib64", f"{TARGET}")
    found = tree.found()
    assert [(one.path, one.kind, one.version) for one in found.foreign] == [
        (home, "toolkit", "12.4.1")
    ]
    assert [(one.path, one.version, one.packaged) for one in found.toolkits] == [
        (home, "12.4.1", False)
    ]


def test_a_library_copied_into_a_packaged_toolkit_is_found(tree: Tree) -> None:
    tree.package("cuda-cudart-13-0", PACKAGED)
    copied = f"/usr/local/cuda-13.0/{TARGET}/libcudnn.so.9.1.0"
    tree.file(copied).link(f"/usr/local/cuda-13.0/{TARGET}/libcudnn.so.9", "libcudnn.so.9.1.0")
    found = tree.found()
    assert [(one.path, one.kind, one.version) for one in found.foreign] == [
        (copied, "library", "9.1.0")
    ]


def test_a_folder_with_only_a_compat_library_is_no_toolkit(tree: Tree) -> None:
    tree.file("/usr/local/cuda-13.0/compat/libcuda.so.580.95.05")
    assert tree.found().toolkits == []


def test_the_active_toolkit_is_where_the_links_lead(tree: Tree) -> None:
    tree.link("/usr/local/cuda", "/etc/alternatives/cuda")
    tree.link("/etc/alternatives/cuda", "/usr/local/cuda-13.0")
    assert tree.found().active_toolkit == "/usr/local/cuda-13.0"


def test_links_in_a_circle_lead_nowhere(tree: Tree) -> None:
    tree.link("/usr/local/cuda", "/etc/alternatives/cuda")
    tree.link("/etc/alternatives/cuda", "/usr/local/cuda")
    assert tree.found().active_toolkit is None


def test_drivers_wheels_and_conda_are_told_apart(tree: Tree) -> None:
    site = "/usr/local/lib/python3.12/dist-packages"
    tree.file("/usr/bin/nvidia-uninstall")
    tree.file(f"{MULTIARCH}/libcuda.so.550.54.15")
    tree.file(f"{site}/nvidia_cudnn_cu12-9.1.0.70.dist-info/RECORD")
    tree.file(f"{site}/nvidia_ml_py-12.560.30.dist-info/RECORD")
    tree.file("/opt/ml/lib/python3.11/site-packages/torch-2.5.1.dist-info/RECORD")
    tree.file("/opt/conda/conda-meta/cudnn-9.1.0.70-h1234_0.json")
    tree.file("/opt/conda/envs/x/conda-meta/cuda-cudart-12.4.127-0.json")
    tree.file("/opt/conda/conda-meta/curl-8.1.0-h1_0.json")
    found = tree.found()
    assert {(one.kind, Path(one.path).name, one.version) for one in found.foreign} == {
        ("driver", "nvidia-uninstall", None),
        ("library", "libcuda.so.550.54.15", "550.54.15"),
        ("python", "nvidia_cudnn_cu12-9.1.0.70.dist-info", "9.1.0.70"),
        ("python", "torch-2.5.1.dist-info", "2.5.1"),
        ("conda", "cudnn-9.1.0.70-h1234_0.json", "9.1.0.70"),
        ("conda", "cuda-cudart-12.4.127-0.json", "12.4.127"),
    }


def test_a_machine_full_of_copies_gives_a_bounded_answer(tree: Tree) -> None:
    for number in range(230):
        tree.file(f"/usr/local/lib/libnccl.so.2.{number}")
    found = tree.found()
    assert (len(found.foreign), found.more) == (200, 30)


def test_the_key_that_a_source_trusts_comes_along(tree: Tree) -> None:
    tree.file("/usr/share/keyrings/c.gpg", "a key")
    tree.file(
        "/etc/apt/sources.list.d/cuda.list",
        "deb [signed-by=/usr/share/keyrings/c.gpg] https://x.example/cuda/repos/u/ /\n"
        "deb [signed-by=/usr/share/keyrings/gone.gpg] https://y.example/cuda/repos/u/ /\n",
    )
    keys = [source.key for source in tree.state().apt_sources]
    assert keys == [base64.b64encode(b"a key").decode(), None]
