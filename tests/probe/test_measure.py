"""`measure`: every leg in a process of its own, so that no library takes the others with it.

The libraries here are small C programs that do on purpose what vendor libraries do by accident.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cudactl.contracts.evidence import Evidence
from cudactl.lab.simulated.build import SOURCES as SIMULATED
from cudactl.probe import child
from tests.probe.conftest import Compile, Probe, interpreters, wanted

NVML = """
int nvmlInit_v2(void) { return 9; }
const char *nvmlErrorString(int code) { return "Driver Not Loaded"; }
"""
CUDART = """
int cudaRuntimeGetVersion(int *v) { *v = 13000; return 0; }
int cudaGetDeviceCount(int *n) { return 100; }
"""
BEFORE = "#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n#include <signal.h>\n"
ON_LOAD = BEFORE + "__attribute__((constructor)) static void start(void) {{ {0} }}\n"
IN_CALL = (
    BEFORE + "int nvmlInit_v2(void) {{ {0}; return 9; }}\nconst char *nvmlErrorString(int c);\n"
)


@pytest.fixture(scope="module")
def good(compile_library: Compile) -> dict[str, Any]:
    """The request for a toolkit leg that works."""
    return {"libraries": {"cudart": wanted(compile_library("libcudart.so.13", CUDART))}}


@pytest.fixture
def health(compile_library: Compile) -> Callable[..., dict[str, Any]]:
    """Compile an NVML that does something on purpose; return the request for the health leg."""

    def request(source: str, deadline: float = 20.0) -> dict[str, Any]:
        library = compile_library("libnvidia-ml.so.1", source)
        return {"deadline_s": deadline, "libraries": {"nvml": wanted(library)}}

    return request


def legs(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    Evidence.model_validate(document)
    return {leg["leg"]: leg for leg in document["legs"]}


def measured(leg: dict[str, Any], check: str) -> dict[str, Any]:
    (found,) = [m for m in leg["measurements"] if m["check"] == check]
    return found  # type: ignore[no-any-return]


# --- what goes well -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", sorted(interpreters()))
def test_every_interpreter_measures_the_same(
    version: str, probe: Probe, good: dict[str, Any], health: Callable[..., dict[str, Any]]
) -> None:
    request = {"legs": {"toolkit": good, "health": health(NVML)}}
    found = legs(probe("measure", request=request, python=interpreters()[version]))
    assert {leg["outcome"] for leg in found.values()} == {"ran"}
    cudart = measured(found["toolkit"], "toolkit.cudart")["values"]
    assert (cudart["runtime_version"], cudart["device_count_code"]) == (13000, 100)
    nvml = measured(found["health"], "health.nvml")["values"]
    assert (nvml["init_code"], nvml["init_text"]) == (9, "Driver Not Loaded")
    assert [Path(x["path"]).name for x in found["toolkit"]["libraries"]] == ["libcudart.so.13"]


def test_evidence_names_the_probe_that_took_it(
    probe: Probe, pyz: Path, good: dict[str, Any]
) -> None:
    import hashlib

    document = probe("measure", request={"legs": {"toolkit": good}})
    assert document["probe_sha256"] == hashlib.sha256(pyz.read_bytes()).hexdigest()


def test_a_library_that_is_not_there_is_an_error_with_the_folders(
    probe: Probe, tmp_path: Path
) -> None:
    request = {"libraries": {"cudart": wanted(tmp_path / "libcudart.so.13")}}
    leg = legs(probe("measure", request={"legs": {"toolkit": request}}))["toolkit"]
    assert leg["outcome"] == "ran"
    found = measured(leg, "toolkit.cudart")
    assert str(tmp_path) in found["error"]
    assert found["values"]["loaded"] is False


def test_a_file_that_is_no_library_is_an_error(probe: Probe, tmp_path: Path) -> None:
    (tmp_path / "libcudart.so.13").write_text("<html>404 Not Found</html>" * 10)
    request = {"libraries": {"cudart": wanted(tmp_path / "libcudart.so.13")}}
    leg = legs(probe("measure", request={"legs": {"toolkit": request}}))["toolkit"]
    assert leg["outcome"] == "ran"
    assert "invalid ELF header" in measured(leg, "toolkit.cudart")["error"]


def test_a_library_without_the_version_call_is_an_error(
    probe: Probe, compile_library: Compile
) -> None:
    library = compile_library("libcudart.so.13", "int nothing(void) { return 0; }")
    request = {"libraries": {"cudart": wanted(library)}}
    leg = legs(probe("measure", request={"legs": {"toolkit": request}}))["toolkit"]
    assert leg["outcome"] == "ran"
    assert "cudaRuntimeGetVersion" in measured(leg, "toolkit.cudart")["error"]


# --- what goes wrong in a leg -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "outcome", "says"),
    [
        (ON_LOAD.format("for (;;) pause();"), "timeout", "no end within 1 s"),
        (ON_LOAD.format("signal(SIGTERM, SIG_IGN); for (;;);"), "timeout", "no end within 1 s"),
        (ON_LOAD.format("raise(SIGSEGV);"), "crashed", "SIGSEGV"),
        (
            ON_LOAD.format('fputs("NVRM: bad\\n", stderr); abort();'),
            "crashed",
            "SIGABRT: NVRM: bad",
        ),
        (ON_LOAD.format("exit(7);"), "crashed", "exit status 7"),
        (ON_LOAD.format("_exit(0);"), "no_output", "exit status 0"),
        (IN_CALL.format("raise(SIGBUS)"), "crashed", "SIGBUS"),
        (ON_LOAD.format('for (;;) fputs("error\\n", stderr);'), "timeout", "no end within 1 s"),
    ],
    ids=["hangs", "spins", "crashes", "aborts", "exits", "exits-0", "bus-error", "floods"],
)
def test_a_leg_that_does_not_end_is_named_and_the_others_are_measured(
    probe: Probe,
    good: dict[str, Any],
    health: Callable[..., dict[str, Any]],
    source: str,
    outcome: str,
    says: str,
) -> None:
    request = {"legs": {"health": health(source, 1.0), "toolkit": good}}
    begun = time.monotonic()
    found = legs(probe("measure", request=request))
    assert time.monotonic() - begun < 15
    assert found["health"]["outcome"] == outcome
    assert says in found["health"]["detail"]
    assert "libnvidia-ml.so.1" in found["health"]["detail"], "the culprit is named"
    assert found["toolkit"]["outcome"] == "ran"
    assert measured(found["toolkit"], "toolkit.cudart")["values"]["runtime_version"] == 13000


def test_what_was_measured_before_a_crash_is_kept(probe: Probe, compile_library: Compile) -> None:
    crashing = BEFORE + "int nvrtcVersion(int *a, int *b) { raise(SIGILL); return 0; }"
    request = {
        "libraries": {
            "cudart": wanted(compile_library("libcudart.so.13", CUDART)),
            "nvrtc": wanted(compile_library("libnvrtc.so.13", crashing)),
        }
    }
    leg = legs(probe("measure", request={"legs": {"toolkit": request}}))["toolkit"]
    assert (leg["outcome"], leg["detail"].split(";")[0]) == ("crashed", "SIGILL")
    assert [m["check"] for m in leg["measurements"]] == ["toolkit.cudart"]
    assert [x["soname"] for x in leg["libraries"]] == ["libcudart.so.13"]


def test_an_exit_in_the_middle_is_no_good_end(probe: Probe, compile_library: Compile) -> None:
    leaving = BEFORE + "int nvrtcVersion(int *a, int *b) { _exit(0); }"
    request = {
        "libraries": {
            "cudart": wanted(compile_library("libcudart.so.13", CUDART)),
            "nvrtc": wanted(compile_library("libnvrtc.so.13", leaving)),
        }
    }
    leg = legs(probe("measure", request={"legs": {"toolkit": request}}))["toolkit"]
    assert leg["outcome"] == "crashed"


def test_a_library_that_talks_spoils_nothing(
    probe: Probe, health: Callable[..., dict[str, Any]]
) -> None:
    """Standard output is the document's; on standard error it may say what it likes, at length."""
    talk = 'puts("{}"); fflush(stdout); for (int i = 0; i < 400000; i++) fputs("%060d", stderr);'
    leg = legs(probe("measure", request={"legs": {"health": health(ON_LOAD.format(talk) + NVML)}}))
    assert leg["health"]["outcome"] == "ran"


