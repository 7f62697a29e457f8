"""dpkg and apt: half-done work, sources that contradict each other, names that mean another."""

from __future__ import annotations

import re
from typing import Dict, List, Optional

from .exam import DRIVER_PACKAGE, Exam
from .registry import BROKEN, CERTAIN, LIKELY, POSSIBLE, RISK, Seen, finding

LOCAL_REPOSITORY = r"(cuda-repo|(nvidia-driver|cudnn|nv-tensorrt)-local-repo).*"
DISTRIBUTION = re.compile(r"/(ubuntu|debian)(\d+)(?:/|$)")


@finding(
    "DOCTOR-DPKG-INTERRUPTED",
    "a run of dpkg was interrupted and never finished",
    "dpkg keeps a journal of what it is doing; what lies in /var/lib/dpkg/updates was never "
    "closed. "
    "apt refuses everything until it is.",
    explains=("DOCTOR-DPKG-HALF", "DOCTOR-DRIVER-SPLIT"),
)
def interrupted(exam: Exam) -> Optional[Seen]:
    if not exam.sign("packaging").get("interrupted") or exam.state.get("dpkg_locked"):
        return None
    return Seen(
        ["/var/lib/dpkg/updates is not empty, and no dpkg runs"],
        ["signs.packaging.interrupted"],
        ["sudo dpkg --configure -a"],
    )


@finding(
    "DOCTOR-DPKG-HALF",
    "packages are only half installed",
    "A package's own script failed while it was configured; for a driver mostly DKMS's build.",
)
def half(exam: Exam) -> Optional[Seen]:
    broken = exam.state.get("broken") or []
    if not broken or exam.state.get("dpkg_locked"):
        return None
    return Seen(
        ["%s: %s" % (one["name"], one["status"]) for one in broken[:5]],
        ["state.broken"],
        ["sudo dpkg --configure -a", "sudo apt-get -f install"],
        CERTAIN,
    )


def _addresses(exam: Exam) -> "Dict[str, List[Dict[str, object]]]":
    """Return address (as apt compares them) → the entries that name it."""
    found: "Dict[str, List[Dict[str, object]]]" = {}
    for source in exam.state.get("apt_sources") or []:
        for uri in source["uris"]:
            found.setdefault(uri.rstrip("/"), []).append(source)
    return found


@finding(
    "DOCTOR-APT-SIGNED-BY",
    "two apt sources name the same repository with different keys, so apt reads neither",
    "apt refuses the whole list with 'Conflicting values set for option Signed-By'. It happens "
    "when "
    "NVIDIA's cuda-keyring meets a source that somebody wrote by hand.",
    BROKEN,
    explains=("DOCTOR-APT-DUPLICATE",),
)
def signed_by(exam: Exam) -> Optional[Seen]:
    for uri, entries in sorted(_addresses(exam).items()):
        keys = {str(one["signed_by"] or "none named") for one in entries}
        if len(keys) > 1:
            files = list(dict.fromkeys(str(one["file"]) for one in entries))
            return Seen(
                [
                    uri,
                    *(
                        "%s: Signed-By %s" % (e["file"], e["signed_by"] or "is not set")
                        for e in entries
                    ),
                ],
                ["state.apt_sources"],
                [
                    "keep one of them (cuda-keyring's own is cuda-DISTRO-ARCH.list): sudo rm "
                    + files[-1],
                    "sudo apt-get update",
                ],
            )
    return None


@finding(
    "DOCTOR-APT-DUPLICATE",
    "the same repository is named twice",
    "apt warns ('configured multiple times') and goes on; the next change of only one of them "
    "makes "
    "it an error.",
    RISK,
)
def duplicate(exam: Exam) -> Optional[Seen]:
    for uri, entries in sorted(_addresses(exam).items()):
        files = list(dict.fromkeys(str(one["file"]) for one in entries))
        if len(files) > 1:
            return Seen(
                [uri + " in " + " and ".join(files)],
                ["state.apt_sources"],
                ["sudo rm " + files[-1], "sudo apt-get update"],
            )
    return None


