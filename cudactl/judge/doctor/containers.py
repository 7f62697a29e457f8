"""Container engines: not told of NVIDIA's runtime, told of one that is gone, an old picture."""

from __future__ import annotations

from typing import List, Optional

from .exam import Exam
from .registry import CERTAIN, LIKELY, POSSIBLE, RISK, Seen, finding

INSTALL = "sudo apt-get install nvidia-container-toolkit"
GENERATE = "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"


def _engines(exam: Exam) -> List[str]:
    there = list(exam.sign("containers").get("engines") or [])
    return there if exam.loaded and exam.gpus and not exam.in_container else []


def _specifications(exam: Exam) -> "List[dict[str, object]]":
    found = exam.sign("containers").get("cdi") or []
    return [one for one in found if str(one.get("kind")).startswith("nvidia.com/")]


@finding(
    "DOCTOR-DOCKER-JSON",
    "docker's configuration is no JSON: docker does not start with it",
    "/etc/docker/daemon.json was edited by hand, mostly with a comma too many.",
)
def docker_json(exam: Exam) -> Optional[Seen]:
    docker = exam.sign("containers").get("docker") or {}
    if not docker.get("error"):
        return None
    return Seen(
        ["%s: %s" % (docker["path"], docker["error"])],
        ["signs.containers.docker"],
        ["sudo python3 -m json.tool " + str(docker["path"]), "sudo systemctl restart docker"],
    )


@finding(
    "DOCTOR-RUNTIME-GONE",
    "docker is told of a runtime that is not installed",
    "daemon.json names nvidia-container-runtime and the program is not there: containers with that "
    "runtime (all, where it is the default) do not start.",
)
def runtime_gone(exam: Exam) -> Optional[Seen]:
    docker = exam.sign("containers").get("docker") or {}
    missing = docker.get("missing_binaries") or []
    if not missing:
        return None
    return Seen(
        ["%s names %s, which is not there" % (docker["path"], path) for path in missing],
        ["signs.containers.docker"],
        [
            INSTALL,
            "or take the runtime out of " + str(docker["path"]),
            "sudo systemctl restart docker",
        ],
    )


@finding(
    "DOCTOR-TOOLKIT-MISSING",
    "a container engine is there, and the NVIDIA Container Toolkit is not",
    "Without it 'docker run --gpus all' says 'could not select device driver' and podman knows no "
    "nvidia.com/gpu.",
    RISK,
)
def toolkit_missing(exam: Exam) -> Optional[Seen]:
    engines = _engines(exam)
    toolkit = exam.sign("containers").get("toolkit") or {}
    if not engines or toolkit.get("ctk") or toolkit.get("runtime"):
        return None
    if "gpu-operator" in (exam.state.get("owners") or []):
        return None  # it brings its own, elsewhere
    return Seen(
        [", ".join(engines) + " installed, no /usr/bin/nvidia-ctk"],
        ["signs.containers"],
        [
            INSTALL,
            "sudo nvidia-ctk runtime configure --runtime=%s" % engines[0]
            if engines[0] != "podman"
            else GENERATE,
        ],
        CERTAIN,
        ("no containers with GPUs are wanted here",),
    )


@finding(
    "DOCTOR-RUNTIME-UNCONFIGURED",
    "the NVIDIA Container Toolkit is installed, and the engine was never told",
    "Installing the toolkit changes no engine's configuration; 'nvidia-ctk runtime configure' "
    "does.",
    RISK,
)
def runtime_unconfigured(exam: Exam) -> Optional[Seen]:
    signs = exam.sign("containers")
    engines, toolkit = _engines(exam), signs.get("toolkit") or {}
    if not toolkit.get("ctk") or _specifications(exam):
        return None
    docker = signs.get("docker") or {}
    containerd = signs.get("containerd") or {}
    untold = []
    if "docker" in engines and "nvidia" not in (docker.get("runtimes") or []):
        untold.append("docker")
    kubernetes = "kubernetes" in (exam.state.get("owners") or [])
    if (
        "containerd" in engines
        and kubernetes
        and not (containerd.get("nvidia") or containerd.get("cdi"))
    ):
        untold.append("containerd")
    if "podman" in engines and "docker" not in engines and not signs.get("podman_hook"):
        untold.append("podman")
    if not untold:
        return None
    remedy = []
    for engine in untold:
        if engine == "podman":
            remedy.append(GENERATE)
        else:
            remedy.append("sudo nvidia-ctk runtime configure --runtime=" + engine)
            remedy.append("sudo systemctl restart " + engine)
    return Seen(
        ["nvidia-ctk is installed", "not told: " + ", ".join(untold), "no CDI specification"],
        ["signs.containers"],
        remedy,
    )


