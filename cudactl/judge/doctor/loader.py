"""Which copy of a library programs get, and whose it should have been."""

from __future__ import annotations

import posixpath
from typing import Any, Dict, List, Optional

from .exam import Exam
from .registry import CERTAIN, LIKELY, POSSIBLE, RISK, Seen, finding

STUB_LIBRARY = 34  # CUDA_ERROR_STUB_LIBRARY
DRIVER = ("libcuda.so.1", "libnvidia-ml.so.1")
HOSTILE = {
    "CUDA_INJECTION64_PATH": "loads a library into every CUDA program",
    "CUDA_INJECTION32_PATH": "loads a library into every CUDA program",
    "NSIGHT_CUDA_DEBUGGER": "runs every CUDA program under a debugger",
    "CUDA_DEVICE_WAITS_ON_EXCEPTION": "stops every program at its first GPU exception",
    "CUDA_ENABLE_COREDUMP_ON_EXCEPTION": "writes a core dump at every GPU exception",
    "CUDA_PROFILE": "profiles every CUDA program",
    "CUDA_LAUNCH_BLOCKING": "makes every kernel launch wait, which costs much speed",
}


def _culprit(exam: Exam, one: Dict[str, Any]) -> str:
    """Return what put a folder into the loader's way."""
    if one["source"] == "LD_LIBRARY_PATH":
        return "LD_LIBRARY_PATH"
    folder = posixpath.dirname(one["path"])
    for line in exam.sign("loader").get("configured") or []:
        if line["folder"] == folder:
            return str(line["file"])
    return "ld.so.cache"


def _away_with(exam: Exam, one: Dict[str, Any]) -> List[str]:
    """Return how to take a folder out of the loader's way."""
    culprit, folder = _culprit(exam, one), posixpath.dirname(one["path"])
    if culprit == "LD_LIBRARY_PATH":
        return [
            "take %s out of LD_LIBRARY_PATH (grep -rn LD_LIBRARY_PATH ~/.bashrc ~/.profile "
            "/etc/profile.d /etc/environment)" % folder
        ]
    if culprit.startswith("/etc/"):
        return ["take %s out of %s" % (folder, culprit), "sudo ldconfig"]
    return ["find what put %s into ld.so's cache: ldconfig -p | grep %s" % (folder, one["soname"])]


@finding(
    "DOCTOR-STUB",
    "a stub of libcuda lies in front of the real one",
    "The toolkit brings lib64/stubs/libcuda.so to link against on machines without a driver. It "
    "answers every call with 34 (stub library). It belongs on the linker's path, never on the "
    "loader's.",
    explains=(
        "DOCTOR-CUDA-INIT",
        "DOCTOR-NVML",
        "DOCTOR-DRIVER-SHADOWED",
        "DOCTOR-DRIVER-LIBRARIES",
    ),
)
def stub(exam: Exam) -> Optional[Seen]:
    stubs = [one for one in exam.libraries if "/stubs/" in one["real"] or "/stubs/" in one["path"]]
    first = [one for one in stubs if exam.first(one["soname"]) is one]
    if not first and exam.init_code != STUB_LIBRARY:
        return None
    seen = ["%s, by %s" % (one["path"], _culprit(exam, one)) for one in first[:2]]
    seen += ["cuInit answers 34"] if exam.init_code == STUB_LIBRARY else []
    remedy = _away_with(exam, first[0]) if first else ["ldconfig -p | grep stubs"]
    return Seen(seen, ["signs.loader.found", "driver.libcuda"], remedy)


@finding(
    "DOCTOR-COMPAT-GEFORCE",
    "a forward-compatibility package is in use on a GPU that it is not for",
    "cuda-compat-* lets data-centre GPUs run a newer CUDA on an older driver. GeForce (and most "
    "workstation) cards refuse it: cuInit answers 804.",
    explains=("DOCTOR-CUDA-INIT", "DOCTOR-DRIVER-SHADOWED", "DOCTOR-COMPAT-OLD"),
)
def compat_geforce(exam: Exam) -> Optional[Seen]:
    used = [
        one for one in exam.libraries if "/compat" in one["path"] and one["soname"] == DRIVER[0]
    ]
    used = [one for one in used if exam.first(one["soname"]) is one]
    geforce = [m for m in exam.models if "GeForce" in m]
    if exam.init_code != 804 and not (used and geforce):
        return None
    names = sorted(exam.names(r"cuda-compat-[0-9-]+"))
    seen = ["cuInit answers 804"] if exam.init_code == 804 else []
    seen += ["%s comes first, by %s" % (used[0]["path"], _culprit(exam, used[0]))] if used else []
    return Seen(
        seen + geforce[:1],
        ["signs.loader.found", "signs.device.gpus", "driver.libcuda"],
        ["sudo apt-get remove " + " ".join(names) if names else "take the compat folder away"]
        + (_away_with(exam, used[0]) if used else [])
        + ["install a driver that is new enough instead"],
    )


