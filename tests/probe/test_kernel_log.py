"""What the kernel said of the GPUs: found wherever it may be read, and honest where it may not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cudactl.probe import kernel_log as module
from cudactl.probe.files import Root
from cudactl.probe.kernel_log import kernel_log
from cudactl.probe.services import replaced_libraries, services

FELL = "NVRM: Xid (PCI:0000:17:00): 79, pid=1234, name=python3, GPU has fallen off the bus."
MMU = "NVRM: Xid (PCI:0000:65:00): 31, pid=77, name=train, Ch 00000008, intr 00000000."
SWITCH = (
    "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 24007, Fatal, Link 46 sourcetrack timeout error"
)
HARMLESS = "nvidia-nvswitch0: SXid (PCI:0000:c0:00.0): 11004, Non-fatal, Link 3 ingress invalid"
MISMATCH = (
    "NVRM: API mismatch: the client has the version 580.95.05, but this kernel module has the"
    " version 570.86.10."
)
INIT = "NVRM: GPU 0000:17:00.0: RmInitAdapter failed! (0x62:0xffff:2477)"
BOOT = "Linux version 6.8.0-31-generic (buildd@lcy02) #31-Ubuntu SMP"


def kmsg(*lines: str, first: int = 0) -> str:
    """The kernel's buffer as /dev/kmsg hands it out, with a continuation line."""
    records = [f"6,{first + n},{1000 * n},-;{line}\n SUBSYSTEM=pci" for n, line in enumerate(lines)]
    return "\n".join(records) + "\n"


def root(folder: Path, files: dict[str, str]) -> Root:
    for path, text in files.items():
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return Root(str(folder))


def syslog(*lines: str) -> str:
    return "".join(f"Nov 24 10:00:00 h1 kernel: [   12.000000] {line}\n" for line in lines)


def test_a_quiet_log_is_complete_and_empty(tmp_path: Path) -> None:
    found = kernel_log(root(tmp_path, {"/dev/kmsg": kmsg(BOOT, "usb 1-1: new device")}))
    assert found["readable"] is True
    assert found["complete"] is True
    assert found["source"] == "/dev/kmsg"
    assert (found["xids"], found["sxids"], found["signs"]) == ([], [], {})


def test_xids_are_told_with_gpu_text_and_how_often(tmp_path: Path) -> None:
    found = kernel_log(root(tmp_path, {"/dev/kmsg": kmsg(BOOT, MMU, FELL, MMU, MMU)}))
    assert [(x["code"], x["address"], x["count"]) for x in found["xids"]] == [
        (31, "0000:65:00", 3),
        (79, "0000:17:00", 1),
    ]
    assert found["xids"][1]["text"].startswith("pid=1234")


def test_an_xid_of_an_older_driver_without_pci_is_read(tmp_path: Path) -> None:
    line = "NVRM: Xid (0000:03:00): 48, An uncorrectable double bit error (DBE) has been detected"
    found = kernel_log(root(tmp_path, {"/dev/kmsg": kmsg(BOOT, line)}))
    assert (found["xids"][0]["code"], found["xids"][0]["address"]) == (48, "0000:03:00")


def test_a_switchs_errors_are_told_apart_by_whether_they_are_fatal(tmp_path: Path) -> None:
    found = kernel_log(root(tmp_path, {"/dev/kmsg": kmsg(BOOT, SWITCH, HARMLESS)}))
    assert [(x["code"], x["address"], x["fatal"]) for x in found["sxids"]] == [
        (24007, "0000:c1:00.0", True),
        (11004, "0000:c0:00.0", False),
    ]


@pytest.mark.parametrize(
    ("line", "sign"),
    [
        (MISMATCH, "api_mismatch"),
        (INIT, "init_failed"),
        (
            "NVRM: installed in this system requires use of the NVIDIA open kernel modules.",
            "needs_open_modules",
        ),
    ],
)
def test_the_drivers_own_complaints_are_found(tmp_path: Path, line: str, sign: str) -> None:
    found = kernel_log(root(tmp_path, {"/dev/kmsg": kmsg(BOOT, line)}))
    assert list(found["signs"]) == [sign]
    assert line[:40] in found["signs"][sign]


