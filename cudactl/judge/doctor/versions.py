"""Parts of the driver that do not belong together: loaded, on disk, libraries, packages."""

from __future__ import annotations

from typing import List, Optional

from .exam import SAME_VERSION, Exam, upstream
from .registry import BROKEN, CERTAIN, LIKELY, POSSIBLE, RISK, Seen, finding

ANSWERS = ("DOCTOR-NVML", "DOCTOR-CUDA-INIT")
MISMATCH = ("DOCTOR-VERSION-MISMATCH", "DOCTOR-REPLACED-LIBRARIES", "DOCTOR-REBOOT", *ANSWERS)
# CUDA major → the lowest driver branch that starts its programs (minor-version compatibility;
# CUDA 13.2.2 release notes: 13.x ≥ 580, 12.x ≥ 525, 11.x ≥ 450).
FLOOR = {"11": 450, "12": 525, "13": 580}


@finding(
    "DOCTOR-UNATTENDED",
    "unattended-upgrades changed the driver under the running module",
    "The distribution's automatic updates replaced the driver's libraries and modules on disk; the "
    "old module is still loaded, so new programs fail with a version mismatch until a reboot.",
    explains=("DOCTOR-OLD-MODULE", "DOCTOR-DRIVER-SPLIT", *MISMATCH),
)
def unattended(exam: Exam) -> Optional[Seen]:
    if not exam.loaded or exam.in_container:
        return None
    for run in reversed(exam.sign("packaging").get("history") or []):
        if "unattended-upgrade" not in str(run.get("command")):
            continue
        for change in run["changes"]:
            # Of those alone the version is the driver's: modules' packages have the kernel's.
            name, new = str(change["name"]), upstream(_new(str(change["versions"])))
            if not SAME_VERSION.match(name) or new == exam.loaded:
                continue
            if upstream(exam.packages.get(name, "")) == new:
                return Seen(
                    [
                        "%s: unattended-upgrades, %s (%s)"
                        % (run["start"], name, change["versions"]),
                        "loaded is %s" % exam.loaded,
                    ],
                    ["signs.packaging.history", "state.module.loaded"],
                    [
                        "reboot  (or stop everything on the GPUs and reload the module)",
                        "so that it does not come back: sudo apt-mark hold "
                        + " ".join(exam.driver_packages[:6]),
                        "or name them in Unattended-Upgrade::Package-Blacklist",
                    ],
                )
    return None


def _new(versions: str) -> str:
    """Return the version after an upgrade: "old, new" or "new, automatic"."""
    parts = [part.strip() for part in versions.split(",") if part.strip() != "automatic"]
    return parts[-1] if parts else ""


@finding(
    "DOCTOR-OLD-MODULE",
    "the driver on disk is not the one that is loaded: a reboot is pending",
    "The driver was changed on disk and the old module is still loaded. Programs that start now "
    "get "
    "the new libraries and fail with 'Driver/library version mismatch' (NVML 18) or cuInit 803.",
    explains=MISMATCH,
)
def old_module(exam: Exam) -> Optional[Seen]:
    if not exam.loaded or exam.in_container:
        return None
    there = {v for v in exam.on_disk(exam.running).values() if v}
    if not there or exam.loaded in there:
        return None
    libraries = sorted({f["version"] for f in exam.driver_files})
    return Seen(
        [
            "loaded %s, on disk for %s: %s" % (exam.loaded, exam.running, ", ".join(sorted(there))),
            *(["libraries: " + ", ".join(libraries)] if libraries else []),
        ],
        ["state.module.loaded", "signs.modules.files", "signs.loader.driver_files"],
        [
            "reboot",
            "or, with nothing on the GPUs: sudo systemctl stop nvidia-persistenced; sudo rmmod "
            "nvidia_uvm nvidia_drm nvidia_modeset nvidia; sudo modprobe nvidia",
        ],
    )


