"""doctor names the cause, first, and says nothing of a healthy machine."""

from __future__ import annotations

import contextlib
import copy
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from cudactl.certify.doctor import make_diagnosis
from cudactl.contracts.errors import UnreachableError
from cudactl.judge import JudgeError
from cudactl.judge.doctor import diagnose, exit_code, explain
from cudactl.judge.doctor.layers import FINDINGS
from cudactl.probe.examination import examination
from cudactl.probe.files import Root
from tests.judge.doctor.machines import CUDA, DRIVER, LIB, Link, Tree, examine, healthy, write
from tests.judge.doctor.reds import (
    RED,
    Change,
    Red,
    drop,
    history,
    installed,
    on_log,
    put,
    reading,
    second_toolkit,
    shadow,
    together,
)
from tests.judge.doctor.said import FILE, REDS, examined, said

CODES = [one.code for one in FINDINGS]


def test_a_healthy_machine_has_nothing_said_of_it(tmp_path: Path) -> None:
    found = diagnose(examine(healthy(), tmp_path))
    assert found["findings"] == []
    assert found["verdict"] == "ok"
    assert found["unread"] == []
    assert exit_code(found, strict=True) == 0
    assert "driver 580.95.05 loaded" in found["looked_at"]


def test_a_machine_without_a_gpu_has_nothing_said_of_it(tmp_path: Path) -> None:
    tree = {"/etc/os-release": 'ID=debian\nVERSION_ID="12"\n', "/dev/kmsg": ""}
    found = diagnose(examine(tree, tmp_path))
    assert found["findings"] == []
    assert "0 NVIDIA GPUs on the PCI bus, no NVIDIA driver" in found["looked_at"]


def unused_toolkit(tree: Tree) -> None:
    environment = tree["/environ"]
    second_toolkit(tree)
    tree["/environ"] = environment


def virtual_function(tree: Tree) -> None:
    folder = "/sys/bus/pci/devices/0000:17:00.4"
    tree |= {
        f"{folder}/vendor": "0x10de\n",
        f"{folder}/class": "0x030200\n",
        f"{folder}/device": "0x2335\n",
        f"{folder}/physfn": Link("../0000:17:00.0"),
    }