@finding(
    "DOCTOR-COMPAT-OLD",
    "a forward-compatibility libcuda is in use that is older than the driver",
    "cuda-compat-* must be newer than the installed driver to be of use. After a driver update the "
    "old compat library is in the way: cuInit answers 803 or starts an older CUDA than the "
    "driver's.",
    explains=("DOCTOR-CUDA-INIT", "DOCTOR-DRIVER-SHADOWED"),
)
def compat_old(exam: Exam) -> Optional[Seen]:
    first = exam.first(DRIVER[0])
    if first is None or "/compat" not in first["path"] or not exam.loaded:
        return None
    version = first["real"].rsplit(".so.", 1)[-1]
    try:
        older = _parts(version) < _parts(exam.loaded)
    except ValueError:
        return None
    if not older and exam.init_code != 803:
        return None
    names = sorted(exam.names(r"cuda-compat-[0-9-]+"))
    return Seen(
        ["%s is %s, the driver %s" % (first["path"], version, exam.loaded)],
        ["signs.loader.found", "state.module.loaded"],
        (["sudo apt-get remove " + " ".join(names)] if names else []) + _away_with(exam, first),
    )


def _parts(version: str) -> List[int]:
    return [int(part) for part in version.split(".")]


def _shadowing(exam: Exam) -> List[Dict[str, Any]]:
    """Return the copies that lie in front of another that the machine's own packages brought."""
    found = []
    for one in exam.libraries:
        if exam.first(one["soname"]) is not one:
            continue
        others = [o for o in exam.libraries if o["soname"] == one["soname"] and o is not one]
        hidden = next((o for o in others if o["real"] != one["real"]), None)
        if hidden is not None and one["source"] != hidden["source"]:
            found.append(dict(one, hides=hidden["path"]))
    return found


@finding(
    "DOCTOR-DRIVER-SHADOWED",
    "another copy of the driver's library lies in front of the installed one",
    "libcuda and NVML must come from the installed driver; a copy in LD_LIBRARY_PATH (from an "
    "image, "
    "a tarball, another machine) is of another version sooner or later.",
    explains=("DOCTOR-VERSION-MISMATCH", "DOCTOR-CUDA-INIT", "DOCTOR-NVML"),
)
def driver_shadowed(exam: Exam) -> Optional[Seen]:
    hits = [one for one in _shadowing(exam) if one["soname"] in DRIVER]
    if exam.init_code in (None, 0):
        # A newer forward-compatibility library is meant to come first.
        hits = [one for one in hits if "/compat" not in one["path"]]
    if not hits:
        return None
    one = hits[0]
    return Seen(
        ["%s by %s comes before %s" % (one["path"], _culprit(exam, one), one["hides"])],
        ["signs.loader.found"],
        _away_with(exam, one),
    )


@finding(
    "DOCTOR-SHADOWED",
    "LD_LIBRARY_PATH puts other copies of CUDA's libraries in front of the installed ones",
    "The loader looks into LD_LIBRARY_PATH before ld.so's cache and before the paths inside Python "
    "wheels, so every program gets these copies, whichever it was built for.",
    RISK,
    needs="to be run with the environment of the programs that fail",
)
def shadowed(exam: Exam) -> Optional[Seen]:
    hits = [
        one
        for one in _shadowing(exam)
        if one["soname"] not in DRIVER and one["source"] == "LD_LIBRARY_PATH"
    ]
    if not hits:
        return None
    conda = exam.environment.get("CONDA_PREFIX")
    seen = ["%s comes before %s" % (one["path"], one["hides"]) for one in hits[:4]]
    if conda and hits[0]["path"].startswith(conda + "/"):
        seen.append("it belongs to the conda environment " + conda)
    return Seen(
        seen, ["signs.environment", "signs.loader.found"], _away_with(exam, hits[0]), LIKELY
    )


@finding(
    "DOCTOR-WHEEL-SHADOWED",
    "LD_LIBRARY_PATH makes Python wheels use other CUDA libraries than they brought",
    "PyTorch's and TensorFlow's wheels bring cuDNN and cuBLAS, found through a path inside the "
    "wheel. "
    "LD_LIBRARY_PATH is looked into first, so half of the set comes from elsewhere: "
    "CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH, or a crash.",
    RISK,
    explains=("DOCTOR-SHADOWED",),
    needs="to be run with the environment of the programs that fail",
)
def wheel_shadowed(exam: Exam) -> Optional[Seen]:
    first = {o["soname"]: o for o in exam.libraries if o["source"] == "LD_LIBRARY_PATH"}
    for brought in exam.signs.get("python") or []:
        for soname in brought["sonames"]:
            other = first.get(soname)
            if other is not None and posixpath.dirname(other["path"]) != brought["folder"]:
                return Seen(
                    [
                        "%s brought %s/%s" % (brought["kind"], brought["folder"], soname),
                        "LD_LIBRARY_PATH puts %s first" % other["path"],
                    ],
                    ["signs.python", "signs.environment"],
                    ["unset LD_LIBRARY_PATH  (for this program)", *_away_with(exam, other)],
                    LIKELY,
                )
    return None


