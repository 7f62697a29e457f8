"""A second opinion on stacks: the catalogue's tables judged by other code than the solver's.

The two share the CSV files and nothing else, so a mistake in one shows as a disagreement. Every
rule here is a few lines; an objection is hard (the stack cannot stand) or soft (the facts are
silent, contested or arguable). `why_not` names the hard ones of a chosen stack; `brute_force.py`
asks whether any stack would do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.stack.catalogue_rows import (
    FILES,
    LISTED,
    Row,
    fits,
    full,
    gpus_of,
    known_drivers,
    minor,
    number,
    row,
    table,
)

NO_DRIVER = ("none", "preinstalled")
Stack = dict[str, Any]
Objection = tuple[str, str]
"""Grade ("hard" or "soft") and reason."""


def about_system(s: Stack) -> Iterator[Objection]:
    system = row("distributions", "name", s["os"])
    if system is None:
        yield "hard", f"nothing is known of {s['os']}"
        return
    if system["architectures"] and s["arch"] not in system["architectures"].split():
        yield "soft", f"no repository seen for {s['os']} on {s['arch']}"
    for name in ("driver", "dcgm", "container_toolkit"):
        if s["packages"] == "wheels" and s.get(name):
            yield "hard", f"there are no wheels of {name}"
    toolkit = row("toolkits", "version", s.get("cuda") or "")
    if toolkit is None:
        return
    first, version = system["first_toolkit"], toolkit["version"]
    if s["packages"] == "apt" and number(minor(version)) < number(first):
        yield "hard", f"the repository of {s['os']} begins with CUDA {first}"
    if s["packages"] == "wheels" and row("components", "toolkit", version) is None:
        yield "soft", f"no wheels are known for CUDA {version}"
    if toolkit["glibc_max"] and number(system["glibc"]) > number(toolkit["glibc_max"]):
        yield "hard", f"nvcc {version} against glibc {system['glibc']}"
    if toolkit["gcc_max"] and number(system["gcc"])[0] > int(toolkit["gcc_max"]):
        yield "soft", f"nvcc {version} against gcc {system['gcc']}; another gcc may be installed"


def about_cuda_itself(s: Stack) -> Iterator[Objection]:
    for name in ("cudnn", "tensorrt", "tensorrt_rtx", "nccl"):
        if s.get(name) and not s.get("cuda"):
            yield "soft", f"{name} is built for one CUDA, and none is part of the stack"


def about_gpus_and_toolkit(s: Stack) -> Iterator[Objection]:
    toolkit = row("toolkits", "version", s.get("cuda") or "")
    for gpu in s["gpus"] if toolkit else ():
        sm, version = gpu["cc"].replace(".", ""), toolkit["version"]
        if toolkit["sm"] and sm not in toolkit["sm"].split():
            yield "hard", f"CUDA {version} does not compile for {gpu['name']} ({gpu['cc']})"
        if number(minor(version)) < number(gpu["first_toolkit"]):
            yield "hard", f"{gpu['name']} is compiled for from CUDA {gpu['first_toolkit']}"


def about_driver(s: Stack) -> Iterator[Objection]:
    driver, flavour = s.get("driver"), s.get("flavour")
    if not driver:
        return
    branch = row("drivers", "branch", driver.split(".")[0])
    if branch is None:
        yield "hard", f"there is no driver branch {driver.split('.')[0]}"
        return
    if flavour and flavour not in branch["flavours"].split():
        yield "hard", f"{branch['branch']} has no {flavour} kernel module"
    if s["driver_source"] == "nvidia" and driver not in known_drivers():
        yield "soft", f"driver {driver} is not in the tables"
    if s["driver_source"] == "distro" and not row("archive_drivers", "os", s["os"]):
        yield "soft", f"nothing is known of drivers in the archive of {s['os']}"
    if s["driver_source"] == "distro" and any(gpu["nvswitch"] == "yes" for gpu in s["gpus"]):
        own = [r for r in table("archive_drivers") if r["os"] == s["os"]]
        servers = [r for r in own if r["variant"].startswith("server-")]
        if not any(r["branch"] == branch["branch"] for r in servers):
            yield "hard", "a fabric manager goes with Ubuntu's -server series only"
    for gpu in s["gpus"]:
        if gpu["last_branch"] and int(branch["branch"]) > int(gpu["last_branch"]):
            yield "hard", f"{gpu['name']} ends with branch {gpu['last_branch']}"
        # A board may run on drivers older than the one it was first seen in, as long as they know
        # its chip.
        chip = [r["first_driver"] for r in table("gpus") if r["cc"] == gpu["cc"]]
        known = min((number(first) for first in chip if first), default=(0,))
        if int(branch["branch"]) < known[0]:
            yield "hard", f"{gpu['cc']} ({gpu['name']}) begins with driver branch {known[0]}"
        elif gpu["first_driver"] and number(full(driver)) < number(gpu["first_driver"]):
            yield "soft", f"{gpu['name']} was first seen in driver {gpu['first_driver']}"
        if (gpu["open_module"], flavour) in (
            ("unsupported", "open"),
            ("required", "proprietary"),
        ):
            yield "hard", f"{gpu['name']}: the open module is {gpu['open_module']}"


def about_driver_and_toolkit(s: Stack) -> Iterator[Objection]:
    toolkit, driver = row("toolkits", "version", s.get("cuda") or ""), s.get("driver")
    if toolkit is None or not driver:
        return
    if number(full(driver)) < number(toolkit["driver_minor"]):
        # Forward compatibility packages can lift this, on data-centre GPUs.
        lifted = bool(s["gpus"]) and all(g["data_centre"] == "yes" for g in s["gpus"])
        reason = f"CUDA {toolkit['version']} begins with driver {toolkit['driver_minor']}"
        yield ("soft" if lifted else "hard"), reason


def about_cudnn(s: Stack) -> Iterator[Objection]:
    cudnn = row("cudnn", "version", s.get("cudnn") or "")
    if cudnn is None:
        return
    major = (s.get("cuda") or "").split(".")[0]
    if major and major not in cudnn["cuda_majors"].split():
        yield "hard", f"cuDNN {cudnn['version']} is built for CUDA {cudnn['cuda_majors']}"
    for gpu in s["gpus"]:
        least = (cudnn["min_cc_cuda13"] if major == "13" else "") or cudnn["min_cc"]
        if least and number(gpu["cc"]) < number(least):
            grade = "soft" if "min_cc" in cudnn["contested"] else "hard"
            yield grade, f"cuDNN {cudnn['version']} needs {least}, {gpu['name']} has {gpu['cc']}"
        if not least and number(gpu["cc"]) < (7, 5):
            yield "soft", f"what cuDNN {cudnn['version']} needs at least is not known"


def about_tensorrt(s: Stack) -> Iterator[Objection]:
    tensorrt = row("tensorrt", "version", s.get("tensorrt") or "")
    if tensorrt is None:
        return
    name, cuda = f"TensorRT {tensorrt['version']}", s.get("cuda")
    builds = [number(b) for b in tensorrt["built_for_cuda"].split()]
    if cuda and not builds:
        # NVIDIA's change log: CUDA 11 ends before 10.13.2, CUDA 13 begins there.
        later = number(tensorrt["version"]) >= (10, 13, 2)
        known_not = number(cuda)[0] == (11 if later else 13)
        yield ("hard" if known_not else "soft"), f"what {name} is built for is not known"
    elif cuda and not any(
        b[0] == number(cuda)[0] and (b[0] <= 12 or b <= number(minor(cuda))) for b in builds
    ):
        yield "hard", f"{name} is built for CUDA {tensorrt['built_for_cuda']}"
    for gpu in s["gpus"]:
        if tensorrt["min_cc"] and number(gpu["cc"]) < number(tensorrt["min_cc"]):
            yield "hard", f"{name} needs {tensorrt['min_cc']}, {gpu['name']} has {gpu['cc']}"
        elif number(gpu["cc"]) < (7, 5) and not tensorrt["min_cc"]:
            yield "soft", f"what {name} needs at least is not known"
    if tensorrt["cudnn"] and s.get("cudnn") and not fits(s["cudnn"], tensorrt["cudnn"]):
        # Two majors of cuDNN can lie side by side.
        yield "soft", f"{name} loads cuDNN {tensorrt['cudnn']}"
    python = (row("distributions", "name", s["os"]) or {}).get("python")
    if tensorrt["pythons"] and python not in tensorrt["pythons"].split():
        yield "soft", f"{name} has no bindings for {python}"


def about_nccl(s: Stack) -> Iterator[Objection]:
    nccl, major = row("nccl", "version", s.get("nccl") or ""), (s.get("cuda") or "").split(".")[0]
    built = {build.split(".")[0] for build in nccl["built_for_cuda"].split()} if nccl else set()
    if major and built and major not in built:
        # The table lists the builds that were seen, and others may exist.
        yield "soft", f"NCCL {s['nccl']} was seen for CUDA {sorted(built)} only"


def about_tensorrt_rtx(s: Stack) -> Iterator[Objection]:
    rtx = row("tensorrt_rtx", "version", s.get("tensorrt_rtx") or "")
    if rtx is None:
        return
    if s.get("cuda") and s["cuda"].split(".")[0] not in rtx["cuda_majors"].split():
        yield "hard", f"TensorRT for RTX is built for CUDA {rtx['cuda_majors']}"
    if s["packages"] == "apt":
        yield "soft", "TensorRT for RTX is published as wheels"
    for gpu in s["gpus"]:
        if gpu["cc"].replace(".", "") not in rtx["sm"].split():
            yield "hard", f"TensorRT for RTX has no target for {gpu['name']}"


def about_frameworks(s: Stack) -> Iterator[Objection]:
    python = (row("distributions", "name", s["os"]) or {}).get("python")
    for name, version in s["frameworks"].items():
        known = row(name, "version", version)
        if known is None:
            yield "hard", f"there is no {name} {version}"
            continue
        if python not in known["pythons"].split():
            yield "hard", f"{name} {version} has no wheel for {python}"
        if s["arch"] == "sbsa" and known.get("sbsa") != "cuda":
            yield "soft", f"{name} {version} on Arm is not known to use a GPU"
        brings = known.get("cuda") or known.get("tested_cuda") or known.get("cuda_major") or ""
        carried = [t for t in table("toolkits") if brings and fits(t["version"], brings)]
        for gpu in s["gpus"]:
            if not any(gpu["cc"].replace(".", "") in t["sm"].split() for t in carried):
                yield "soft", f"{name} {version} brings CUDA {brings}, {gpu['name']} may not run it"
        if s.get("driver") and not any(
            number(full(s["driver"])) >= number(t["driver_minor"]) for t in carried
        ):
            yield "soft", f"{name} {version} brings CUDA {brings}, too new for {s['driver']}"
        if s.get("cuda") and not fits(s["cuda"], brings.split(".")[0]):
            yield "soft", f"{name} {version} brings CUDA {brings} beside {s['cuda']}"


RULES = (
    about_system,
    about_cuda_itself,
    about_gpus_and_toolkit,
    about_driver,
    about_driver_and_toolkit,
    about_cudnn,
    about_tensorrt,
    about_nccl,
    about_tensorrt_rtx,
    about_frameworks,
)


def objections(stack: Stack) -> list[Objection]:
    return [objection for rule in RULES for objection in rule(stack)]


def base(spec: Mapping[str, Any], gpus: list[Row]) -> Stack:
    return {
        "os": spec["os"],
        "arch": spec.get("arch", "x86_64"),
        "packages": spec.get("packages", "apt"),
        "driver_source": (spec.get("driver") or {}).get("source", "nvidia"),
        "gpus": gpus,
        "frameworks": {},
    }


def why_not(spec: Mapping[str, Any], resolved: Mapping[str, str], flavour: str | None) -> list[str]:
    """Why the stack that was chosen for a wish cannot be; empty: it is acceptable."""
    gpus = gpus_of(spec.get("gpus", []))
    if gpus is None:
        return ["a GPU is not known"]
    resolved = {name: value for name, value in resolved.items() if value not in NO_DRIVER}
    found: list[str] = []
    for name in LISTED:
        if name in spec and not fits(resolved.get(name, ""), spec[name]):
            found.append(f"{name} {spec[name]} was wished, {resolved.get(name)} was chosen")
        if name in resolved and not row(FILES.get(name, name), "version", resolved[name]):
            found.append(f"there is no {name} {resolved[name]}")
    wish = spec.get("driver") or {}
    if wish.get("branch") in NO_DRIVER:
        found += [f"no driver was wished, {d} was chosen" for d in [resolved.get("driver")] if d]
    elif wish.get("branch") and not fits(resolved.get("driver", ""), wish["branch"]):
        found.append(f"driver {wish['branch']} was wished, {resolved.get('driver')} was chosen")
    if "driver" in resolved and wish.get("flavour", "auto") not in ("auto", flavour):
        found.append(f"{wish['flavour']} was wished, {flavour} was chosen")
    parts = {name: resolved[name] for name in (*LISTED, "driver") if name in resolved}
    stack = {**base(spec, gpus), **parts, "flavour": flavour}
    return found + [reason for grade, reason in objections(stack) if grade == "hard"]