def test_what_other_programs_say_of_xids_is_none(tmp_path: Path) -> None:
    lines = ("audit: user typed Xid 79", "foo: NVRM-like Xid (PCI:0000:17:00): 79")
    found = kernel_log(root(tmp_path, {"/dev/kmsg": kmsg(BOOT, *lines)}))
    assert found["xids"] == []


def test_an_overwritten_buffer_is_completed_from_the_log_file(tmp_path: Path) -> None:
    files = {
        "/dev/kmsg": kmsg("usb 1-1: new device", first=5000),
        "/var/log/kern.log": syslog(BOOT, "old", FELL, BOOT, MMU, "usb 1-1: new device"),
    }
    found = kernel_log(root(tmp_path, files))
    assert found["source"] == "/var/log/kern.log"
    assert found["complete"] is True
    assert [x["code"] for x in found["xids"]] == [31], "the earlier boot's does not count"


def test_an_overwritten_buffer_alone_is_not_complete(tmp_path: Path) -> None:
    found = kernel_log(root(tmp_path, {"/dev/kmsg": kmsg(FELL, first=5000)}))
    assert found["complete"] is False
    assert [x["code"] for x in found["xids"]] == [79], "what is left is told all the same"


def test_a_prolog_does_not_look_for_what_the_buffer_has_lost(tmp_path: Path) -> None:
    files = {"/dev/kmsg": kmsg(MMU, first=5000), "/var/log/kern.log": syslog(BOOT, FELL)}
    found = kernel_log(root(tmp_path, files), whole=False)
    assert found["source"] == "/dev/kmsg"
    assert found["complete"] is False
    (tmp_path / "dev" / "kmsg").unlink()
    found = kernel_log(Root(str(tmp_path)), whole=False)
    assert found["source"] == "/var/log/kern.log", "something is better than nothing"


def test_a_log_file_that_began_after_the_start_is_not_complete(tmp_path: Path) -> None:
    found = kernel_log(root(tmp_path, {"/var/log/messages": syslog("usb", FELL)}))
    assert (found["source"], found["complete"]) == ("/var/log/messages", False)


def test_a_syslog_without_the_kernels_lines_says_nothing(tmp_path: Path) -> None:
    found = kernel_log(root(tmp_path, {"/var/log/syslog": "Nov 24 10:00:00 h1 cron[1]: ran\n"}))
    assert found["readable"] is False


def test_where_nothing_may_be_read_that_is_said(tmp_path: Path) -> None:
    found = kernel_log(Root(str(tmp_path)))
    assert found["readable"] is False
    assert found["tried"][0] == "/dev/kmsg: No such file or directory"
    assert len(found["tried"]) == 1 + len(module.FILES)


def test_a_flood_of_errors_stays_small(tmp_path: Path) -> None:
    flood = [f"NVRM: Xid (PCI:0000:{n % 256:02x}:00): {n % 170}, x" for n in range(5000)]
    found = kernel_log(root(tmp_path, {"/dev/kmsg": kmsg(BOOT, *flood)}))
    assert len(found["xids"]) == module.KEPT_LINES


def test_a_broken_log_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "kmsg").write_bytes(b"\xff\xfe;;;\n,;\n6,x,1,-;NVRM: Xid (PCI:): x\n;NVRM")
    assert kernel_log(Root(str(tmp_path)))["xids"] == []


# --- the journal --------------------------------------------------------------------------------


