"""The containers leg on trees with simulated engines; one of them really runs its programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cudactl.certify.expectations.containers import with_image
from cudactl.certify.policy import compile_policy
from cudactl.contracts.lock import StackLock
from cudactl.probe.legs import containers
from tests.judge.areas.containers import PACKAGE, _package
from tests.judge.doctor.machines import CDI_FILE, DRIVER, LIB, Tree, cdi, healthy, write
from tests.judge.healthy import apt_lock

GPU = "GPU-c0dac711-0000-4000-8000-000000000001"
CTK = '#!/bin/sh\necho "NVIDIA Container Toolkit CLI version 1.18.0"\necho "commit: f8daa5e"\n'
# A docker that keeps its state in a folder and shows the GPUs that a file names.
DOCKER = """\
#!/bin/sh
here=$(dirname "$0")
echo "$@" >> "$here/calls"
case "$1" in
run) [ -e "$here/fails" ] && { cat "$here/fails" >&2; exit 125; }; echo 0123abcd ;;
exec)
    cat "$here/sees" 2>/dev/null && exit
    echo "Failed to initialize NVML: Unknown Error"; exit 255 ;;
rm) ;;
esac
"""
Leg = Callable[..., dict[str, Any]]


@pytest.fixture
def leg(tmp_path: Path) -> Leg:
    """Run the leg on a tree, return check → (values, error)."""

    def run(change: Callable[[Tree], object] | None = None, **request: Any) -> dict[str, Any]:
        tree = healthy()
        tree["/usr/bin/nvidia-ctk"] = CTK
        tree["/usr/bin/docker"] = DOCKER
        tree["/usr/bin/sees"] = f"GPU 0: NVIDIA H200 (UUID: {GPU})\n"
        if change is not None:
            change(tree)
        write(tree, tmp_path)
        for name in ("nvidia-ctk", "docker"):
            if (tmp_path / "usr/bin" / name).exists():
                (tmp_path / "usr/bin" / name).chmod(0o755)
        found: dict[str, Any] = {}
        containers.measure(
            {"root": str(tmp_path), **request},
            lambda check, values, error: found.update({check: (values, error)}),
        )
        return found

    return run


def test_a_host_that_is_set_up_shows_everything(leg: Leg) -> None:
    found = leg()
    assert {error for _, error in found.values()} == {None}
    assert found["containers.toolkit"][0]["version"] == "1.18.0"
    assert found["containers.runtime"][0]["docker_runtimes"] == ["nvidia"]
    (specification,) = found["containers.cdi"][0]["specifications"]
    assert specification["driver_versions"] == [DRIVER]
    assert specification["missing"] == []
    assert specification["devices"] == ["0"]
    assert found["containers.cdi"][0]["loaded"] == DRIVER
    assert found["containers.reload"][0]["missing_char_links"] == []
    assert "containers.gpus" not in found  # no image was named, so nothing was started


def test_a_specification_in_json_is_read_like_one_in_yaml(leg: Leg) -> None:
    document = {
        "cdiVersion": "0.6.0",
        "kind": "nvidia.com/gpu",
        "devices": [
            {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0"}]}},
        ],
        "containerEdits": {
            "mounts": [{"hostPath": f"{LIB}/libcuda.so.{DRIVER}", "containerPath": "/x"}]
        },
    }

    def change(tree: Tree) -> None:
        del tree[CDI_FILE]
        tree["/etc/cdi/one.json"] = json.dumps(document)
        tree["/etc/cdi/two.json"] = json.dumps(document, indent=2)

    one, two = leg(change)["containers.cdi"][0]["specifications"]
    assert {**one, "path": ""} == {**two, "path": ""}
    assert one["driver_versions"] == [DRIVER]
    assert one["device_nodes"] == ["/dev/nvidia0"]
    assert one["missing"] == []


def test_somebody_elses_specification_is_none_of_ours(leg: Leg) -> None:
    found = leg(lambda t: t.update({CDI_FILE: cdi().replace("nvidia.com", "vendor.com")}))
    assert found["containers.cdi"][0]["specifications"] == []


def test_files_that_a_specification_names_and_that_are_gone_are_named(leg: Leg) -> None:
    found = leg(lambda t: t.update({CDI_FILE: cdi("580.82.07")}))
    (specification,) = found["containers.cdi"][0]["specifications"]
    assert specification["missing"] == [f"{LIB}/libcuda.so.580.82.07"]


def test_a_toolkit_that_is_not_there_or_does_not_answer_is_an_error(leg: Leg) -> None:
    assert "is not there" in leg(lambda t: t.pop("/usr/bin/nvidia-ctk"))["containers.toolkit"][1]


def test_a_toolkit_that_fails_says_what_it_said(leg: Leg) -> None:
    broken = "#!/bin/sh\necho 'no such library' >&2; exit 1\n"
    found = leg(lambda t: t.update({"/usr/bin/nvidia-ctk": broken}))
    assert found["containers.toolkit"][1] == "no such library"


# --- in a container -----------------------------------------------------------------------------


def test_a_named_image_is_run_without_pulling_and_removed(leg: Leg, tmp_path: Path) -> None:
    values, error = leg(image="cuda:13")["containers.gpus"]
    assert error is None
    assert values["host"] == values["before"] == [GPU]
    assert values["reloaded"] is False
    calls = (tmp_path / "usr/bin/calls").read_text().splitlines()
    assert calls[0].startswith("run --rm --pull never -d")
    assert "--gpus all cuda:13" in calls[0]
    assert calls[-1].startswith("rm -f cudactl-leg-containers-")


def test_podman_gets_its_gpus_by_cdi(leg: Leg, tmp_path: Path) -> None:
    def change(tree: Tree) -> None:
        tree["/usr/bin/podman"] = DOCKER
        del tree["/usr/bin/docker"]

    found = leg(change)
    (tmp_path / "usr/bin/podman").chmod(0o755)
    found = {}
    containers.measure(
        {"root": str(tmp_path), "image": "cuda:13", "engine": "podman"},
        lambda check, values, error: found.update({check: (values, error)}),
    )
    assert found["containers.gpus"][1] is None
    assert "--device nvidia.com/gpu=all" in (tmp_path / "usr/bin/calls").read_text()


def test_an_engine_that_knows_no_gpus_is_an_error_with_its_words(leg: Leg) -> None:
    words = 'docker: could not select device driver "" with capabilities: [[gpu]].'
    values, error = leg(lambda t: t.update({"/usr/bin/fails": words}), image="x")["containers.gpus"]
    assert error == words
    assert values["before"] is None


def test_a_container_without_gpus_is_an_error_and_is_removed(leg: Leg, tmp_path: Path) -> None:
    _, error = leg(lambda t: t.pop("/usr/bin/sees"), image="x")["containers.gpus"]
    assert "Failed to initialize NVML: Unknown Error" in error
    assert (tmp_path / "usr/bin/calls").read_text().splitlines()[-1].startswith("rm -f")


def test_gpus_that_daemon_reload_takes_away_are_seen(
    leg: Leg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemctl stands in for the real one: what it does here is what the reload does there."""
    folder = tmp_path / "path"
    folder.mkdir()
    program = folder / "systemctl"
    program.write_text(f"#!/bin/sh\nrm {tmp_path}/usr/bin/sees\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    values, error = leg(image="x", daemon_reload=True)["containers.gpus"]
    assert error is None
    assert values["reloaded"] is True
    assert values["before"] == [GPU]
    assert values["after"] == []
    assert "Unknown Error" in values["after_error"]


def test_the_leg_runs_as_a_process_on_this_machine(pyz: Path) -> None:
    """Real engines or none: it measures, and starts nothing."""
    request = {"hash": False, "legs": {"containers": {"deadline_s": 30}}}
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(pyz), "measure"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (leg,) = json.loads(done.stdout)["legs"]
    assert leg["outcome"] == "ran", leg
    assert [m["check"] for m in leg["measurements"]] == [
        "containers.toolkit",
        "containers.runtime",
        "containers.cdi",
        "containers.reload",
    ]


# --- the policy ---------------------------------------------------------------------------------


def lock_with(runtime: str | None) -> StackLock:
    lock = apt_lock()
    return lock.model_copy(
        update={
            "spec": lock.spec.model_copy(update={"container_runtime": runtime}),
            "packages": [*lock.packages, _package(PACKAGE), _package(f"{PACKAGE}-base")],
        }
    )


@pytest.mark.parametrize(
    ("runtime", "checks"),
    [
        (None, {"toolkit", "cdi"}),
        ("docker", {"toolkit", "cdi", "runtime", "reload"}),
        ("podman", {"toolkit", "cdi", "runtime"}),
    ],
)
def test_what_is_expected_follows_the_lock_and_its_spec(
    runtime: str | None, checks: set[str]
) -> None:
    policy = compile_policy(lock_with(runtime))
    asked = {e.check for e in policy.expectations if e.check.startswith("containers.")}
    assert asked == {f"containers.{name}" for name in checks}
    assert ("containers" in policy.legs) is True


def test_a_lock_without_the_toolkit_asks_nothing_of_containers() -> None:
    policy = compile_policy(apt_lock())
    assert "containers" not in policy.legs


def test_a_container_is_run_only_when_an_image_was_named() -> None:
    policy = compile_policy(lock_with("docker"))
    assert "image" not in policy.request["legs"]["containers"]
    asked = with_image(policy, "cuda:13", daemon_reload=True)
    assert asked.request["legs"]["containers"]["image"] == "cuda:13"
    assert asked.expectations[-1].expect == {"daemon_reload": True}
    assert "image" not in policy.request["legs"]["containers"]