def _unattended_of(name: str, new: str) -> Change:
    old = "/usr/bin/unattended-upgrade"
    return together(history(old, name, "1.0", new), installed({name: new}))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (
            "unattended-upgrades changed something else of NVIDIA's",
            _unattended_of("nvidia-container-toolkit", "1.18.0-1"),
        ),
        (
            "modules' packages have the kernel's version",
            _unattended_of("linux-modules-nvidia-580-6.8.0-31-generic", "6.8.0-31.31+1"),
        ),
        (
            "unattended-upgrades changed the driver, and the machine was rebooted",
            history("/usr/bin/unattended-upgrade", "libnvidia-compute-580", "1", f"{DRIVER}-1"),
        ),
        (
            "forward compatibility that is newer than the driver",
            together(
                shadow(f"{CUDA}/compat", "libcuda.so.590.44.01"),
                put(f"{CUDA}/compat/libcuda.so.1", Link("libcuda.so.590.44.01")),
            ),
        ),
        (
            "a recovery that was taken back",
            on_log(
                "NVRM: Xid (PCI:0000:17:00): 154, GPU recovery action changed from 0x1 (GPU "
                "Reset Required) to 0x0 (None)"
            ),
        ),
        ("an application's fault", on_log("NVRM: Xid (PCI:0000:17:00): 31, pid=7, MMU Fault")),
        ("a power cap under load", reading(reasons=0x4)),
        ("a second toolkit that nobody uses", unused_toolkit),
        ("a virtual function of a shared GPU", virtual_function),
        (
            "the GPU operator's driver container",
            together(
                drop(f"{LIB}/libcuda.", f"{LIB}/libnvidia-ml.", "/etc/cdi"),
                put("/run/nvidia/driver/x", ""),
            ),
        ),
        ("Debian testing has no version", put("/etc/os-release", "ID=debian\n")),
        (
            "another kernel that is older",
            put("/lib/modules/6.8.0-20-generic/kernel/x", ""),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_well_raises_no_alarm(name: str, change: Change, tmp_path: Path) -> None:
    tree = healthy()
    change(tree)
    assert diagnose(examine(tree, tmp_path))["findings"] == []


def test_files_that_the_first_program_makes_are_no_fault(tmp_path: Path) -> None:
    """Freshly booted, /dev/nvidia-uvm is made by nvidia-modprobe when CUDA first starts."""
    tree = healthy()
    drop("/dev/nvidia-uvm")(tree)
    tree["/usr/bin/nvidia-modprobe"] = "x"
    before = examine(tree, tmp_path / "plain")
    assert diagnose(before)["findings"][0]["code"] == "DOCTOR-UVM-NODE"
    write(tree, tmp_path / "setuid")
    (tmp_path / "setuid/usr/bin/nvidia-modprobe").chmod(0o4755)
    assert diagnose(examination(Root(str(tmp_path / "setuid"))))["findings"] == []


@pytest.mark.parametrize("red", RED, ids=str)
def test_the_cause_is_the_first_thing_said(red: Red) -> None:
    found = diagnose(examined(red))
    codes = [one["code"] for one in found["findings"]]
    assert codes[:1] == [red.code], found["findings"]
    assert not [one for one in found["unread"] if "cannot be read" in one["why"]]
    first = found["findings"][0]
    assert red.says in " | ".join(first["seen"])
    assert first["severity"] == red.severity
    assert set(codes[1:]) <= set(red.also), codes
    assert {one["code"] for one in first["explains"]} >= set(red.explains)
    assert exit_code(found) == (3 if red.severity == "broken" else 0)
    assert exit_code(found, strict=True) == (3 if red.severity == "broken" else 5)


@pytest.mark.parametrize("code", CODES)
def test_every_finding_has_a_red_fixture(code: str) -> None:
    assert any(red.code == code for red in RED)


def there(document: dict[str, Any], place: str) -> bool:
    """Return whether an examination has a place, such as signs.device.gpus or health.nvml."""
    legs = document["legs"]
    measured = {m["check"] for leg in legs for m in leg.get("measurements") or []}
    if place in measured | {leg["leg"] for leg in legs}:
        return True
    node: Any = document
    for key in place.split("."):
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return True


@pytest.mark.parametrize("red", RED, ids=str)
def test_what_is_said_is_fit_to_be_read_and_done(red: Red) -> None:
    document = examined(red)
    for one in diagnose(document)["findings"]:
        assert [place for place in one["where"] if not there(document, place)] == []
        for key in ("seen", "where", "remedy"):
            assert one[key]
            assert all(one[key])
        assert one["confidence"] in ("certain", "likely", "possible")
        text = " ".join(one["seen"] + one["remedy"])
        assert not re.search(r"None|%[sd]", text), text


def test_what_is_said_of_every_fault_is_what_was_reviewed() -> None:
    """A rule or a sentence that changes shows in said.txt; said.py writes it again."""
    texts = [said(red) for red in REDS]
    reviewed = FILE.read_text().split("=== ")[1:]
    assert [text.removeprefix("=== ") for text in texts] == reviewed


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_explained(code: str) -> None:
    told = explain(code.lower())
    assert told is not None
    assert re.match(r"^DOCTOR-[A-Z-]+$", code)
    assert len(told["explanation"]) > 60
    assert len(told["cause"]) <= 110
    assert not told["cause"].endswith(".")


def test_an_unknown_code_is_not_explained() -> None:
    assert explain("DOCTOR-NO-SUCH") is None


def test_findings_explain_only_findings_and_never_in_a_circle() -> None:
    after = {one.code: set(one.explains) for one in FINDINGS}
    assert {code for codes in after.values() for code in codes} <= set(after)

    def reaches(code: str, seen: frozenset[str]) -> None:
        assert code not in seen, f"{code} explains itself by way of {sorted(seen)}"
        for follower in after[code]:
            reaches(follower, seen | {code})

    for code in after:
        reaches(code, frozenset())


def test_signs_that_cannot_be_read_do_not_hide_the_others(tmp_path: Path) -> None:
    document = examine(healthy(), tmp_path)
    document["signs"]["loader"] = {"found": "rubbish"}
    document["signs"]["log"]["lines"] = ["NVRM: Xid (PCI:0000:17:00): 79, GPU has fallen off"]
    found = diagnose(document)
    assert found["findings"][0]["code"] == "DOCTOR-GPU-OFF-BUS"
    assert any("cannot be read" in one["why"] for one in found["unread"])


@pytest.mark.parametrize(
    "part",
    sorted(
        (
            "boot",
            "modules",
            "device",
            "nodes",
            "log",
            "loader",
            "packaging",
            "processes",
            "clock",
            "containers",
        )
    ),
)
def test_a_corner_that_was_not_read_is_no_finding(part: str, tmp_path: Path) -> None:
    document = examine(healthy(), tmp_path)
    document["signs"][part] = None
    assert diagnose(document)["findings"] == []


@pytest.mark.parametrize("wrong", [{}, {"schema_version": 2}, {"schema_version": 1}, [], None])
def test_what_is_no_examination_is_refused(wrong: Any) -> None:
    with pytest.raises(JudgeError):
        diagnose(wrong)


HOSTILE: tuple[Any, ...] = (None, [], {}, "", "x" * 5000, -1, 1e308, True, [None], [[]], {"a": {}})


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a document down to the sixth level, lists by their first entries."""
    found = [path] if path else []
    inside: Any = ()
    if isinstance(node, dict):
        inside = node.items()
    elif isinstance(node, list):
        inside = enumerate(node[:2])
    for key, value in inside if len(path) < 6 else ():
        found += _places(value, (*path, key))
    return found


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:12])
def test_hostile_examinations_are_diagnosed_or_refused(value: Any, tmp_path: Path) -> None:
    document = examine(RED[0].base(), tmp_path / "wsl")
    for whole in (document, examine(healthy(), tmp_path / "host")):
        kept = pickle.dumps(whole)
        for *parents, last in _places({k: whole[k] for k in ("state", "signs", "legs")}):
            copied = pickle.loads(kept)
            node: Any = copied
            for key in parents:
                node = node[key]
            node[last] = value
            with contextlib.suppress(UnreachableError):  # DOCTOR-UNREADABLE
                make_diagnosis(copied, "h1")


def test_a_diagnosis_changes_nothing_of_its_evidence(tmp_path: Path) -> None:
    document = examine(healthy(), tmp_path)
    before = copy.deepcopy(document)
    diagnose(document)
    assert document == before