@finding(
    "DOCTOR-DRIVER-SPLIT",
    "parts of two driver versions are installed",
    "The driver's packages must all be of one version. A partial upgrade, a hold on some of "
    "them, or "
    "two repositories leave a mixture.",
    explains=("DOCTOR-VERSION-MISMATCH", *ANSWERS),
)
def driver_split(exam: Exam) -> Optional[Seen]:
    versions = exam.driver_versions
    if len(versions) < 2:
        return None
    fewest = min(versions.values(), key=len)
    held = sorted(set(exam.state.get("holds") or []) & {n for v in versions.values() for n in v})
    return Seen(
        ["%s: %s" % (v, ", ".join(sorted(names)[:4])) for v, names in sorted(versions.items())]
        + (["on hold: " + ", ".join(held)] if held else []),
        ["state.packages", "state.holds"],
        [
            *(["sudo apt-mark unhold " + " ".join(held)] if held else []),
            "apt-cache policy %s  (which source offers what)" % sorted(fewest)[0],
            "sudo apt-get install --only-upgrade " + " ".join(sorted(fewest)),
            "reboot",
        ],
    )


@finding(
    "DOCTOR-RUNFILE-CONFLICT",
    "a driver from NVIDIA's .run installer lies over the packaged one",
    "The .run installer writes into the same folders as the packages and is owned by none. The "
    "next "
    "update of either breaks the other.",
    BROKEN,
    explains=("DOCTOR-VERSION-MISMATCH", "DOCTOR-DRIVER-LIBRARIES", *ANSWERS),
)
def runfile_conflict(exam: Exam) -> Optional[Seen]:
    paths = _runfile(exam)
    if not paths or not exam.driver_packages:
        return None
    return Seen(
        [
            "%s belongs to no package" % paths[0],
            "installed: " + ", ".join(exam.driver_packages[:4]),
        ],
        ["state.vendor_files.foreign", "state.packages"],
        [
            "sudo nvidia-uninstall",
            "sudo apt-get install --reinstall " + " ".join(exam.driver_packages),
            "reboot",
        ],
    )


def _runfile(exam: Exam) -> List[str]:
    files = (exam.state.get("vendor_files") or {}).get("foreign") or []
    return [one["path"] for one in files if one["kind"] == "driver"]


@finding(
    "DOCTOR-RUNFILE",
    "the driver came from NVIDIA's .run installer: nothing updates it or rebuilds it",
    "apt knows nothing of it; a kernel update leaves the machine without a module unless DKMS was "
    "chosen in the installer.",
    RISK,
)
def runfile(exam: Exam) -> Optional[Seen]:
    paths = _runfile(exam)
    if not paths or exam.driver_packages:
        return None
    return Seen(
        ["%s belongs to no package" % path for path in paths[:2]],
        ["state.vendor_files.foreign"],
        ["sudo nvidia-uninstall", "then install the driver from a repository"],
    )


@finding(
    "DOCTOR-VERSION-MISMATCH",
    "the driver's libraries are of another version than the loaded module",
    "NVML answers 18 ('Driver/library version mismatch') and the kernel log says 'API mismatch' "
    "when "
    "the libraries that a program gets are not of the loaded module's version.",
    explains=ANSWERS,
)
def version_mismatch(exam: Exam) -> Optional[Seen]:
    if not exam.loaded:
        return None
    libraries = sorted({f["version"] for f in exam.driver_files} - {exam.loaded})
    right = any(f["version"] == exam.loaded for f in exam.driver_files)
    lines = exam.said(r"NVRM: API mismatch")
    if exam.nvml_code != 18 and not (libraries and not right):
        return None
    where = "container" if exam.in_container else "host"
    return Seen(
        ["loaded %s, libraries %s" % (exam.loaded, ", ".join(libraries) or "of that version, too")]
        + (["NVML answers 18"] if exam.nvml_code == 18 else [])
        + lines[-1:],
        ["state.module.loaded", "signs.loader.driver_files", "health.nvml"],
        [
            "a container brings its own driver libraries: take them out of the image; the runtime "
            "mounts the host's"
            if where == "container"
            else "reboot; if it stays: sudo apt-get install --reinstall "
            + " ".join(exam.driver_packages[:6] or ["the driver's packages"]),
        ],
        CERTAIN if exam.nvml_code == 18 else LIKELY,
        ("a pending reboot: then the module on disk would differ from the loaded one",),
    )