@finding(
    "DOCTOR-CDI-STALE",
    "the CDI specification describes another driver than the one that runs",
    "A CDI specification lists the driver's files by name, with the version in it. After a driver "
    "update it names files that are gone, and containers do not start or lack libraries.",
)
def cdi_stale(exam: Exam) -> Optional[Seen]:
    if not exam.loaded or exam.in_container:
        return None
    for one in _specifications(exam):
        versions = [str(v) for v in one.get("driver_versions") or []]  # type: ignore[attr-defined]
        missing = [str(p) for p in one.get("missing") or []]  # type: ignore[attr-defined]
        wrong = [v for v in versions if v != exam.loaded]
        if wrong or missing:
            seen = [
                "%s is for driver %s, loaded is %s" % (one["path"], version, exam.loaded)
                for version in wrong[:1]
            ]
            seen += ["%s names %s, which is not there" % (one["path"], p) for p in missing[:3]]
            return Seen(
                seen,
                ["signs.containers.cdi", "state.module.loaded"],
                [
                    "sudo nvidia-ctk cdi generate --output=" + str(one["path"]),
                    "so that it does not come back: sudo systemctl enable --now "
                    "nvidia-cdi-refresh.path"
                    "  (toolkit 1.18 and newer)",
                ],
            )
    return None


@finding(
    "DOCTOR-DAEMON-RELOAD",
    "running containers will lose their GPUs at the next 'systemctl daemon-reload'",
    "With the systemd cgroup driver, a reload writes the containers' device rules anew, and finds "
    "only device files that have a link in /dev/char. NVIDIA's have none unless somebody made "
    "them. "
    "Inside, NVML then says 'Unknown Error'.",
    RISK,
)
def daemon_reload(exam: Exam) -> Optional[Seen]:
    signs = exam.sign("containers")
    docker = signs.get("docker") or {}
    missing = exam.sign("nodes").get("missing_char_links") or []
    if (
        not missing
        or "docker" not in _engines(exam)
        or "nvidia" not in (docker.get("runtimes") or [])
    ):
        return None
    if "native.cgroupdriver=cgroupfs" in (docker.get("exec_opts") or []):
        return None
    mode = (signs.get("toolkit_settings") or {}).get("mode")
    if mode == "cdi" or (docker.get("cdi") is True and _specifications(exam)):
        return None
    return Seen(
        ["no %s" % link for link in missing[:3]]
        + [
            "docker uses the systemd cgroup driver" if signs.get("cgroup_v2") else "docker is there"
        ],
        ["signs.nodes.missing_char_links", "signs.containers.docker"],
        [
            "sudo nvidia-ctk system create-dev-char-symlinks --create-all",
            'and at every boot, by a udev rule: ACTION=="add", DEVPATH=="/bus/pci/drivers/nvidia", '
            'RUN+="/usr/bin/nvidia-ctk system create-dev-char-symlinks --create-all"',
            "or start containers by CDI: --device nvidia.com/gpu=all",
        ],
        LIKELY if signs.get("cgroup_v2") else POSSIBLE,
        # nvidia-container-toolkit#48, #1227, #1744; the default of 1.18 and newer is jit-cdi.
        ("with toolkit 1.18 and newer, --runtime=nvidia keeps them; --gpus does not",),
    )
