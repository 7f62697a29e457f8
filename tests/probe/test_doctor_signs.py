"""What doctor reads besides the state: from which source, how far, and what it would need."""

from __future__ import annotations

import gzip
import itertools
import lzma
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cudactl.probe.files import Root
from cudactl.probe.signs import boot, loader, log, packaging, services, signs
from tests.judge.doctor.machines import DRIVER, KERNEL, LIB, healthy, module, write


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(str(tmp_path))


def files(root: Root, tree: dict[str, Any]) -> None:
    write(tree, Path(root.path))


# --- the kernel log -----------------------------------------------------------------------------


def test_of_the_kernel_log_only_what_concerns_us_is_kept(root: Root) -> None:
    text = "6,1,5,-;usb 1-1: new device\n4,2,9,-;NVRM: Xid (PCI:0000:17:00): 79\n SUBSYSTEM=pci\n"
    files(root, {"/dev/kmsg": text})
    found = log.kernel_log(root, [])
    assert found == {"source": "/dev/kmsg", "lines": ["NVRM: Xid (PCI:0000:17:00): 79"]}


def test_a_line_of_syslogs_file_is_told_whole(root: Root) -> None:
    line = "2026-11-24T10:00:00,5 h kernel: NVRM: Xid (PCI:0000:17:00): 79; pid=1"
    files(root, {"/var/log/kern.log": line + "\n"})
    assert log.kernel_log(root, [])["lines"] == [line]


def test_syslogs_file_serves_where_nothing_better_can_be_read(root: Root) -> None:
    files(root, {"/var/log/kern.log": "Nov 24 h kernel: NVRM: x\n"})
    assert log.kernel_log(root, [])["source"] == "/var/log/kern.log"


def test_a_log_that_cannot_be_read_is_named_with_what_it_needs(root: Root) -> None:
    unread: list[dict[str, str]] = []
    assert log.kernel_log(root, unread) == {"source": None, "lines": []}
    assert unread[0]["needs"] == "root, or membership in the group adm"