@finding(
    "DOCTOR-APT-STALE",
    "an NVIDIA source is for another release of the distribution",
    "After a release upgrade, NVIDIA's source often still names the old release: its packages are "
    "built for other library versions, and its driver for other kernels.",
    RISK,
    explains=("DOCTOR-DRIVER-SPLIT",),
)
def stale_source(exam: Exam) -> Optional[Seen]:
    system = exam.state.get("os") or {}
    here = (str(system.get("id")), str(system.get("version_id")).replace(".", ""))
    if here[0] not in ("ubuntu", "debian") or not here[1].isdigit():
        return None
    for source in exam.state.get("apt_sources") or []:
        for uri in source["uris"]:
            match = DISTRIBUTION.search(uri)
            if match and match.groups() != here:
                new = DISTRIBUTION.sub("/%s%s/" % here, uri)
                return Seen(
                    ["%s: %s, and this is %s %s" % (source["file"], uri, *here)],
                    ["state.apt_sources", "state.os"],
                    ["change it to " + new, "sudo apt-get update", "sudo apt-get dist-upgrade"],
                    CERTAIN,
                )
    return None


@finding(
    "DOCTOR-APT-LOCAL",
    "a local installer's repository is left behind: it never gets updates",
    "NVIDIA's 'deb (local)' installers unpack a repository to /var and add a file: source. It "
    "stays "
    "at the version of that day, and may offer another driver than the network's repository.",
    RISK,
)
def local_source(exam: Exam) -> Optional[Seen]:
    for source in exam.state.get("apt_sources") or []:
        local = [u for u in source["uris"] if u.startswith("file:")]
        if local and not source["ours"]:
            names = sorted(exam.names(LOCAL_REPOSITORY))
            return Seen(
                ["%s: %s" % (source["file"], local[0])],
                ["state.apt_sources"],
                [
                    "sudo apt-get purge " + " ".join(names)
                    if names
                    else "sudo rm " + source["file"],
                    "use the network's repository, or a bundle: cudactl stack bundle",
                ],
                LIKELY,
            )
    return None


@finding(
    "DOCTOR-TRANSITIONAL",
    "an installed package only stands for another: you have another driver branch than its name "
    "says",
    "Ubuntu turns old branches into transitional packages: nvidia-driver-535 installs 580. Whoever "
    "asked for 535 has 580.",
    RISK,
)
def transitional(exam: Exam) -> Optional[Seen]:
    if not exam.transitional:
        return None
    names = sorted(exam.transitional)
    return Seen(
        ["%s %s: %s" % (n, exam.packages.get(n, ""), exam.transitional[n]) for n in names[:3]],
        ["signs.packaging.transitional"],
        ["ask for the branch that you mean, then: sudo apt-get remove " + " ".join(names)],
    )


@finding(
    "DOCTOR-HELD-PARTLY",
    "some of the driver's packages are on hold and some are not",
    "The next upgrade moves the rest: apt then either refuses, or leaves two versions of the "
    "driver.",
    RISK,
)
def held_partly(exam: Exam) -> Optional[Seen]:
    holds = set(exam.state.get("holds") or [])
    driver = [name for name in exam.packages if DRIVER_PACKAGE.match(name)]
    held = sorted(holds.intersection(driver))
    free = sorted(set(driver) - holds)
    if not held or not free:
        return None
    return Seen(
        ["on hold: " + ", ".join(held[:4]), "not: " + ", ".join(free[:4])],
        ["state.holds", "state.packages"],
        ["sudo apt-mark hold " + " ".join(free), "or sudo apt-mark unhold " + " ".join(held)],
        POSSIBLE,
        ("metapackages that only depend on the held ones: those need no hold",),
    )
