"""What the verdicts on the driver as it is installed say, and where they change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.judge.healthy import DRIVER, SYSTEM, value
from tests.judge.verdicts import Document, said

LIBCUDA, MODULE, AGREE = "driver.libcuda", "driver.module", "driver.agreement"
NODES, ROOTS, NEXT = "driver.nodes", "driver.roots", "driver.next_kernel"
NOUVEAU, SECURE = "driver.nouveau", "driver.secure_boot"
OTHER = "570.1"


def no_gpu(evidence: Document) -> None:
    evidence["state"]["gpus"] = []


def alike(check: str, **values: Any) -> str:
    return said(check, **values).status


# --- libcuda and the module ---------------------------------------------------------------------


def test_libcuda_says_its_driver_and_its_cuda() -> None:
    path = f"{SYSTEM}/libcuda.so.{DRIVER}"
    assert said(LIBCUDA) == ("PASS", f"{DRIVER}, CUDA 13.0", DRIVER, f"loaded from {path}")
    other = f"{SYSTEM}/libcuda.so.{OTHER}"
    assert said(LIBCUDA, path=other) == (
        "FAIL",
        OTHER,
        DRIVER,
        f"{other} is another driver's",
    )
    elsewhere = f"/opt/libcuda.so.{DRIVER}"
    assert said(LIBCUDA, path=elsewhere)[1:3] == (DRIVER, DRIVER)
    assert said(LIBCUDA, get_version_code=3).reason == "cuDriverGetVersion answers 3"


def test_a_driver_brings_the_locks_cuda_or_a_newer_one() -> None:
    expect = {"cuda_number": 13010}
    assert alike(LIBCUDA, expect=expect, cuda_version=13010) == "PASS"
    assert alike(LIBCUDA, expect=expect, cuda_version=13020) == "PASS"
    assert said(LIBCUDA, expect=expect, cuda_version=13000) == (
        "FAIL",
        f"{DRIVER}, CUDA 13.0",
        "CUDA 13.1 or newer",
        "the driver is too old for the lock's toolkit",
    )
    assert alike(LIBCUDA, expect={"cuda_number": None}, cuda_version=0) == "PASS"


@pytest.mark.parametrize(
    ("code", "there", "status", "says"),
    [
        (0, True, "PASS", "loaded from"),
        (34, True, "FAIL", "it is a stub library"),
        (34, False, "FAIL", "it is a stub library"),
        (803, False, "FAIL", "library and kernel module are of different drivers"),
        (804, False, "FAIL", "forward compatibility is not possible here"),
        (100, True, "FAIL", "the driver does not start, and a GPU is there"),
        (100, False, "PASS", "loaded from"),
        (999, False, "WARN", "the driver does not start; no GPU is there that would tell why"),
        (1, False, "WARN", "the driver does not start; no GPU"),
    ],
)
def test_how_the_driver_starts(code: int, there: bool, status: str, says: str) -> None:
    found = said(LIBCUDA, init_code=code, change=None if there else no_gpu)
    assert found.status == status
    assert found.reason.startswith(says)
    if status != "PASS":
        assert found[1:3] == (f"cuInit {code}", DRIVER)


def test_the_loaded_module_is_the_locks() -> None:
    assert said(MODULE) == ("PASS", f"{DRIVER} open", DRIVER, "loaded")
    assert said(MODULE, nouveau=True)[1:] == (
        "nouveau",
        DRIVER,
        "nouveau is loaded; blacklist it and reboot",
    )
    assert said(MODULE, loaded=OTHER)[1:3] == (OTHER, DRIVER)
    assert said(MODULE, flavour="proprietary")[1:3] == ("proprietary", "open")
    assert alike(MODULE, flavour=None, expect={"flavour": None}) == "PASS"
    assert said(MODULE, device_nodes=["/dev/nvidia0"])[1] == "no /dev/nvidiactl"
    assert alike(MODULE, device_nodes="/dev/nvidiactl") == "ERROR"


def test_no_module_is_skipped_only_where_no_gpu_is_and_the_lock_says_so() -> None:
    declared = {"without_gpu": "the lock names no GPU"}
    assert said(MODULE, loaded=None, change=no_gpu, expect=declared) == (
        "SKIP",
        "not loaded",
        DRIVER,
        "the lock names no GPU",
    )
    for change, expect in ((None, declared), (no_gpu, {"without_gpu": None})):
        assert said(MODULE, loaded=None, change=change, expect=expect) == (
            "FAIL",
            "not loaded",
            DRIVER,
            "no NVIDIA kernel module is loaded; reboot?",
        )


# --- agreement ----------------------------------------------------------------------------------


def test_all_parts_of_a_driver_are_one_version() -> None:
    values = {"loaded": DRIVER, "libcuda": DRIVER, "on_disk": [], "nvml": None, "firmware": None}
    assert said(AGREE, **values) == (
        "PASS",
        f"module {DRIVER}, libcuda {DRIVER}",
        DRIVER,
        "all of one version",
    )
    found = said(AGREE, **{**values, "on_disk": [OTHER, DRIVER]})
    assert found[:2] == (
        "PASS",
        f"module {DRIVER}, libcuda {DRIVER}, on disk {OTHER}, on disk {DRIVER}",
    )


@pytest.mark.parametrize(
    ("values", "measured", "reason"),
    [
        (
            {"libcuda": OTHER, "on_disk": [DRIVER]},
            f"module {DRIVER}, libcuda {OTHER}, on disk {DRIVER}",
            "the libraries are of another driver than the loaded module",
        ),
        (
            {"libcuda": OTHER, "on_disk": [OTHER]},
            f"module {DRIVER}, libcuda {OTHER}, on disk {OTHER}",
            "the libraries are of another driver than the loaded module; their module lies on "
            "disk: reboot",
        ),
        (
            {"nvml": OTHER, "on_disk": []},
            f"module {DRIVER}, libcuda {DRIVER}, NVML {OTHER}",
            "NVML is of another driver",
        ),
        (
            {"on_disk": [OTHER]},
            f"module {DRIVER}, libcuda {DRIVER}, on disk {OTHER}",
            "the module on disk is another driver's, and the next load brings it: reboot",
        ),
        (
            {"on_disk": [], "flavour": "open", "firmware": [OTHER, "560"]},
            f"module {DRIVER}, libcuda {DRIVER}, firmware {OTHER}, 560",
            "the GPU's firmware is of another driver",
        ),
    ],
)
def test_parts_of_several_drivers_are_told_apart(
    values: Document, measured: str, reason: str
) -> None:
    assert said(AGREE, **values) == ("FAIL", measured, DRIVER, reason)


def test_only_open_modules_need_the_firmware_of_their_version() -> None:
    for flavour, firmware in (("proprietary", [OTHER]), ("open", []), ("open", [OTHER, DRIVER])):
        assert alike(AGREE, flavour=flavour, firmware=firmware) == "PASS"


def test_without_a_loaded_module_there_is_nothing_to_agree() -> None:
    declared = {"without_gpu": "the lock names no GPU"}
    assert said(AGREE, loaded=None, change=no_gpu, expect=declared) == (
        "SKIP",
        "no module loaded",
        "",
        "the lock names no GPU",
    )
    for change, expect in ((None, declared), (no_gpu, {"without_gpu": None})):
        assert said(AGREE, loaded=None, change=change, expect=expect)[:3] == (
            "FAIL",
            "no module loaded",
            "",
        )


# --- device files -------------------------------------------------------------------------------


def node(path: str, **values: object) -> tuple[str, str, str, str]:
    def change(evidence: Document) -> None:
        files = value(evidence, NODES)["files"]
        next(one for one in files if one["path"] == path).update(values)

    return said(NODES, change=change)


def test_device_files_are_counted_and_named() -> None:
    found = said(NODES)
    assert found.status == "PASS"
    assert found.expected == "/dev/nvidiactl, /dev/nvidia-uvm, /dev/nvidia0"
    assert found.reason == "all lead to the driver"
    skipped = said(NODES, change=no_gpu, expect={"without_gpu": "none was promised"})
    assert skipped == ("SKIP", found.measured, "", "none was promised")


def test_missing_device_files_are_named_together() -> None:
    def change(evidence: Document) -> None:
        values = value(evidence, NODES)
        values["files"] = [one for one in values["files"] if one["path"] == "/dev/nvidia0"]

    assert said(NODES, change=change) == (
        "FAIL",
        "1 device files",
        "/dev/nvidiactl, /dev/nvidia-uvm, /dev/nvidia0",
        "/dev/nvidiactl, /dev/nvidia-uvm is missing; nvidia-modprobe -u -c0 makes it",
    )


@pytest.mark.parametrize("path", ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia0"])
def test_what_is_wrong_with_a_device_file_is_told(path: str) -> None:
    assert node(path, major=None)[1:] == (path, "", f"{path} is no device file")
    assert node(path, major=1)[3].startswith(f"{path} has the major 1, and the driver's is ")
    assert node(path, allowed=False, mode="0600")[3] == f"{path} may not be opened (mode 0600)"
    assert node(path, open_error="EIO")[3] == f"{path} does not open: EIO"


def test_a_gpu_without_a_device_file_is_counted() -> None:
    def second(evidence: Document) -> None:
        evidence["state"]["gpus"] *= 2

    assert said(NODES, change=second) == (
        "FAIL",
        "1 of 2 GPUs",
        "",
        "a GPU is on the bus that the driver has no device file for",
    )


# --- one driver, now and after the next boot ----------------------------------------------------


def roots(*found: tuple[str, str]) -> list[Document]:
    return [{"root": root, "version": version} for root, version in found]


def test_one_driver_lies_in_one_place() -> None:
    assert said(ROOTS, roots=roots(("/", DRIVER), ("/", DRIVER)))[:3] == (
        "PASS",
        f"{DRIVER} in /, {DRIVER} in /",
        "one driver",
    )
    assert said(ROOTS, roots=roots(("/", DRIVER), ("/run/nvidia/driver", DRIVER)))[2:] == (
        "one driver",
        "a containerised driver lies beside the host's own",
    )
    assert said(ROOTS, roots=roots(("/", DRIVER), ("/", OTHER))) == (
        "FAIL",
        f"{DRIVER} in /, {OTHER} in /",
        "one driver",
        "files of several drivers lie in one place",
    )


def test_no_driver_anywhere_usual_is_told() -> None:
    assert said(ROOTS, roots=[]) == (
        "NO_REFERENCE",
        "no libcuda",
        "",
        "libcuda lies in none of the usual places",
    )
    declared = {"without_gpu": "none was promised"}
    assert alike(ROOTS, roots=[], change=no_gpu, expect=declared) == "SKIP"
    assert alike(ROOTS, roots=[], expect=declared) == "NO_REFERENCE"


KERNEL = "6.8.0-99-generic"


def following(*versions: str | None, **values: Any) -> tuple[str, str, str, str]:
    modules = [{"version": version} for version in versions]
    return said(NEXT, next=KERNEL, modules=modules, **values)


def test_the_next_kernel_takes_the_first_of_its_modules() -> None:
    assert following(DRIVER, OTHER) == ("PASS", f"{DRIVER} for {KERNEL}", DRIVER, "it is there")
    assert following(OTHER, DRIVER) == (
        "FAIL",
        f"{OTHER} for {KERNEL}",
        DRIVER,
        f"{KERNEL} boots next, and its module is another driver's",
    )
    assert following(None, DRIVER)[0] == "PASS"
    assert following(None)[0] == "ERROR"
    assert said(NEXT, next=None)[:2] == ("NO_REFERENCE", "none")


def test_a_missing_module_and_missing_headers_are_told() -> None:
    missing = f"there is no NVIDIA module for {KERNEL}, which boots next"
    assert following(headers=True) == ("FAIL", f"none for {KERNEL}", DRIVER, missing)
    assert following(headers=None)[3] == missing
    built = "; its headers are missing, so none could be built"
    assert following(headers=False)[3] == missing + built


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        (
            {"holds": ["0000:17:00.0", "0000:65:00.0"]},
            (
                "FAIL",
                "0000:17:00.0, 0000:65:00.0",
                "nouveau drives it; forbid it, rebuild the initramfs and reboot",
            ),
        ),
        ({"loaded": True}, ("FAIL", "loaded", "nouveau is loaded; forbid it and reboot")),
        (
            {"forbidden_by": ["/b.conf", "/a.conf", "/b.conf"], "loadable": True},
            ("PASS", "forbidden", "by /a.conf, /b.conf"),
        ),
        (
            {"forbidden_by": [], "loadable": False},
            ("PASS", "not on disk", "the kernel of the next boot has none"),
        ),
        (
            {"forbidden_by": [], "loadable": None},
            (
                "NO_REFERENCE",
                "not loaded",
                "no kernel is installed here: what a container runs in is its host's matter",
            ),
        ),
        (
            {"forbidden_by": [], "loadable": True},
            (
                "FAIL",
                "can be loaded",
                "nouveau is on disk and nothing forbids it: it may take the GPU at the next boot",
            ),
        ),
    ],
)
def test_nouveau_cannot_take_the_gpu(values: Document, verdict: tuple[str, str, str]) -> None:
    found = said(NOUVEAU, **{"holds": [], "loaded": False, **values})
    assert (found.status, found.measured, found.reason) == verdict
    assert found.expected == ""


SECURE_ON = {"efi": True, "secure_boot": True, "next": KERNEL, "signed": {KERNEL: [True]}}


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"efi": False}, ("PASS", "no EFI", "")),
        ({"secure_boot": False, "signed": {}}, ("PASS", "off", "")),
        ({"loaded": True}, ("PASS", "on, signed", "signed")),
        ({"key_enrolled": True}, ("PASS", "on, signed, key enrolled", "signed")),
        ({"key_enrolled": False}, ("FAIL", "key not enrolled", "enrolled")),
        ({"signed": {KERNEL: [False]}, "loaded": True}, ("FAIL", "not signed", "signed")),
        (
            {"next": None, "running": "r", "signed": {"r": [False]}},
            ("FAIL", "not signed", "signed"),
        ),
    ],
)
def test_secure_boot_lets_the_modules_load(values: Document, verdict: tuple[str, str, str]) -> None:
    whole = {**SECURE_ON, "loaded": None, "key_enrolled": None, **values}
    assert said(SECURE, **whole)[:3] == verdict


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"secure_boot": None}, "whether Secure Boot is on could not be read"),
        ({"signed": {}}, f"whether the module for {KERNEL} is signed could not be read"),
        ({"signed": {KERNEL: [None]}}, f"whether the module for {KERNEL} is signed could not be"),
        ({"signed": {KERNEL: []}}, f"whether the module for {KERNEL} is signed could not be read"),
        ({}, "whether the firmware knows the key of the modules could not be read"),
    ],
)
def test_what_of_secure_boot_cannot_be_read_is_an_error(values: Document, why: str) -> None:
    found = said(SECURE, **{**SECURE_ON, "loaded": None, "key_enrolled": None, **values})
    assert found.status == "ERROR"
    assert found.reason.startswith(why)


@pytest.mark.parametrize("check", [NODES, NEXT, NOUVEAU, SECURE])
def test_without_a_gpu_it_is_skipped_only_where_the_lock_says_so(check: str) -> None:
    declared = {"without_gpu": "none was promised"}
    assert said(check, change=no_gpu, expect=declared)[0::3] == ("SKIP", "none was promised")
    assert alike(check, expect=declared) == "PASS"
    assert alike(check, change=no_gpu, expect={"without_gpu": None}) != "SKIP"
