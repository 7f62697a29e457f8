"""Every two facts of the catalogue that can meet are judged alike by two implementations.

Random wishes seldom fail for one reason only. Here each kind of meeting is gone through in full:
one GPU of each kind with every driver branch, every CUDA minor with every cuDNN, and so on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from cudactl.contracts.spec import OsName, StackSpec
from cudactl.stack.spec.check import check_spec
from tests.stack.brute_force import satisfiable
from tests.stack.catalogue_rows import minor, table
from tests.stack.independent import why_not

Wish = dict[str, Any]
SYSTEMS: tuple[str, ...] = get_args(OsName)
MINORS = list(dict.fromkeys(minor(r["version"]) for r in table("toolkits")))
BRANCHES = [r["branch"] for r in table("drivers")]
KINDS = list(
    {
        (r["cc"], r["open_module"], r["last_branch"], r["first_driver"], r["data_centre"]): r[
            "name"
        ]
        for r in table("gpus")
    }.values()
)
"""One GPU for each set of facts that a stack depends on."""


def alone(system: str = "ubuntu-22.04", **keys: Any) -> Wish:
    """A wish without a driver, on the system whose repository reaches back furthest."""
    return {"os": system, "driver": {"branch": "none"}, **keys}


def gpu_and_driver() -> Iterator[Wish]:
    for gpu, branch, flavour in itertools.product(KINDS, BRANCHES, ("open", "proprietary", "auto")):
        yield alone(gpus=[gpu], driver={"branch": branch, "flavour": flavour})


def gpu_and_its_default_driver() -> Iterator[Wish]:
    for gpu in KINDS:
        yield {"os": "ubuntu-24.04", "gpus": [gpu]}
    yield {"os": "ubuntu-24.04", "gpus": ["V100 PCIe 16GB", "B200 SXM"]}


def two_gpus() -> Iterator[Wish]:
    for pair in itertools.combinations(KINDS, 2):
        yield {"os": "ubuntu-24.04", "gpus": list(pair), "driver": {"branch": "580"}}


def gpu_and_toolkit() -> Iterator[Wish]:
    for gpu, cuda in itertools.product(KINDS, MINORS):
        yield alone(gpus=[gpu], cuda=cuda)


def system_and_toolkit() -> Iterator[Wish]:
    for system, row, packages in itertools.product(SYSTEMS, table("toolkits"), ("apt", "wheels")):
        yield alone(system, cuda=row["version"], packages=packages)


def driver_and_toolkit() -> Iterator[Wish]:
    for branch, cuda in itertools.product(BRANCHES, MINORS):
        yield alone(cuda=cuda, driver={"branch": branch})


def cudnn_and_toolkit() -> Iterator[Wish]:
    for row, cuda in itertools.product(table("cudnn"), MINORS):
        yield alone(cudnn=row["version"], cuda=cuda)


def tensorrt_and_toolkit() -> Iterator[Wish]:
    for row, cuda in itertools.product(table("tensorrt"), MINORS):
        yield alone(tensorrt=row["version"], cuda=cuda)


def library_and_gpu() -> Iterator[Wish]:
    for name, gpu in itertools.product(("cudnn", "tensorrt"), ("P40", "V100S", "T4", "B200 SXM")):
        for row in table(name):
            yield alone(**{name: row["version"]}, gpus=[gpu], cuda="12.9")


def archive_and_driver() -> Iterator[Wish]:
    for system, branch, flavour in itertools.product(
        ("ubuntu-22.04", "ubuntu-24.04", "ubuntu-26.04"), BRANCHES, ("open", "proprietary")
    ):
        driver = {"branch": branch, "flavour": flavour, "source": "distro"}
        yield alone(system, driver=driver)


def framework_and_system() -> Iterator[Wish]:
    for name, system in itertools.product(("torch", "tensorflow"), SYSTEMS):
        for row in table(name):
            if row["version"].replace(".", "").isdigit():
                yield {"os": system, "frameworks": {name: row["version"]}}


MEETINGS = (
    gpu_and_driver,
    gpu_and_its_default_driver,
    two_gpus,
    gpu_and_toolkit,
    system_and_toolkit,
    driver_and_toolkit,
    cudnn_and_toolkit,
    tensorrt_and_toolkit,
    library_and_gpu,
    archive_and_driver,
    framework_and_system,
)


@pytest.mark.parametrize("meeting", MEETINGS, ids=lambda meeting: meeting.__name__)
def test_every_pair_is_judged_alike(meeting: Any) -> None:
    different, verdicts = [], set()
    for wish in meeting():
        answer = check_spec(StackSpec.model_validate(wish))
        verdicts.add(answer.verdict == "refused")
        if answer.verdict == "refused":
            if satisfiable(wish, strict=True):
                different.append((wish, "refused", [f.text for f in answer.findings]))
        elif reasons := why_not(wish, answer.resolved, answer.driver_flavour):
            different.append((wish, "accepted", reasons))
        elif not satisfiable(wish):
            different.append((wish, "accepted", ["no row of the tables meets it"]))
    shown = "\n".join(f"{wish}\n  the solver {what} it: {why}" for wish, what, why in different[:8])
    assert not different, f"{len(different)} times, such as\n{shown}"
    assert verdicts == {True, False}, "both verdicts must occur, or the meeting shows nothing"
