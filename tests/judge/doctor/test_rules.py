"""Where doctor's rules begin to hold: values changed in the examination of a healthy machine."""

from __future__ import annotations

import functools
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cudactl.judge.doctor import diagnose, explain
from tests.judge.doctor.machines import DRIVER, LIB, examine, healthy

Document = dict[str, Any]


@functools.cache
def _healthy() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return pickle.dumps(examine(healthy(), Path(folder)))


def found(*changes: Callable[[Document], object]) -> dict[str, Document]:
    """Return code → finding for a healthy machine's examination after changes."""
    document = pickle.loads(_healthy())
    for change in changes:
        change(document)
    return {one["code"]: one for one in diagnose(document)["findings"]}


def at(path: str, value: object) -> Callable[[Document], object]:
    """Put a value at a place such as signs.clock.now."""

    def change(document: Document) -> None:
        *way, last = path.split(".")
        node: Any = document
        for key in way:
            node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
        node[last] = value

    return change


def log(*lines: str) -> Callable[[Document], object]:
    return lambda document: document["signs"]["log"]["lines"].extend(lines)


def said(finding: Document) -> str:
    return " ".join(finding["seen"] + finding["remedy"])


# --- the kernel's log ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (46, "the GPU stopped answering"),
        (48, "a double-bit memory error"),
        (54, "its auxiliary power is not connected"),
        (62, "its power controller stopped"),
        (63, "a row of memory is to be remapped"),
        (64, "a row of memory could not be remapped"),
        (74, "an NVLink error"),
        (92, "many corrected memory errors"),
        (94, "a contained memory error"),
        (95, "an uncontained memory error"),
        (109, "a context switch timed out"),
        (119, "its firmware (GSP) does not answer"),
        (120, "its firmware (GSP) failed"),
        (136, "an NVLink alarm"),
        (140, "an unrecovered memory error"),
        (143, "it could not be initialised"),
        (154, "the driver asks for a recovery"),
    ],
)
def test_what_an_xid_means_is_told(code: int, meaning: str) -> None:
    findings = found(log(f"NVRM: Xid (PCI:0000:17:00): {code}, pid=1, x"))
    assert len(findings) == 1
    assert meaning in said(next(iter(findings.values())))


@pytest.mark.parametrize("code", [13, 31, 43, 45, 1])
def test_what_programs_do_wrong_is_no_finding(code: int) -> None:
    assert found(log(f"NVRM: Xid (PCI:0000:17:00): {code}, pid=1, x")) == {}


@pytest.mark.parametrize(
    ("text", "confidence"), [("Fatal, Link 1", "certain"), ("Non-fatal, Link 1", "likely")]
)
def test_a_switchs_fault_is_certain_when_it_is_fatal(text: str, confidence: str) -> None:
    line = f"nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 24007, {text}"
    (finding,) = found(log(line)).values()
    assert (finding["seen"], finding["confidence"]) == ([line], confidence)


def test_of_many_lines_the_last_are_shown() -> None:
    lines = [f"nvidia-nvswitch3: SXid (PCI:0000:05:00.0): {n}, Non-fatal" for n in range(1, 6)]
    fatal = lines[0].replace("Non-fatal", "Fatal")
    assert found(log(*lines))["DOCTOR-SXID"]["seen"] == lines[-3:]
    assert found(log(fatal, *lines))["DOCTOR-SXID"]["seen"] == [fatal]


# --- the machine --------------------------------------------------------------------------------


@pytest.mark.parametrize(("behind", "held"), [(300, False), (301, True), (0, False), (-1e9, False)])
def test_a_clock_may_be_five_minutes_behind(behind: float, held: bool) -> None:
    passed = {"path": "/var/lib/dpkg/status", "time": 2_000_000_000.0}
    findings = found(
        at("signs.clock.surely_passed", passed), at("signs.clock.now", 2_000_000_000.0 - behind)
    )
    assert ("DOCTOR-CLOCK" in findings) is held


@pytest.mark.parametrize(("apart", "held"), [(300, False), (301, True), (-301, True)])
def test_a_clock_may_be_five_minutes_from_the_controllers(apart: float, held: bool) -> None:
    now = pickle.loads(_healthy())["signs"]["clock"]["now"]
    findings = found(at("signs.clock.controller_now", now + apart))
    assert ("DOCTOR-CLOCK" in findings) is held


