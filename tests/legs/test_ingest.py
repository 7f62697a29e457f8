"""Results of dcgmi diag, nvbandwidth and nccl-tests: read strictly, shown as their tools' own.

The samples follow NVIDIA's sources: DCGM 3 and 4 (test_categories), nvbandwidth's json_output.cpp,
nccl-tests' util.cu.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cudactl.certify.expectations.ingest import read_results, with_results
from cudactl.certify.policy import compile_policy
from cudactl.contracts.errors import UsageError
from cudactl.probe.legs import ingest
from tests.conftest import Cudactl
from tests.judge.healthy import RECORDED, apt_lock

Json = dict[str, Any]
LOCK = RECORDED / "wheels-cuda-13.0.lock"


def dcgm(*results: Json, title: str = "DCGM Diagnostic", **more: Any) -> Json:
    tests = [{"name": "memory", "results": list(results), "test_summary": {"status": "Pass"}}]
    return {title: {"test_categories": [{"category": "Hardware", "tests": tests}]}, **more}


def nvbandwidth(**case: Any) -> Json:
    one = {
        "name": "host_to_device_memcpy_ce",
        "status": "Passed",
        "bandwidth_description": "memcpy CE CPU(row) -> GPU(column) bandwidth (GB/s) ",
        "bandwidth_matrix": [["55.1", "54.9", "N/A"]],
        "sum": 110.0,
        **case,
    }
    one = {key: value for key, value in one.items() if value is not None}
    said = {"version": "v0.8", "Driver Version": "580.95.05", "testcases": [one]}
    return {"nvbandwidth": said}


def nccl(**changes: Any) -> Json:
    row = {
        "size": 268435456,
        "type": "float",
        "out_of_place": {"time": 1.0, "alg_bw": 200.0, "bus_bw": 350.5, "nwrong": 0.0},
        "in_place": {"time": 1.0, "alg_bw": 200.0, "bus_bw": 351.5, "nwrong": 0.0},
    }
    return {
        "version": 2,
        "args": ["./build/all_reduce_perf", "-J", "x"],
        "nccl_version": 22703,
        "config": {"validation": 1},
        "results": [row],
        "out_of_bounds": {"count": 0, "okay": "true"},
        "average_bus_bandwidth": {"bandwidth": 234.9, "okay": "unchecked"},
        "errors": [""],
        **changes,
    }


TEXT = """\
# nccl-tests version 2.17.6 nccl-headers=22703 nccl-library=22703
# Collective test starting: all_reduce_perf
# nThread 1 nGpus 8 minBytes 8 maxBytes 268435456 step: 2(factor) warmup iters: 1 iters: 20 agg \
iters: 1 validation: 1 graph: 0 unalign: 0
#
   268435456      67108864     float     sum      -1   1300.0  206.5  361.4       0
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 234.9
#
"""


def parse(document: Json | str) -> Json:
    return ingest.parse(document if isinstance(document, str) else json.dumps(document))


PASS, FAIL = {"status": "Pass"}, {"status": "Fail", "entity_group": "GPU", "entity_id": 3}


def test_a_pass_of_dcgmi_is_a_pass_with_its_version_and_driver() -> None:
    meta = {"version": "4.5.3", "Driver Version Detected": "580.95.05"}
    found = parse(dcgm(PASS, PASS, metadata=meta))
    assert (found["tool"], found["verdict"]) == ("dcgmi diag", "PASS")
    assert (found["version"], found["driver"]) == ("4.5.3", "580.95.05")
    assert found["counts"] == {"PASS": 2}


def test_dcgm_3_is_read_too() -> None:
    document = dcgm(
        {"gpu_id": "1", "status": "FAIL", "warnings": "Double bit ECC"},
        title="DCGM GPU Diagnostic",
        version="3.3.9",
    )
    found = parse(document)
    assert found["verdict"] == "FAIL"
    assert found["failures"] == ["memory on GPU 1: Double bit ECC"]
    assert found["version"] == "3.3.9"


def test_one_failure_of_dcgmi_outweighs_every_pass_and_says_where_and_why() -> None:
    why = [{"warning": "Row remap failed", "error_id": 55}]
    found = parse(dcgm(PASS, {**FAIL, "warnings": why}, {"status": "Skip"}))
    assert found["verdict"] == "FAIL"
    assert found["failures"] == ["memory on GPU 3: Row remap failed"]
    assert found["counts"] == {"PASS": 1, "FAIL": 1, "SKIP": 1}


def test_dcgmi_that_skipped_everything_has_passed_nothing() -> None:
    assert parse(dcgm({"status": "Skip"}, {"status": "Not Run"}))["verdict"] == "SKIP"


def test_dcgmi_that_could_not_run_is_an_error() -> None:
    found = parse({"DCGM Diagnostic": {"Error": "unable to connect to the host engine"}})
    assert found["verdict"] == "ERROR"
    assert "host engine" in found["failures"][0]


def test_nvbandwidth_gives_its_least_and_largest_value_with_unit() -> None:
    found = parse(nvbandwidth())
    assert (found["verdict"], found["driver"], found["version"]) == ("PASS", "580.95.05", "v0.8")
    assert [(f["value"], f["unit"]) for f in found["figures"]] == [(54.9, "GB/s"), (55.1, "GB/s")]


def test_a_latency_keeps_its_own_unit() -> None:
    found = parse(nvbandwidth(bandwidth_description="memory latency SM CPU(row) <- GPU (ns)"))
    assert {f["unit"] for f in found["figures"]} == {"ns"}


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        ({"status": "Waived", "bandwidth_matrix": None}, "SKIP"),
        ({"status": "Error", "error": "CUDA_ERROR_UNKNOWN"}, "ERROR"),
        ({"error": "data verification failed"}, "ERROR"),
        ({"status": "Not Found"}, "ERROR"),
    ],
)
def test_nvbandwidths_waived_and_failed_tests_are_no_pass(case: Json, verdict: str) -> None:
    """nvbandwidth itself exits 0 with those."""
    found = parse(nvbandwidth(**case))
    assert found["verdict"] == verdict
    assert found["figures"] == []


def test_nvbandwidth_that_broke_off_is_an_error() -> None:
    document = nvbandwidth()
    document["nvbandwidth"]["error"] = "CUDA_ERROR_LAUNCH_FAILED in memcpy.cpp"
    assert parse(document)["verdict"] == "ERROR"


def test_nccl_tests_in_json_and_in_text_say_the_same() -> None:
    first, second = parse(nccl()), parse(TEXT)
    assert first["verdict"] == second["verdict"] == "PASS"
    assert first["figures"][0] == second["figures"][0]
    assert first["figures"][0]["name"] == "all_reduce_perf, average bus bandwidth"
    assert first["figures"][-1] == {
        "name": "all_reduce_perf, largest bus bandwidth, in_place, 268435456 bytes",
        "value": 351.5,
        "unit": "GB/s",
    }


@pytest.mark.parametrize(
    ("document", "verdict", "says"),
    [
        (nccl(out_of_bounds={"count": 3, "okay": "false"}), "FAIL", "wrong values"),
        (
            nccl(average_bus_bandwidth={"bandwidth": 20.0, "okay": "false"}),
            "FAIL",
            "below the bandwidth",
        ),
        (nccl(config={"validation": 0}), "SKIP", "the data was not checked"),
        (nccl(errors=["unhandled system error"]), "ERROR", "unhandled system error"),
        ({"nccl_version": 22703, "args": ["all_reduce_perf"]}, "ERROR", "before its summary"),
        (TEXT.replace("0 OK", "3 FAILED"), "FAIL", "wrong values"),
        (TEXT.replace("234.9", "234.9 FAILED"), "FAIL", "below the bandwidth"),
        (TEXT.replace("validation: 1", "validation: 0"), "SKIP", "the data was not checked"),
        (TEXT.split("# Out of")[0], "ERROR", "before its summary"),
        (TEXT.replace("234.9", "nan"), "ERROR", ""),
    ],
)
def test_nccl_tests_that_went_wrong_say_so(document: Any, verdict: str, says: str) -> None:
    found = parse(document)
    assert found["verdict"] == verdict
    assert says in " ".join(found["failures"])


@pytest.mark.parametrize(
    "document",
    [
        "",
        "Segmentation fault",
        "{",
        "[]",
        "{}",
        '{"x": 1}',
        {"DCGM Diagnostic": []},
        {"DCGM Diagnostic": {"test_categories": []}},
        dcgm({"status": "Great"}),
        dcgm({"status": None}),
        {"nvbandwidth": {"testcases": []}},
        nvbandwidth(status="Fine"),
        nvbandwidth(bandwidth_matrix=[["fast"]]),
        nvbandwidth(bandwidth_matrix=[["N/A"]]),
        nvbandwidth(bandwidth_matrix=None),
        nvbandwidth(bandwidth_description="bandwidth"),
        nccl(out_of_bounds={"okay": "perhaps"}),
        nccl(average_bus_bandwidth={"bandwidth": 1.0, "okay": True}),
        nccl(results="none"),
        '{"nccl_version": NaN}',
    ],
)
def test_what_is_not_exactly_a_tools_own_format_is_refused(document: Any) -> None:
    with pytest.raises(ingest.UnknownFormat):
        parse(document)


# --- the leg ------------------------------------------------------------------------------------


@pytest.fixture
def measured() -> Callable[..., Json]:
    def run(**request: Any) -> Json:
        found: list[Any] = []
        ingest.measure(request, lambda *result: found.append(result))
        ((check, values, error),) = found
        assert (check, error) == ("ingest.results", None)
        return dict(values)

    return run


def test_files_folders_and_texts_are_taken_together(
    measured: Callable[..., Json], tmp_path: Path
) -> None:
    (tmp_path / "night").mkdir()
    (tmp_path / "night/nccl.txt").write_text(TEXT)
    (tmp_path / "night/notes.md").write_text("not a result")
    (tmp_path / "nvb.json").write_text(json.dumps(nvbandwidth()))
    places = [str(tmp_path / "night"), str(tmp_path / "nvb.json")]
    found = measured(files=places, documents={"dcgm.json": json.dumps(dcgm(PASS))})
    tools = [one["tool"] for one in found["results"]]
    assert tools == ["dcgmi diag", "nccl-tests", "nvbandwidth"]
    assert found["unread"] == []


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("gone", None, "No such file"),
        ("binary.json", b"\xff\xfe\x00", "it is no text"),
        ("other.json", b'{"a": 1}', "none of dcgmi diag"),
        ("deep.json", b'{"a":' * 100_000, ""),
    ],
)
def test_what_cannot_be_read_is_named(
    measured: Callable[..., Json], tmp_path: Path, name: str, content: bytes | None, why: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    found = measured(files=[str(path)])
    assert found["results"] == []
    assert found["unread"][0]["file"] == str(path)
    assert why in found["unread"][0]["why"]


def test_a_file_that_is_too_large_is_not_read(
    measured: Callable[..., Json], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "LARGEST_BYTES", 10)
    (tmp_path / "x.json").write_text(json.dumps(dcgm(PASS)))
    assert "larger than" in measured(files=[str(tmp_path / "x.json")])["unread"][0]["why"]


def test_an_empty_folder_is_named(measured: Callable[..., Json], tmp_path: Path) -> None:
    assert measured(files=[str(tmp_path)])["unread"][0]["why"] == "the folder holds no results"


# --- the policy ---------------------------------------------------------------------------------


def test_results_are_asked_for_only_where_somebody_gives_them(tmp_path: Path) -> None:
    policy = compile_policy(apt_lock(), tier="nightly")
    assert "ingest" not in policy.legs
    (tmp_path / "a.json").write_text("{}")
    given = with_results(policy, ["/srv/r"], read_results([tmp_path]))
    assert "ingest" in given.legs
    assert given.request["legs"]["ingest"]["files"] == ["/srv/r"]
    assert list(given.request["legs"]["ingest"]["documents"].values()) == ["{}"]
    assert given.expectations[-1].check == "ingest.results"


def test_a_result_that_is_not_there_is_a_wrong_call(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as wrong:
        read_results([tmp_path / "gone.json"])
    assert wrong.value.code == "INGEST-UNREADABLE"
    with pytest.raises(UsageError, match="holds no results"):
        read_results([tmp_path])


# --- on the command line ------------------------------------------------------------------------


def test_results_are_taken_in_beside_our_own_legs(cudactl: Cudactl, tmp_path: Path) -> None:
    (tmp_path / "nccl.txt").write_text(TEXT)
    arguments = ("--tier", "prolog", "--no-sign", "--json", "--lock", str(LOCK))
    done = cudactl("certify", "host", *arguments, "--ingest", "nccl.txt", cwd=tmp_path)
    (row,) = json.loads(done.stdout)
    verdict = next(v for v in row["certificate"]["verdicts"] if v["check"] == "ingest.results")
    assert verdict["status"] == "PASS"
    assert verdict["measured"] == "nccl-tests says PASS (1 of 1)"
    assert "234.9 GB/s" in verdict["reason"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--ingest", "gone.json"], "INGEST-UNREADABLE"),
        (["a.example", "b.example", "--ingest", "nccl.txt"], "TOO-MANY-HOSTS"),
        (["--daemon-reload"], "--container-image"),
    ],
)
def test_a_call_that_cannot_be_meant_is_refused(
    cudactl: Cudactl, tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "nccl.txt").write_text(TEXT)
    done = cudactl("certify", "host", "--lock", str(LOCK), *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
