"""Health of the machine: NVML, every GPU's few counters, the log, services and stale processes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.judge.healthy import DRIVER, GPU, value
from tests.judge.verdicts import Document, said

NVML, GPUS, SERVICES = "health.nvml", "health.gpus", "health.services"
STALE, XIDS, LOG = "health.stale", "health.xids", "health.driver_log"
DECLARED = {"without_gpu": "none was promised"}


def no_gpu(evidence: Document) -> None:
    evidence["state"]["gpus"] = []


# --- NVML ---------------------------------------------------------------------------------------


def test_nvml_says_whose_it_is_and_how_many_gpus_it_sees() -> None:
    assert said(NVML) == ("PASS", f"{DRIVER}, 1 GPUs", DRIVER, "NVML answers")
    assert said(NVML, driver_version="570.1") == (
        "FAIL",
        "570.1",
        DRIVER,
        "NVML answers for another driver; reboot?",
    )
    assert said(NVML, gpu_count=0) == (
        "FAIL",
        "0 of 1 GPUs",
        DRIVER,
        "a GPU is on the bus that the driver does not see",
    )
    assert said(NVML, gpu_count=2).status == "PASS"
    assert said(NVML, count_code=999).reason == "nvmlDeviceGetCount answers 999"
    assert said(NVML, path="/opt/libnvidia-ml.so.1")[:3] == ("FAIL", "", DRIVER)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (9, ": no driver is loaded"),
        (15, ": the GPU is lost: it fell off the bus, or its driver gave it up; restart the "),
        (16, ": the GPU needs a reset before it can be used"),
        (18, ": the driver's library and module are of different versions; reboot"),
        (999, ""),
    ],
)
def test_why_nvml_does_not_start(code: int, why: str) -> None:
    found = said(NVML, init_code=code, init_text="as NVML says")
    assert found[:3] == ("FAIL", f"as NVML says ({code})", DRIVER)
    assert found.reason.startswith("NVML does not start" + why)
    assert why or found.reason == "NVML does not start"


def test_no_driver_is_excused_only_without_a_gpu() -> None:
    def status(code: int, change: Any, expect: Document) -> str:
        return said(NVML, init_code=code, change=change, expect=expect).status

    assert status(9, no_gpu, DECLARED) == "SKIP"
    assert status(9, None, DECLARED) == "FAIL"
    assert status(9, no_gpu, {"without_gpu": None}) == "FAIL"
    assert status(999, no_gpu, DECLARED) == "FAIL"


# --- counters of all GPUs -----------------------------------------------------------------------


def counted(expect: bool = True, **values: object) -> tuple[str, str, str, str]:
    change = lambda e: value(e, GPUS)["gpus"][0].update(values)  # noqa: E731
    return said(GPUS, change=change, expect={"counters": expect})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"recovery_action": 1}, "the driver asks for a reset of the GPU"),
        ({"recovery_action": 99}, "the driver asks for some action"),
        ({"uncorrected": 3}, "3 errors that ECC could not correct"),
        ({"remap_failure": 1}, "a row of its memory could not be replaced"),
        ({"remap_pending": 1}, "a repair of its memory waits for a reset"),
        ({"retired_pending": 1}, "a repair of its memory waits for a reset"),
        ({"codes": {"a": 3, "b": 16}}, "the GPU needs a reset before it can be used"),
    ],
)
def test_where_nothing_else_looks_at_each_gpu_its_counters_are_judged(
    values: Document, reason: str
) -> None:
    assert counted(**values) == ("FAIL", "1 GPUs", "all well", f"GPU {GPU['id']}: {reason}")
    assert counted(expect=False, **values)[0] == "PASS"


def test_a_gpu_that_does_not_answer_is_named_whatever_else_is_asked() -> None:
    found = counted(expect=False, handle_code=7)
    assert found[3] == f"GPU {GPU['id']}: NVML does not hand it out (7)"
    assert counted(handle_code=15, uuid=None, index=3)[3].startswith("GPU number 3: the GPU is")
    assert counted(codes=None)[0] == "PASS"


def test_a_bad_gpu_behind_a_good_one_is_found() -> None:
    def change(evidence: Document) -> None:
        gpus = value(evidence, GPUS)["gpus"]
        gpus.append({**gpus[0], "uuid": "GPU-2", "handle_code": 6})

    assert said(GPUS, change=change)[1::2] == ("2 GPUs", "GPU GPU-2: NVML does not hand it out (6)")


def test_no_gpu_is_a_fault_unless_none_was_promised() -> None:
    assert said(GPUS, gpus=[]) == ("FAIL", "none", "every GPU", "NVML sees no GPU")
    assert said(GPUS, gpus=[], expect=DECLARED).status == "FAIL"
    assert said(GPUS, gpus=[], change=no_gpu).status == "FAIL"
    assert said(GPUS, gpus=[], change=no_gpu, expect=DECLARED) == (
        "SKIP",
        "none",
        "",
        "none was promised",
    )


# --- services -----------------------------------------------------------------------------------


def services(
    packages: Document | None = None, manager: Document | None = None, **values: object
) -> tuple[str, str, str, str]:
    def change(evidence: Document) -> None:
        held = evidence["state"]["packages"]
        if packages is not None:
            held.pop("nvidia-fabricmanager-580")
            held.update(packages)
        value(evidence, SERVICES)["fabric_manager"].update(manager or {})
        value(evidence, SERVICES).update(values)

    return said(SERVICES, change=change)


def test_the_fabric_manager_is_of_the_drivers_version() -> None:
    assert services() == ("PASS", f"4 NVSwitches, fabric manager {DRIVER}", DRIVER, "it runs")
    for name, version, found in (
        ("nvidia-fabricmanager-570", "570.1-1", "570.1"),
        ("nvidia-fabricmanager", "1:570.1-0ubuntu1", "570.1"),
    ):
        assert services({name: version}) == (
            "FAIL",
            f"fabric manager {found}",
            DRIVER,
            "the fabric manager is not of the loaded driver's version",
        )
    assert services({"nvidia-fabricmanager-dev-580": "1"}) == (
        "WARN",
        "4 NVSwitches",
        "running",
        "the fabric manager runs, and no package of it is known",
    )


def test_a_fabric_manager_that_is_off_is_told_with_what_to_do() -> None:
    off = {"running": False}
    assert services(manager=off) == (
        "FAIL",
        "4 NVSwitches, not running",
        "running",
        "the fabric manager is off: systemctl enable --now nvidia-fabricmanager",
    )
    assert services(manager={**off, "unit": False})[3] == "the fabric manager is off: install it"
    assert services(manager=off, init="init")[0] == "FAIL"
    # From inside a container the host's services are not to be seen.
    assert services(manager=off, init="bash")[:2] == ("NO_REFERENCE", "4 NVSwitches")
    assert services(manager=off, init=None)[0] == "NO_REFERENCE"
    assert services(init="bash")[0] == "PASS"
    assert services(manager=off, nvswitches=0) == (
        "PASS",
        "no NVSwitch",
        "",
        "no fabric manager is needed",
    )


# --- stale processes ----------------------------------------------------------------------------


def test_processes_on_replaced_libraries_are_named() -> None:
    holders = [{"name": f"p{pid}", "pid": pid} for pid in range(1, 8)]
    assert said(STALE, holders=holders) == (
        "FAIL",
        "7 processes",
        "none",
        "p1 (1), p2 (2), p3 (3), p4 (4), p5 (5) still run on libraries that were replaced: "
        "restart them",
    )
    assert said(STALE) == (
        "PASS",
        "none of 300",
        "none",
        "all processes run on what is installed",
    )


@pytest.mark.parametrize(
    ("euid", "unseen", "status"), [(0, 5, "PASS"), (1000, 5, "WARN"), (1000, 0, "PASS")]
)
def test_only_root_has_seen_every_process(euid: int, unseen: int, status: str) -> None:
    def change(evidence: Document) -> None:
        evidence["state"]["euid"] = euid

    found = said(STALE, change=change, unseen=unseen)
    assert found[:3] == (status, "none of 300", "none")
    if status == "WARN":
        assert found.reason.startswith("5 processes of other users could not be looked at")


# --- the kernel's log ---------------------------------------------------------------------------


def xid(code: int, **values: object) -> Document:
    return {"code": code, "address": "0000:17:00", "count": 1, **values}


CATALOGUE = {
    "79": ["gpu", "RESTART_BM", "fell off the bus"],
    "13": ["application", "", "graphics engine exception"],
    "63": ["none", "", "row remapping"],
    "94": ["", "RESTART_APP", "contained"],
}


def logged(*xids: Document, **expect: object) -> tuple[str, str, str, str]:
    return said(XIDS, xids=list(xids), expect={"xids": CATALOGUE, **expect})


@pytest.mark.parametrize(
    ("code", "status", "measured", "reason"),
    [
        (79, "FAIL", "XID 79 (fell off the bus) on 0000:17:00, NVIDIA: RESTART_BM", None),
        (94, "WARN", "XID 94 (contained) on 0000:17:00, NVIDIA: RESTART_APP", None),
        (999, "WARN", "XID 999 (not in the catalogue) on 0000:17:00", None),
        (
            13,
            "PASS",
            "1 noted",
            "applications' own: XID 13 (graphics engine exception) on 0000:17:00",
        ),
        (63, "PASS", "1 noted", "applications' own: XID 63 (row remapping) on 0000:17:00"),
    ],
)
def test_an_xid_is_weighed_by_the_catalogue(
    code: int, status: str, measured: str, reason: str | None
) -> None:
    assert logged(xid(code)) == (status, measured, "none", reason or measured)


def test_a_site_weighs_or_ignores_xids_itself() -> None:
    assert logged(xid(79), ignore=[79])[0] == "PASS"
    assert logged(xid(79), ignore=["79"])[0] == "PASS"
    assert logged(xid(79), ignore=[7])[0] == "FAIL"
    assert logged(xid(13), severity={"13": "gpu"})[0] == "FAIL"
    assert logged(xid(79), xids=None)[0] == "WARN"


def test_repetitions_are_counted() -> None:
    name = "XID 13 (graphics engine exception) on 0000:17:00"
    assert logged(xid(13, count=2))[3] == f"applications' own: {name} 2 times"
    assert logged(xid(13, count=1))[3] == f"applications' own: {name}"


def test_the_worst_comes_first_and_many_are_cut_short() -> None:
    found = logged(xid(94), xid(79))
    assert found[0] == "FAIL"
    assert found[1].startswith("XID 79")
    assert logged(*[xid(79)] * 4)[3].count("XID 79") == 4
    assert "more" not in logged(*[xid(79)] * 4)[3]
    assert logged(*[xid(79)] * 6)[3].endswith("; 2 more")


def test_errors_of_switches_are_told() -> None:
    sxid = {"code": 24007, "address": "0000:05:00.0", "text": "Fatal, Link 1", "fatal": True}
    text = "SXID 24007 on switch 0000:05:00.0 (Fatal, Link 1)"
    assert said(XIDS, sxids=[sxid]) == ("FAIL", text, "none", text)
    assert said(XIDS, sxids=[{**sxid, "fatal": False}])[:2] == ("WARN", text)


def test_a_log_that_is_not_whole_says_so() -> None:
    assert said(XIDS, complete=False) == (
        "WARN",
        "nothing in the rest",
        "the whole boot",
        "the log's beginning is already overwritten; what it held is not known",
    )
    assert said(XIDS, complete=False, expect={"whole": False}).status == "PASS"
    assert said(XIDS)[1:] == ("0 noted", "none", "nothing since the machine started")


@pytest.mark.parametrize(
    ("sign", "reason"),
    [
        ("api_mismatch", "the driver's library and module are of different versions; reboot"),
        ("init_failed", "the driver could not initialise a GPU"),
        (
            "needs_open_modules",
            "a GPU needs the open kernel modules, and the proprietary are loaded",
        ),
    ],
)
def test_each_complaint_of_the_driver_is_explained(sign: str, reason: str) -> None:
    assert said(LOG, signs={sign: "NVRM: …"}) == ("FAIL", sign, "none", f"{reason}: NVRM: …")
    assert said(LOG, signs={"other": "x"}).status == "PASS"


@pytest.mark.parametrize("check", [XIDS, LOG])
def test_a_log_that_may_not_be_read_is_an_error(check: str) -> None:
    found = said(check, readable=False, tried=["/dev/kmsg: denied", "journalctl: denied"])
    assert found == (
        "ERROR",
        "",
        "",
        "the kernel's log may not be read (/dev/kmsg: denied; journalctl: denied): run as root, "
        "outside of a container",
    )
    assert "(): run as root" in said(check, readable=False, tried=None).reason


@pytest.mark.parametrize("check", [XIDS, LOG, SERVICES, STALE])
def test_without_a_gpu_it_is_skipped_only_where_the_lock_says_so(check: str) -> None:
    assert said(check, change=no_gpu, expect=DECLARED) == ("SKIP", "", "", "none was promised")
    assert said(check, expect=DECLARED).status == "PASS"
    assert said(check, change=no_gpu).status == "PASS"