def test_that_nothing_keeps_the_clock_is_told_with_it() -> None:
    wrong = at("signs.clock.controller_now", 1.0)
    kept = at("signs.clock.synchronised", True)
    alone = at("signs.clock.synchronised", False)
    note = "nothing keeps the clock right"
    assert note not in found(wrong, kept)["DOCTOR-CLOCK"]["seen"]
    assert note in found(wrong, alone)["DOCTOR-CLOCK"]["seen"]


@pytest.mark.parametrize(
    ("width", "gpu", "slot", "held"),
    [
        (8, 16, 16, True),
        (15, 16, 16, True),
        (16, 16, 16, False),
        (8, 16, 8, False),
        (8, 8, 16, False),
        (0, 16, 16, False),
        (1, 16, 16, True),
        (None, 16, 16, False),
    ],
)
def test_lanes_are_missing_where_gpu_and_slot_have_more(
    width: int | None, gpu: int, slot: int, held: bool
) -> None:
    def change(document: Document) -> None:
        lanes = {"width": width, "width_of_gpu": gpu, "width_of_slot": slot}
        document["signs"]["device"]["gpus"][0].update(lanes)

    assert bool(found(change)) is held


# --- containers ---------------------------------------------------------------------------------

MISSING = at("signs.nodes.missing_char_links", [f"/dev/char/195:{n}" for n in range(5)])
RUNTIME = at("signs.containers.docker.runtimes", ["nvidia"])


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ([], True),
        ([at("signs.nodes.missing_char_links", [])], False),
        ([at("signs.containers.docker.runtimes", ["runc"])], False),
        ([at("signs.containers.docker.exec_opts", ["native.cgroupdriver=cgroupfs"])], False),
        ([at("signs.containers.docker.exec_opts", ["native.cgroupdriver=systemd"])], True),
        ([at("signs.containers.toolkit_settings", {"mode": "cdi"})], False),
        ([at("signs.containers.toolkit_settings", {"mode": "legacy"})], True),
        ([at("signs.containers.docker.cdi", True)], False),
        ([at("signs.containers.docker.cdi", False)], True),
    ],
)
def test_when_containers_lose_their_gpus_by_a_reload(changes: list[Any], held: bool) -> None:
    findings = found(MISSING, RUNTIME, *changes)
    assert ("DOCTOR-DAEMON-RELOAD" in findings) is held
    if held:
        seen = findings["DOCTOR-DAEMON-RELOAD"]["seen"]
        assert seen[:3] == [f"no /dev/char/195:{n}" for n in range(3)]
        assert len(seen) == 4


# --- upkeep, environment, packages --------------------------------------------------------------


def test_persistence_is_kept_by_the_daemon_its_file_or_a_display() -> None:
    off = at("signs.processes.running", {"dockerd": 5})
    assert "DOCTOR-PERSISTENCE" in found(off)
    assert found() == {}
    for kept in (
        at("signs.device.persistence_pid_file", True),
        at("signs.device.gpus.0.model", "NVIDIA GeForce RTX 4090"),
    ):
        assert "DOCTOR-PERSISTENCE" not in found(off, kept)
    display = at("signs.modules.loaded", ["nvidia", "nvidia_uvm", "nvidia_drm"])
    used = at("state.gpu_processes", [{"pid": 5}])
    assert "DOCTOR-PERSISTENCE" in found(off, display, at("state.gpu_processes", []))
    assert "DOCTOR-PERSISTENCE" not in found(off, display, used)


@pytest.mark.parametrize(
    "name",
    [
        *("CUDA_INJECTION64_PATH", "CUDA_INJECTION32_PATH", "NSIGHT_CUDA_DEBUGGER"),
        *("CUDA_DEVICE_WAITS_ON_EXCEPTION", "CUDA_ENABLE_COREDUMP_ON_EXCEPTION"),
        *("CUDA_PROFILE", "CUDA_LAUNCH_BLOCKING"),
    ],
)
def test_each_setting_that_changes_every_program_is_named(name: str) -> None:
    (finding,) = found(at(f"signs.environment.{name}", "1")).values()
    assert name in said(finding)