def test_a_child_that_a_library_leaves_behind_is_not_waited_for(
    probe: Probe, health: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    leave = (
        f'if (!fork()) {{ FILE *f = fopen("{pid}", "w"); fprintf(f, "%d", getpid()); '
        "fclose(f); sleep(300); }"
    )
    source = ON_LOAD.replace("{0}", "%s").replace("{{", "{").replace("}}", "}") % leave + NVML
    begun = time.monotonic()
    leg = legs(probe("measure", request={"legs": {"health": health(source)}}))["health"]
    assert leg["outcome"] == "ran"
    assert time.monotonic() - begun < 15
    assert gone(int(pid.read_text())), "nor left on the machine"


def test_what_a_leg_started_ends_with_its_deadline(probe: Probe, tmp_path: Path) -> None:
    """nvcc starts compilers of its own, and leaves files when it is killed."""
    temporary, pid = tmp_path / "tmp", tmp_path / "pid"
    temporary.mkdir()
    nvcc = tmp_path / "nvcc"
    nvcc.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && { echo "release 13.0, V13.0.88"; exit; }\n'
        f"sleep 300 & echo $! >{pid}; wait\n"
    )
    nvcc.chmod(0o755)
    request = {"deadline_s": 2.0, "nvcc": str(nvcc), "link": True, "folders": []}
    document = probe("measure", request={"legs": {"nvcc": request}}, env={"TMPDIR": str(temporary)})
    leg = legs(document)["nvcc"]
    assert leg["outcome"] == "timeout"
    assert measured(leg, "nvcc.version")["values"]["version"] == "13.0.88"
    assert gone(int(pid.read_text()))
    assert not list(temporary.iterdir()), "nothing is left behind"