@finding(
    "DOCTOR-DRIVER-LIBRARIES",
    "the module is loaded, and libcuda or NVML is not installed",
    "A module without libcuda is what is left of a partial removal or of a headless set without "
    "its "
    "compute part; in a container it means that the runtime mounted nothing.",
    explains=ANSWERS,
)
def driver_libraries(exam: Exam) -> Optional[Seen]:
    if not exam.loaded or exam.wsl or not exam.read("loader"):
        return None
    if "gpu-operator" in (exam.state.get("owners") or []):
        return None  # its driver container holds them
    missing = [n for n in ("libcuda.so.1", "libnvidia-ml.so.1") if exam.first(n) is None]
    if not missing:
        return None
    branch = exam.loaded.split(".")[0]
    if exam.in_container:
        return Seen(
            ["%s is loaded, the container has no %s" % (exam.loaded, " and no ".join(missing))],
            ["signs.loader.found"],
            [
                "start the container with --gpus all, or --device nvidia.com/gpu=all (CDI)",
                "NVIDIA_DRIVER_CAPABILITIES must hold compute,utility",
            ],
            LIKELY,
        )
    return Seen(
        ["module %s is loaded" % exam.loaded, "not found: " + ", ".join(missing)],
        ["state.module.loaded", "signs.loader.found"],
        [
            "sudo apt-get install libnvidia-compute-%s  (Debian: libcuda1 libnvidia-ml1)" % branch,
            "sudo ldconfig",
        ],
        CERTAIN,
    )


@finding(
    "DOCTOR-DRIVER-TOO-OLD",
    "the driver is too old for the active CUDA toolkit",
    "Programs of a CUDA major start from a certain driver branch on: 11 from 450, 12 from 525, 13 "
    "from 580 (CUDA release notes). Older drivers answer 'driver version is insufficient' (35).",
    explains=("DOCTOR-CUDA-INIT",),
)
def driver_too_old(exam: Exam) -> Optional[Seen]:
    vendor = exam.state.get("vendor_files") or {}
    active = vendor.get("active_toolkit")
    home = next((t for t in vendor.get("toolkits") or [] if t["path"] == active), None)
    version = str((home or {}).get("version") or "")
    floor = FLOOR.get(version.split(".")[0])
    if not exam.loaded or floor is None or int(exam.loaded.split(".")[0]) >= floor:
        return None
    if exam.names(r"cuda-compat-[0-9-]+") and not any("GeForce" in m for m in exam.models):
        return None
    return Seen(
        ["driver %s, toolkit %s in %s needs %d" % (exam.loaded, version, active, floor)],
        ["state.module.loaded", "state.vendor_files"],
        [
            "install a driver of branch %d or newer" % floor,
            "or a toolkit of the driver's CUDA: nvidia-smi shows it at the top right",
            "on data-centre GPUs: cuda-compat-%s" % "-".join(version.split(".")[:2]),
        ],
    )


@finding(
    "DOCTOR-REPLACED-LIBRARIES",
    "running programs still use NVIDIA libraries that were replaced on disk",
    "They go on with the old files until they are restarted; those that load more of them later "
    "mix two versions.",
    RISK,
    needs="root (other users' processes)",
)
def replaced_libraries(exam: Exam) -> Optional[Seen]:
    using = exam.sign("processes").get("replaced") or []
    if not using:
        return None
    return Seen(
        ["%s (%d) maps %s (deleted)" % (u["name"], u["pid"], u["paths"][0]) for u in using[:5]],
        ["signs.processes.replaced"],
        ["restart: " + ", ".join("%s (%d)" % (u["name"], u["pid"]) for u in using[:8])],
    )


@finding(
    "DOCTOR-REBOOT",
    "the distribution asks for a reboot because of the driver or the kernel",
    "/run/reboot-required names packages that take effect only then.",
    RISK,
)
def reboot(exam: Exam) -> Optional[Seen]:
    named = [
        p
        for p in exam.sign("boot").get("reboot_for") or []
        if p.startswith(("nvidia", "libnvidia", "linux-image", "linux-modules", "linux-base"))
    ]
    if not exam.state.get("reboot_required") or not named:
        return None
    return Seen(
        ["/run/reboot-required for " + ", ".join(sorted(set(named))[:4])],
        ["state.reboot_required", "signs.boot.reboot_for"],
        ["reboot at the next occasion"],
        POSSIBLE,
    )