@pytest.mark.parametrize(
    ("system", "version", "folder", "held"),
    [
        ("ubuntu", "24.04", "ubuntu2204", True),
        ("ubuntu", "24.04", "ubuntu2404", False),
        ("debian", "13", "debian12", True),
        ("debian", "13", "debian13", False),
        ("fedora", "42", "fedora41", False),
        ("debian", "trixie/sid", "debian12", False),
    ],
)
def test_a_source_of_another_release_is_told(
    system: str, version: str, folder: str, held: bool
) -> None:
    def change(document: Document) -> None:
        document["state"]["os"].update(id=system, version_id=version)
        for source in document["state"]["apt_sources"]:
            source["uris"] = [f"https://a.invalid/compute/cuda/repos/{folder}/x86_64/"]

    assert ("DOCTOR-APT-STALE" in found(change)) is held


def test_mig_tells_how_many_gpus_are_whole() -> None:
    cut = at("signs.device.mig_instances", {"GPU 0": 2})
    assert found(cut)["DOCTOR-MIG"]["seen"] == ["GPU 0: 2 instances"]

    def two(document: Document) -> None:
        document["state"]["gpus"] *= 2

    assert found(two, cut)["DOCTOR-MIG"]["seen"] == ["GPU 0: 2 instances", "1 GPUs are whole"]
    assert "DOCTOR-MIG" not in found(cut, at("state.owners", ["gpu-operator"]))


@pytest.mark.parametrize(
    ("required", "named", "held"),
    [
        (True, ["linux-image-6.8.0-40-generic"], True),
        (True, ["nvidia-dkms-580"], True),
        (True, ["dbus"], False),
        (False, ["linux-base"], False),
        (True, [], False),
    ],
)
def test_a_reboot_is_told_where_it_is_the_drivers_or_the_kernels(
    required: bool, named: list[str], held: bool
) -> None:
    findings = found(at("state.reboot_required", required), at("signs.boot.reboot_for", named))
    assert ("DOCTOR-REBOOT" in findings) is held


@pytest.mark.parametrize(
    ("loaded", "version", "held"),
    [
        ("580.95.05", "13.0", False),
        ("579.1", "13.0", True),
        ("525.1", "12.9", False),
        ("524.1", "12.9", True),
        ("450.1", "11.8", False),
        ("449.1", "11.8", True),
        ("300.1", "10.2", False),
    ],
)
def test_each_cuda_needs_a_driver_of_its_branch(loaded: str, version: str, held: bool) -> None:
    def change(document: Document) -> None:
        document["state"]["module"]["loaded"] = loaded
        for home in document["state"]["vendor_files"]["toolkits"]:
            home["version"] = version
        for one in document["signs"]["loader"]["driver_files"]:
            one["version"] = loaded
        document["state"]["packages"] = {}

    assert ("DOCTOR-DRIVER-TOO-OLD" in found(change)) is held


# --- what is not a rule -------------------------------------------------------------------------


def test_what_the_probe_could_not_read_is_passed_on() -> None:
    unread = [{"what": "kernel log", "needs": "root", "why": "it may not be read"}]
    document = pickle.loads(_healthy())
    document["signs"]["unread"] = unread
    assert diagnose(document)["unread"] == unread


def test_a_code_is_explained_whole() -> None:
    told = explain("doctor-mig")
    assert told is not None
    assert told["code"] == "DOCTOR-MIG"
    assert (told["severity"], told["needs"], told["explains"]) == ("risk", "nothing", [])
    assert told["cause"] == "some GPUs are still cut into MIG instances"
    assert told["explanation"].startswith("MIG outlives the job that made it.")


def test_a_consequence_is_told_by_three_of_what_was_seen() -> None:
    def change(document: Document) -> None:
        document["signs"]["loader"]["driver_files"] = [
            {"path": f"{LIB}/libcuda.so.570.1", "version": "570.1"}
        ]
        document["state"]["module"]["loaded"] = DRIVER
        for leg in document["legs"]:
            for one in leg["measurements"]:
                if one["check"] == "health.nvml":
                    one["values"]["init_code"] = 18

    for finding in found(change).values():
        assert all(len(one["seen"]) <= 3 for one in finding["explains"])