def gone(pid: int) -> bool:
    """Return whether a process ends within two seconds."""
    for _ in range(40):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


# --- when measuring itself is ended -------------------------------------------------------------


@pytest.fixture
def hanging(
    pyz: Path, health: Callable[..., dict[str, Any]], tmp_path: Path
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A `measure` whose leg hangs, and the leg's process id."""
    pid = tmp_path / "pid"
    write = f'FILE *f = fopen("{pid}.new", "w"); fprintf(f, "%d", getpid()); fclose(f); '
    source = ON_LOAD.format(f'{write} rename("{pid}.new", "{pid}"); for (;;) pause();')
    command = [sys.executable, "-I", "-S", str(pyz), "measure"]
    running = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdin is not None
    running.stdin.write(json.dumps({"legs": {"health": health(source, 300.0)}}))
    running.stdin.close()
    running.stdin = None
    for _ in range(200):
        if pid.exists():
            break
        time.sleep(0.05)
    yield running, int(pid.read_text())
    running.kill()
    running.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_leg_ends_with_the_probe(
    hanging: tuple[subprocess.Popen[str], int], number: signal.Signals
) -> None:
    running, pid = hanging
    running.send_signal(number)
    out, err = running.communicate(timeout=20)
    assert running.returncode in (128 + number, -number)
    assert (out, err) == ("", "")
    assert gone(pid)


# --- stuck in the kernel ------------------------------------------------------------------------


def test_a_process_that_cannot_be_killed_is_called_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real ones need a broken driver: here the killing itself is taken away."""
    monkeypatch.setattr(child, "_kill", lambda process: None)
    monkeypatch.setattr(child, "KILL_GRACE_S", 0.2)
    with subprocess.Popen(["sleep", "300"]) as process:
        assert child._stop(process) == "stuck"
        process.kill()


def test_no_second_leg_is_started_beside_one_that_is_stuck(
    probe: Probe, compile_library: Compile, health: Callable[..., dict[str, Any]]
) -> None:
    # The parent of a vfork waits in the kernel, uninterruptibly, until its child has gone.
    waiting = compile_library(
        "libwait.so", BEFORE + "void wait_(void) { if (!vfork()) { sleep(300); _exit(0); } }"
    )
    script = f"import ctypes; ctypes.CDLL({str(waiting)!r}).wait_()"
    command = [sys.executable, "-S", "-c", script, "leg", "health", "9"]
    with subprocess.Popen(command, start_new_session=True) as stuck:
        try:
            status = Path(f"/proc/{stuck.pid}/stat")
            for _ in range(100):
                if status.read_text().rpartition(")")[2].split()[0] == "D":
                    break
                time.sleep(0.05)
            request = {"legs": {"health": health(NVML), "driver": {}}}
            found = legs(probe("measure", request=request))
        finally:
            os.killpg(stuck.pid, signal.SIGKILL)
    assert found["health"]["outcome"] == "stuck"
    assert str(stuck.pid) in found["health"]["detail"]
    assert found["driver"]["outcome"] == "ran", "it is the health leg that hangs"
    assert legs(probe("measure", request=request))["health"]["outcome"] == "ran"


# --- two worlds ---------------------------------------------------------------------------------


def test_the_callers_library_path_counts_in_the_users_world_only(
    probe: Probe, compile_library: Compile
) -> None:
    elsewhere = compile_library("libnvrtc.so.13", "int shadow(void) { return 1; }")
    cudart = compile_library(
        "libcudart.so.13",
        "int shadow(void);\nint use(void) { return shadow(); }\n" + CUDART,
        None,
        f"-L{elsewhere.parent}",
        "-l:libnvrtc.so.13",
    )
    env = {"LD_LIBRARY_PATH": str(elsewhere.parent)}
    request = {"legs": {"toolkit": {"libraries": {"cudart": wanted(cudart)}}}}
    system = legs(probe("measure", request=request, env=env))["toolkit"]
    assert "libnvrtc.so.13: cannot open" in measured(system, "toolkit.cudart")["error"]
    user = legs(probe("measure", request={**request, "world": "user"}, env=env))["toolkit"]
    assert measured(user, "toolkit.cudart")["error"] is None
    assert [x["path"] for x in user["libraries"]] == sorted([str(cudart), str(elsewhere)])


# --- the call itself ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        None,
        [],
        {},
        {"legs": {}},
        {"legs": ["driver"]},
        {"legs": {"sing": {}}},
        {"legs": {"driver": 1}},
        {"legs": {"driver": {"deadline_s": 0}}},
        {"legs": {"driver": {"deadline_s": -1}}},
        {"legs": {"driver": {"deadline_s": True}}},
        {"legs": {"driver": {"deadline_s": "soon"}}},
        {"legs": {"driver": {"deadline_s": 1e9}}},
        {"legs": {"driver": {}}, "world": "third"},
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_a_request_that_cannot_be_meant_is_one_error_document(
    probe: Probe, request_: object
) -> None:
    error = probe("measure", request=request_, code=2)["error"]
    assert error["code"] == "PROBE-REQUEST"
    assert error["found"]
    assert error["remedy"]


def test_a_request_that_is_no_json_is_one_error_document(pyz: Path) -> None:
    for text in ("{", '{"legs": {"driver": {"deadline_s": NaN}}}', "[" * 100_000):
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(pyz), "measure"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert json.loads(done.stdout)["error"]["code"] == "PROBE-REQUEST"


# --- against NVIDIA's own bindings --------------------------------------------------------------


@pytest.fixture
def simulated_nvml(compile_library: Compile) -> Path:
    """The lab's NVML of driver 580.95.05."""
    mark = (SIMULATED / "mark.h").read_text()
    mark = mark.replace("@VERSION@", "580.95.05").replace("{0}}", "{13000}}")
    source = (SIMULATED / "nvml.c").read_text().replace('#include "mark.h"', mark)
    return compile_library("libnvidia-ml.so.1", source)


def test_nvidias_own_bindings_read_the_same_from_nvml(probe: Probe, simulated_nvml: Path) -> None:
    """Prototypes written by hand are where ctypes goes wrong: pynvml's are NVIDIA's."""
    request = {"legs": {"health": {"libraries": {"nvml": wanted(simulated_nvml)}}}}
    ours = measured(legs(probe("measure", request=request))["health"], "health.nvml")["values"]
    script = (
        "import json, pynvml as n\n"
        "n.nvmlInit()\n"
        "print(json.dumps({'driver_version': n.nvmlSystemGetDriverVersion(),\n"
        " 'nvml_version': n.nvmlSystemGetNVMLVersion(), 'gpu_count': n.nvmlDeviceGetCount()}))\n"
    )
    env = {**os.environ, "LD_LIBRARY_PATH": str(simulated_nvml.parent)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    assert theirs["driver_version"] == "580.95.05"
    assert {key: ours[key] for key in theirs} == theirs