# --- modules ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pack"),
    [("nvidia.ko", bytes), ("nvidia.ko.xz", lzma.compress), ("nvidia.ko.gz", gzip.compress)],
)
def test_a_module_on_disk_tells_version_flavour_and_signature(
    root: Root, name: str, pack: Any
) -> None:
    files(root, {f"/lib/modules/{KERNEL}/updates/dkms/{name}": pack(module())})
    (found,) = boot.modules(root)["files"][KERNEL]
    assert (found["version"], found["flavour"], found["signed"]) == (DRIVER, "open", True)


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\xfd7zXZ\x00rubbish"])
def test_a_module_that_cannot_be_read_tells_nothing(root: Root, content: bytes) -> None:
    files(root, {f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko.xz": content})
    (found,) = boot.modules(root)["files"][KERNEL]
    assert found["version"] is None


def test_debians_names_of_module_and_dkms_folder_are_known(root: Root) -> None:
    """nvidia-current; nvidia-fs is another module that DKMS may hold."""
    files(
        root,
        {
            f"/lib/modules/{KERNEL}/updates/dkms/nvidia-current.ko.xz": lzma.compress(module()),
            f"/var/lib/dkms/nvidia-current/{DRIVER}/{KERNEL}/x86_64/module/x": "",
            "/var/lib/dkms/nvidia-fs/2.20/x": "",
        },
    )
    found = boot.modules(root)
    assert found["files"][KERNEL][0]["version"] == DRIVER
    assert [(b["name"], b["built_for"]) for b in found["dkms"]] == [("nvidia-current", [KERNEL])]


# --- the loader ---------------------------------------------------------------------------------


def test_the_loaders_cache_is_read_in_its_own_order_as_ldconfig_writes_it(tmp_path: Path) -> None:
    """A real ldconfig wrote it, over folders named in ld.so.conf."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        source = tmp_path / "x.c"
        source.write_text("int x;")
        command = ["gcc", "-shared", "-fPIC", "-Wl,-soname,libcudart.so.13", str(source)]
        subprocess.run([*command, "-o", str(tmp_path / folder / "libcudart.so.13")], check=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ld.so.conf").write_text(f"{tmp_path}/b\n{tmp_path}/a\n")
    cache, conf = str(tmp_path / "etc/ld.so.cache"), str(tmp_path / "etc/ld.so.conf")
    ldconfig = "/sbin/ldconfig" if Path("/sbin/ldconfig").exists() else "ldconfig"
    subprocess.run([ldconfig, "-C", cache, "-f", conf], check=True, capture_output=True)
    found = [e["path"] for e in loader.loader(Root(str(tmp_path)), {})["found"]]
    ours = [path for path in found if path.startswith(str(tmp_path))]
    shown = subprocess.run(
        [ldconfig, "-C", cache, "-p"], capture_output=True, text=True, check=True
    ).stdout
    listed = [line.split(" => ")[1] for line in shown.splitlines() if "libcudart.so.13 " in line]
    assert ours == [path for path in listed if path.startswith(str(tmp_path))]
    assert len(ours) == 2


@pytest.mark.parametrize("cut", [10, 40, 60])
def test_a_cache_that_was_cut_short_ends_the_reading_and_nothing_else(root: Root, cut: int) -> None:
    data = b"glibc-ld.so.cache1.1" + struct.pack("<I", 1000) + b"\0" * 200
    files(root, {"/etc/ld.so.cache": data[:cut]})
    assert loader.loader(root, {})["found"] == []


def test_folders_of_LD_LIBRARY_PATH_come_first_and_relative_ones_are_left_out(root: Root) -> None:
    files(root, {f"{LIB}/libcuda.so.1": "x", "/srv/x/libcuda.so.1": "x"})
    found = loader.loader(root, {"LD_LIBRARY_PATH": "relative::/srv/x/:/srv/x"})["found"]
    assert [(e["path"], e["source"]) for e in found] == [
        ("/srv/x/libcuda.so.1", "LD_LIBRARY_PATH"),
        (f"{LIB}/libcuda.so.1", "ld.so.conf"),
    ]


def test_only_variables_that_matter_are_kept() -> None:
    kept = loader.of_interest({"CUDA_HOME": "/x", "HF_TOKEN": "secret", "HOME": "/root"})
    assert kept == {"CUDA_HOME": "/x"}


# --- packages, processes, the clock -------------------------------------------------------------


def test_apts_history_keeps_what_concerns_us_from_the_packed_log_too(root: Root) -> None:
    old = (
        b"Start-Date: 1\nCommandline: apt install cuda\nInstall: cuda:amd64 (13.0.2-1, automatic)\n"
    )
    new = "\nStart-Date: 2\nUpgrade: tzdata:amd64 (1, 2)\n\n"
    new += "Start-Date: 3\nRemove: libcudnn9:amd64 (9)\n"
    files(
        root,
        {"/var/log/apt/history.log.1.gz": gzip.compress(old), "/var/log/apt/history.log": new},
    )
    runs = packaging.packaging(root)["history"]
    assert [(r["start"], r["changes"][0]["action"]) for r in runs] == [
        ("1", "Install"),
        ("3", "Remove"),
    ]


def test_this_machines_clock_and_processes_can_be_read() -> None:
    clock = services.clock(Root())
    assert clock["synchronised"] in (True, False, None)
    assert clock["surely_passed"]["time"] <= clock["now"] + 300
    assert services.processes(Root(), [])["replaced"] == []


def test_a_corner_that_breaks_is_unread_and_hides_no_other(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise OSError("input/output error")

    monkeypatch.setattr(boot, "modules", breaks)
    files(root, healthy())
    found = signs(root)
    assert found["modules"] is None
    assert found["loader"]["found"]
    assert {"what": "modules", "why": "input/output error"}.items() <= found["unread"][0].items()


def test_looking_changes_nothing(root: Root) -> None:
    files(root, healthy())
    before = {p: p.lstat().st_mtime_ns for p in Path(root.path).rglob("*")}
    signs(root)
    assert {p: p.lstat().st_mtime_ns for p in Path(root.path).rglob("*")} == before


@pytest.mark.parametrize(
    "versions",
    [
        ["1.0~rc1-1", "1.0-1", "1.0-1ubuntu1", "1.0.1-1", "1.10-1", "1:0.9-1"],
        ["580.95.05-0ubuntu1", "580.95.05-1", "580.159.04-1~a", "580.159.04-1", "580.159.04-1+b1"],
        ["9.13.0.50-1", "9.13.1.26-1", "9.13.1.26-1+cuda12", "10.0a-1", "10.0+1-1"],
    ],
)
def test_versions_sort_as_dpkg_sorts_them(versions: list[str]) -> None:
    """Each list was ordered by `dpkg --compare-versions`."""
    keys = [packaging._order(version) for version in versions]
    assert all(older < newer for older, newer in itertools.pairwise(keys))