def journal(monkeypatch: pytest.MonkeyPatch, out: str, code: int = 0) -> dict[str, Any]:
    """The log where only the journal may be read."""

    def run(*_: object, **__: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess([], code, out.encode(), b"")

    monkeypatch.setattr(module, "_kmsg", lambda root, tried: None)
    monkeypatch.setattr(module, "FILES", ())
    monkeypatch.setattr(subprocess, "run", run)
    return kernel_log(Root())


def test_the_journal_is_asked_last(monkeypatch: pytest.MonkeyPatch) -> None:
    found = journal(monkeypatch, f"{BOOT}\n{FELL}\n")
    assert (found["source"], found["complete"]) == ("journalctl -k", True)
    assert [x["code"] for x in found["xids"]] == [79]


def test_an_empty_journal_is_one_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert journal(monkeypatch, "")["readable"] is False


def test_a_journal_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("journalctl", module.JOURNAL_S)

    monkeypatch.setattr(module, "_kmsg", lambda root, tried: None)
    monkeypatch.setattr(module, "FILES", ())
    monkeypatch.setattr(subprocess, "run", hang)
    found = kernel_log(Root())
    assert found["readable"] is False
    assert "timed out" in found["tried"][-1]


def test_this_machines_own_buffer_is_read_without_waiting() -> None:
    if not os.access("/dev/kmsg", os.R_OK):
        pytest.skip("the kernel's buffer may not be read here")
    assert kernel_log(Root())["readable"] is True


# --- services and stale processes ---------------------------------------------------------------

UNIT = "/usr/lib/systemd/system/nvidia-fabricmanager.service"
WANTED = "/etc/systemd/system/multi-user.target.wants/nvidia-fabricmanager.service"


def test_a_running_fabric_manager_is_seen(tmp_path: Path) -> None:
    files = {
        UNIT: "",
        WANTED: "",
        "/proc/1/comm": "systemd\n",
        "/proc/700/comm": "nv-fabricmanage\n",
        "/proc/driver/nvidia-nvswitch/devices/0000:05:00.0/information": "",
        "/proc/driver/nvidia-nvswitch/devices/0000:06:00.0/information": "",
    }
    found = services(root(tmp_path, files))
    assert found["nvswitches"] == 2
    assert found["fabric_manager"] == {"unit": True, "enabled": True, "running": True, "pid": 700}
    assert found["persistenced"]["running"] is False
    assert found["init"] == "systemd"


def test_switches_without_a_driver_are_seen_on_the_bus(tmp_path: Path) -> None:
    base = "/sys/bus/pci/devices"
    files = {
        f"{base}/0000:05:00.0/vendor": "0x10de\n",
        f"{base}/0000:05:00.0/class": "0x068000\n",
        f"{base}/0000:17:00.0/vendor": "0x10de\n",
        f"{base}/0000:17:00.0/class": "0x030200\n",
        f"{base}/0000:18:00.0/vendor": "0x8086\n",
        f"{base}/0000:18:00.0/class": "0x068000\n",
    }
    assert services(root(tmp_path, files))["nvswitches"] == 1


def mapped(path: str, *, deleted: bool) -> str:
    return f"7f00-7f01 r-xp 00000000 08:01 42   {path}{' (deleted)' if deleted else ''}\n"


def test_a_process_on_a_replaced_library_is_named(tmp_path: Path) -> None:
    old = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.570.86.10"
    files = {
        "/proc/9/comm": "nvidia-persiste\n",
        "/proc/9/maps": mapped(old, deleted=True) * 2 + mapped("/usr/bin/x", deleted=False),
        "/proc/10/comm": "python3\n",
        "/proc/10/maps": mapped("/usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05", deleted=False),
        "/proc/11/comm": "shell\n",
        "/proc/11/maps": mapped("/usr/lib/libfoo.so.1", deleted=True),
    }
    found = replaced_libraries(root(tmp_path, files))
    assert found["holders"] == [{"pid": 9, "name": "nvidia-persiste", "paths": [old]}]
    assert found["seen"] == 3
    assert found["unseen"] == 0


def test_a_process_that_may_not_be_looked_at_is_counted(tmp_path: Path) -> None:
    there = root(tmp_path, {"/proc/9/cmdline": "other\0", "/proc/2/comm": "kthreadd\n"})
    for pid in ("9", "2"):
        (tmp_path / "proc" / pid / "maps").mkdir()  # reading a folder is refused to root too
    assert replaced_libraries(there)["unseen"] == 1, "the kernel's own threads map nothing"


@pytest.mark.parametrize(
    "name", ["libcuda.so.1", "libcudnn_graph.so.9", "libnvinfer.so.10", "libcublasLt.so.13"]
)
def test_toolkit_libraries_count_too(tmp_path: Path, name: str) -> None:
    there = root(tmp_path, {"/proc/9/maps": mapped(f"/opt/{name}", deleted=True)})
    assert replaced_libraries(there)["holders"][0]["paths"] == [f"/opt/{name}"]