@finding(
    "DOCTOR-CUDNN-MIX",
    "parts of different cuDNN versions lie in one folder",
    "cuDNN 9 is a front library and seven parts that must be of one version; a mixture fails at "
    "the "
    "first convolution with SUBLIBRARY_VERSION_MISMATCH. Copies by hand leave such sets.",
)
def cudnn_mix(exam: Exam) -> Optional[Seen]:
    return _mixed(exam, "cudnn", "libcudnn9-cuda-X libcudnn9-dev-cuda-X")


@finding(
    "DOCTOR-TENSORRT-MIX",
    "parts of different TensorRT versions lie in one folder",
    "libnvinfer, its plugins and the parser must be of one version. apt lets them float apart when "
    "only one of them is pinned.",
)
def tensorrt_mix(exam: Exam) -> Optional[Seen]:
    return _mixed(exam, "nv", "libnvinfer* libnvonnxparsers*, all with the same =VERSION")


def _mixed(exam: Exam, stem: str, packages: str) -> Optional[Seen]:
    for one in exam.sign("loader").get("sets") or []:
        by_major: Dict[str, Dict[str, List[str]]] = {}
        for part, versions in one["parts"].items():
            for version in versions if part.startswith(stem) else []:
                by_major.setdefault(version.split(".")[0], {}).setdefault(version, []).append(part)
        for versions_of in by_major.values():
            if len(versions_of) > 1:
                return Seen(
                    [
                        "%s: %s is %s" % (one["folder"], version, ", ".join(sorted(parts)[:4]))
                        for version, parts in sorted(versions_of.items())
                    ],
                    ["signs.loader.sets"],
                    [
                        "dpkg -S %s/lib%s*  (which of them belong to a package)"
                        % (one["folder"], stem),
                        "remove those that belong to none, then: sudo apt-get install --reinstall "
                        + packages,
                        "sudo ldconfig",
                    ],
                    CERTAIN,
                )
    return None


@finding(
    "DOCTOR-TOOLKITS",
    "several CUDA toolkits are there, and different things point to different ones",
    "/usr/local/cuda, PATH (nvcc), CUDA_HOME and the loader each choose a toolkit by themselves. "
    "Where they differ, programs are compiled with one and run with another.",
    RISK,
)
def toolkits(exam: Exam) -> Optional[Seen]:
    vendor = exam.state.get("vendor_files") or {}
    homes = [t["path"] for t in vendor.get("toolkits") or []]
    chosen: Dict[str, str] = {}
    if vendor.get("active_toolkit"):
        chosen["/usr/local/cuda"] = str(vendor["active_toolkit"])
    for path in exam.sign("loader").get("nvcc") or []:
        chosen.setdefault("nvcc in PATH", posixpath.dirname(posixpath.dirname(path)))
    for name in ("CUDA_HOME", "CUDA_PATH"):
        said = exam.environment.get(name, "").rstrip("/")
        if said and said != "/usr/local/cuda":
            chosen[name] = said
    known = {k: v for k, v in chosen.items() if v in homes}
    if len(homes) < 2 or len(set(known.values())) < 2:
        return None
    return Seen(
        ["%s → %s" % (name, path) for name, path in sorted(known.items())]
        + ["there are: " + ", ".join(homes)],
        ["state.vendor_files", "signs.loader.nvcc", "signs.environment"],
        [
            "sudo update-alternatives --config cuda  (sets /usr/local/cuda)",
            "put /usr/local/cuda/bin first in PATH; unset CUDA_HOME and CUDA_PATH",
        ],
        LIKELY,
    )


@finding(
    "DOCTOR-ENVIRONMENT",
    "a variable in the environment changes how every CUDA program runs",
    "Debuggers and profilers are switched on by variables that are easily left behind.",
    RISK,
    needs="to be run with the environment of the programs that fail",
)
def environment(exam: Exam) -> Optional[Seen]:
    there = [name for name in HOSTILE if exam.environment.get(name) not in (None, "", "0")]
    if not there:
        return None
    return Seen(
        ["%s=%s: %s" % (n, exam.environment[n], HOSTILE[n]) for n in there],
        ["signs.environment"],
        ["unset " + " ".join(there)],
        POSSIBLE,
    )


@finding(
    "DOCTOR-HIDDEN",
    "CUDA_VISIBLE_DEVICES hides every GPU",
    "An empty value, -1 or an id that does not exist makes CUDA see none: cuInit answers 100.",
    explains=("DOCTOR-CUDA-INIT",),
)
def hidden(exam: Exam) -> Optional[Seen]:
    said = exam.environment.get("CUDA_VISIBLE_DEVICES")
    if said is None or not exam.gpus:
        return None
    first = said.split(",")[0].strip()
    number = first.isdigit() and int(first) >= len(exam.gpus)
    if first not in ("", "-1", "none", "NoDevFiles") and not number:
        return None
    return Seen(
        ["CUDA_VISIBLE_DEVICES=%r, %d GPUs" % (said, len(exam.gpus))],
        ["signs.environment"],
        ["unset CUDA_VISIBLE_DEVICES"],
    )
