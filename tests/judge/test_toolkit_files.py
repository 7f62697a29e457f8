"""The files of the toolkit and of nvcc: of the lock's version, from the lock's place, bound to."""

from __future__ import annotations

from typing import Any

import pytest

from tests.judge.healthy import LIB, SYSTEM, every_library, value
from tests.judge.verdicts import Document, said

CUDART, NVRTC, LINK, VERSION = "toolkit.cudart", "toolkit.nvrtc", "nvcc.link", "nvcc.version"
FILE = f"{LIB}/libcudart.so.13.0.96"
BOTH = "cudart 13.0, cuDNN 9.13.0"


# --- a library's place --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "version", "name"),
    [
        (CUDART, "13.0", "libcudart.so.13.0.96"),
        ("toolkit.cublas", "13.1.0", "libcublas.so.13.1.0.3"),
        ("toolkit.cublaslt", "13.1.0", "libcublasLt.so.13.1.0.3"),
        (NVRTC, "13.0", "libnvrtc.so.13.0.88"),
    ],
)
def test_a_library_says_where_it_was_loaded_from(check: str, version: str, name: str) -> None:
    assert said(check) == ("PASS", version, version, f"loaded from {LIB}/{name}")


def test_a_library_that_was_not_loaded_or_is_of_another_version() -> None:
    assert said(CUDART, loaded=False) == ("FAIL", "not loaded", "13.0", "it was not loaded")
    assert said(CUDART, loaded="yes").status == "FAIL"
    assert said(CUDART, runtime_version=12090) == (
        "FAIL",
        "12.9",
        "13.0",
        f"{FILE} answers another version",
    )


@pytest.mark.parametrize(("check", "call"), [(CUDART, "cudaRuntimeGetVersion"), (NVRTC, "nvrtcV")])
def test_a_version_that_was_refused_is_none(check: str, call: str) -> None:
    found = said(check, code=35)
    assert found.status == "ERROR"
    assert found.reason.startswith(call)
    assert found.reason.endswith(" answers 35")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (f"{LIB}/stubs/libcudart.so", f"{LIB}/stubs/libcudart.so is a stub, which only links"),
        (
            f"{LIB}/../../../../opt/libcudart.so",
            f"{LIB}/../../../../opt/libcudart.so was loaded, which is not below ",
        ),
        ("/opt/libcudart.so", "/opt/libcudart.so was loaded, which is not below "),
        (f"{LIB}/other.so", f"{LIB}/other.so was not found in the process's memory map"),
    ],
)
def test_a_file_from_elsewhere_is_not_the_locks(path: str, why: str) -> None:
    found = said(CUDART, path=path)
    assert found[:3] == ("FAIL", "13.0", "13.0")
    assert found.reason.startswith(why)


@pytest.mark.parametrize(
    ("package", "owner"), [("cuda-cudart-12-9", "cuda-cudart-12-9"), (None, "nobody")]
)
def test_a_file_of_another_package_is_not_the_locks(package: str | None, owner: str) -> None:
    def change(evidence: Document) -> None:
        for known in every_library(evidence, "libcudart"):
            known["package"] = package

    assert said(CUDART, change=change).reason.startswith(f"{FILE} belongs to {owner}, not to ")


# --- nvcc ---------------------------------------------------------------------------------------


def test_nvcc_is_the_locks_by_version_and_place() -> None:
    path = "/usr/local/cuda-13.0/bin/nvcc"
    assert said(VERSION) == ("PASS", "13.0.88", "13.0.88", path)
    assert said(VERSION, version="12.9.86") == (
        "FAIL",
        "12.9.86",
        "13.0.88",
        f"{path} is another nvcc",
    )
    places = {"expect": {"prefixes": ["/usr/local/cuda-13.0/", "/opt/"]}}
    assert said(VERSION, path="/usr/bin/nvcc", **places) == (
        "FAIL",
        "/usr/bin/nvcc",
        "/usr/local/cuda-13.0/ or /opt/",
        "it is another copy of nvcc",
    )
    assert said(VERSION, path="/opt/nvcc", **places).status == "PASS"


def test_a_program_that_was_linked_says_what_it_bound_to() -> None:
    assert said(LINK) == ("PASS", BOTH, BOTH, "compiled in 4.5 s, linked and run (sm_80, sm_90)")
    assert said(LINK, architectures=[]).reason == "compiled in 4.5 s, linked and run"


@pytest.mark.parametrize(
    ("values", "measured", "reason"),
    [
        ({"compiled": False}, "not compiled", "nvcc did not compile it"),
        ({"exit_status": 1}, "exit 1", "the program does not run to its end"),
        ({"exit_status": -11}, "exit -11", "the program does not run to its end"),
        ({"runtime": 12090}, "cudart 12.9, cuDNN 9.13.0", "the program bound to other libraries"),
        ({"cudnn": 90800}, "cudart 13.0, cuDNN 9.8.0", "the program bound to other libraries"),
        ({"count_code": 35}, "cudaError 35", "a GPU is there and the program sees none"),
    ],
)
def test_what_is_wrong_with_a_program_is_told(values: Document, measured: str, reason: str) -> None:
    assert said(LINK, **values) == ("FAIL", measured, BOTH, reason)


def test_where_no_gpu_is_a_program_need_not_see_one() -> None:
    def no_gpu(evidence: Document) -> None:
        evidence["state"]["gpus"] = []

    assert said(LINK, change=no_gpu, count_code=100).status == "PASS"


def bound(drop: str = "", add: str = "") -> tuple[str, str, str, str]:
    def change(evidence: Document) -> Any:
        values = value(evidence, LINK)
        values["mapped"] = [p for p in values["mapped"] if not drop or drop not in p]
        values["mapped"] += [add] * bool(add)

    return said(LINK, change=change)


@pytest.mark.parametrize("stem", ["libcudart", "libcublas", "libcudnn"])
def test_a_program_binds_to_each_of_the_three_and_to_the_locks(stem: str) -> None:
    found = bound(drop=f"/{stem}.so")
    assert found[1:] == (BOTH, BOTH, f"the program did not bind to {stem}")
    other = f"/opt/{stem}.so.1"
    found = bound(add=other)
    assert found[:3] == ("FAIL", BOTH, BOTH)
    assert found[3].startswith(f"{other} was loaded, which is not below ")


def test_only_the_name_of_a_file_says_which_library_it_is() -> None:
    assert bound(add=f"{SYSTEM}/libcudart.so.d/libother.so")[0] == "PASS"
