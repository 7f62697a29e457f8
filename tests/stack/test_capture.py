"""From what is installed to the wish and the lock that say it; and what neither can say."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cudactl.contracts.capture import CaptureRemark
from cudactl.contracts.lock import StackLock
from cudactl.contracts.spec import MirrorSpec
from cudactl.contracts.state import HostState
from cudactl.lab.mirror import Mirror
from cudactl.provision.plan import make_plan
from cudactl.stack.capture.lock import REASON, capture_lock
from cudactl.stack.capture.packages import component_of, cuda_of
from cudactl.stack.capture.remarks import EXPLANATIONS, CaptureRefused
from cudactl.stack.capture.source import own_source
from cudactl.stack.capture.spec import CapturedSpec, capture_spec
from cudactl.stack.facts.catalogue import load_catalogue
from cudactl.stack.gpus.find import find_gpus
from cudactl.stack.index.apt import AptIndex, fetch_index
from cudactl.stack.lock.locking import apt_source
from cudactl.stack.spec.file import parse_spec
from cudactl.stack.spec.text import render_spec
from tests.provision.conftest import bare_state
from tests.stack.conftest import Locks
from tests.stack.test_lock_against_mirror import WISHES

ROOT = Path(__file__).parent.parent.parent
CUDA_13 = {
    "cuda-cudart-13-0": "13.0.96-1",
    "libcublas-13-0": "13.1.0.3-1",
    "cuda-toolkit-13-0-config-common": "13.0.96-1",
}


def host(packages: dict[str, str], os: str = "ubuntu-24.04", **more: Any) -> HostState:
    name, _, version = os.partition("-")
    identity = {"id": name, "version_id": version, "codename": None, "pretty": os}
    return bare_state(
        packages={"libc6": "2.39", **packages}, os={**identity, "look_alike": False}, **more
    )


def captured(packages: dict[str, str], os: str = "ubuntu-24.04", **more: Any) -> CapturedSpec:
    return capture_spec(host(packages, os, **more), "n1", load_catalogue())


def said(remarks: list[CaptureRemark]) -> dict[str, CaptureRemark]:
    found = {remark.code: remark for remark in remarks}
    assert len(found) == len(remarks), "one remark a code"
    return found


def vendor_files(**more: Any) -> dict[str, Any]:
    return {"active_toolkit": None, "toolkits": [], "foreign": [], "more": 0, **more}


@pytest.fixture
def index_of(mirror: Mirror, tmp_path: Path) -> Callable[..., tuple[AptIndex, MirrorSpec]]:
    def read(os: str, source: Mirror = mirror) -> tuple[AptIndex, MirrorSpec]:
        url = (source.root / source.url_path.strip("/")).as_uri()
        wish = captured(CUDA_13, os).spec
        place = MirrorSpec(url=url, key=str(source.key_file))
        spec = wish.model_copy(update={"mirror": place})
        distribution = load_catalogue().distribution(spec.os)
        return fetch_index(apt_source(spec, distribution, Path()), tmp_path / "cache"), place

    return read


Locked = Callable[..., tuple[StackLock | None, CapturedSpec, dict[str, CaptureRemark]]]


@pytest.fixture
def locked(index_of: Callable[..., tuple[AptIndex, MirrorSpec]]) -> Locked:
    """Capture packages of a host against the lab's mirror."""

    def run(
        packages: dict[str, str], os: str = "ubuntu-24.04", **more: Any
    ) -> tuple[StackLock | None, CapturedSpec, dict[str, CaptureRemark]]:
        index, place = index_of(os)
        more.setdefault("holds", sorted(packages))
        state = host(packages, os, **more)
        wish = capture_spec(state, "n1", load_catalogue(), place)
        lock, remarks = capture_lock(wish, state, index, load_catalogue())
        return lock, wish, said([*wish.remarks, *remarks])

    return run


def versions(lock: StackLock) -> dict[str, str]:
    return {p.name: p.version for p in lock.packages}


# --- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("os", ["ubuntu-24.04", "debian-12"])
@pytest.mark.parametrize("name", sorted(WISHES))
def test_a_provisioned_stack_is_captured_as_the_same_lock(
    lock_from: Locks, locked: Locked, os: str, name: str
) -> None:
    given_, _ = lock_from(os=os, **WISHES[name])
    boards = [g for n in given_.spec.gpus for g in find_gpus(load_catalogue(), n)]
    gpus = [{"address": "0", "device": g.pci_ids[0], "driver": None} for g in boards if g.pci_ids]
    lock, wish, remarks = locked(versions(given_), os, gpus=gpus)
    assert lock is not None
    assert lock.hash == given_.hash
    assert lock.resolved == given_.resolved
    assert lock.driver_flavour == given_.driver_flavour
    assert {p.name for p in lock.packages if p.top_level} == {
        p.name for p in given_.packages if p.top_level
    }
    assert lock.external == given_.external
    assert not remarks
    assert parse_spec(render_spec(wish.spec), "x") == wish.spec


@lru_cache
def whole_lock(root: Path, key: Path) -> tuple[AptIndex, StackLock]:
    from cudactl.contracts.spec import StackSpec
    from cudactl.stack.lock.locking import lock_stack

    values = {"os": "ubuntu-24.04", "mirror": {"url": root.as_uri(), "key": str(key)}}
    spec = StackSpec.model_validate({**values, **WISHES["whole stack"]})
    cache = root.parent / "capture-cache"
    lock, _ = lock_stack(spec, cache=cache)
    distribution = load_catalogue().distribution(spec.os)
    return fetch_index(apt_source(spec, distribution, Path()), cache), lock


@given(data=st.data())
@settings(
    max_examples=40,
    deadline=timedelta(seconds=20),
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_part_of_a_stack_is_locked_as_it_is(mirror: Mirror, data: st.DataObject) -> None:
    root = mirror.root / mirror.url_path.strip("/")
    index, given_ = whole_lock(root, mirror.key_file)
    every = versions(given_)
    names = data.draw(st.sets(st.sampled_from(sorted(every)), min_size=1))
    state = host({name: every[name] for name in names})
    place = MirrorSpec(url=root.as_uri(), key=str(mirror.key_file))
    wish = capture_spec(state, "n1", load_catalogue(), place)
    lock, remarks = capture_lock(wish, state, index, load_catalogue())
    left_out = {item.split(" ")[0] for remark in remarks for item in remark.items}
    if lock is None:
        assert names <= left_out
        return
    here = {p.name for p in lock.packages}
    assert names - here <= left_out, "nothing is left out in silence"
    assert here <= names
    for package in lock.packages:
        assert package.version == every[package.name]
        assert set(package.requires) <= here
    reached, queue = set(), [p.name for p in lock.packages if p.top_level]
    while queue:
        reached.add(name := queue.pop())
        found = lock.package(name)
        assert found is not None
        queue += [n for n in found.requires if n not in reached]
    assert reached == here, "everything follows from what is asked for by name"
    plan = make_plan("n1", lock, state, now=0.0)
    assert "packages.install" not in [step.id for step in plan.steps]


# --- the driver -----------------------------------------------------------------------------------

OPEN = {"libnvidia-compute-580": "580.95.05-1ubuntu1", "nvidia-dkms-580-open": "580.95.05-1ubuntu1"}
LOADED = {"loaded": "580.95.05", "flavour": "open", "on_disk": {}, "nouveau": False}


@pytest.mark.parametrize(
    ("packages", "module", "driver"),
    [
        (OPEN, None, {"branch": "580.95.05", "flavour": "open"}),
        (
            {
                "libnvidia-compute": "610.43.02-1ubuntu1",
                "nvidia-dkms": "610.43.02-1ubuntu1",
                "nvidia-kernel-common": "610.43.02-1ubuntu1",
            },
            None,
            {"branch": "610.43.02", "flavour": "proprietary"},
        ),
        (
            {"nvidia-driver-cuda": "590.48.01-1", "nvidia-kernel-open-dkms": "590.48.01-1"},
            None,
            {"branch": "590.48.01", "flavour": "open"},
        ),
        # Libraries only: what is loaded tells the flavour.
        (
            {"libnvidia-compute-580": "580.95.05-1ubuntu1"},
            LOADED,
            {"branch": "580.95.05", "flavour": "open"},
        ),
        ({"libnvidia-compute-580": "580.95.05-1ubuntu1"}, None, {"branch": "580.95.05"}),
        (
            {
                "libnvidia-compute-580": "580.178.04-0ubuntu0.24.04.1",
                "linux-modules-nvidia-580-open-generic": "6.8.0-151.151",
            },
            None,
            {"branch": "580.178.04", "flavour": "open", "source": "distro"},
        ),
        (CUDA_13, None, {"branch": "none"}),
        (CUDA_13, LOADED, {"branch": "preinstalled"}),
    ],
)
def test_the_driver_is_named_exactly(
    packages: dict[str, str], module: dict[str, Any] | None, driver: dict[str, str]
) -> None:
    more = {"module": module} if module is not None else {}
    found = captured(packages, **more)
    assert found.spec.driver is not None
    assert found.spec.driver.model_dump(exclude_unset=True) == driver
    foreign = "CAPTURE-DRIVER-FOREIGN" in said(found.remarks)
    assert foreign == (driver["branch"] == "preinstalled")


@pytest.mark.parametrize(
    "other", [{"loaded": "580.82.07"}, {"flavour": "proprietary"}, {"loaded": "580.82.07.1"}]
)
def test_a_module_that_is_not_the_installed_one_is_told(other: dict[str, str]) -> None:
    found = captured(OPEN, module={**LOADED, **other})
    assert found.spec.driver is not None
    assert found.spec.driver.branch == "580.95.05"
    assert "reboot" in said(found.remarks)["CAPTURE-DRIVER-NOT-LOADED"].remedy
    assert "CAPTURE-DRIVER-NOT-LOADED" not in said(captured(OPEN, module=LOADED).remarks)


# --- CUDA and the libraries -----------------------------------------------------------------------


def test_the_release_is_told_from_its_parts() -> None:
    # 13.0.2 and 13.0.0 have other cudart and cublas; there is no metapackage.
    assert captured(CUDA_13).spec.cuda == "13.0.2"
    older = {"cuda-cudart-13-0": "13.0.48-1", "libcublas-13-0": "13.0.0.19-1"}
    assert captured(older).spec.cuda == "13.0.0"


def test_where_no_release_can_be_told_the_minor_is() -> None:
    assert captured({"cuda-cudart-13-0": "13.0.7-1"}).spec.cuda == "13.0"


def test_a_part_that_was_moved_alone_is_told() -> None:
    found = captured({"cuda-toolkit-13-0": "13.0.0-1", "libcublas-13-0": "13.1.0.3-1"})
    assert found.spec.cuda == "13.0.0"
    assert said(found.remarks)["CAPTURE-MIXED"].items == ["libcublas-13-0 13.1.0.3-1"]


def test_a_metapackage_of_another_release_is_told() -> None:
    found = captured({"cuda-toolkit-13-0": "13.0.0-1", "cuda-libraries-13-0": "13.0.2-1"})
    assert found.spec.cuda == "13.0.0"
    assert said(found.remarks)["CAPTURE-MIXED"].items == ["cuda-libraries-13-0 13.0.2-1"]


TWO = {**CUDA_13, "cuda-cudart-12-9": "12.9.79-1", "libcudnn9-cuda-12": "9.13.0.50-1"}


@pytest.mark.parametrize(
    ("active", "cuda", "others"),
    [
        ("/usr/local/cuda-13.0", "13.0.2", {"cuda-cudart-12-9", "libcudnn9-cuda-12"}),
        # cudart of 12.9.1 is that of 12.9.2: which of the two is there, nothing tells.
        ("/usr/local/cuda-12.9", "12.9", set(CUDA_13)),
        (None, "13.0.2", {"cuda-cudart-12-9", "libcudnn9-cuda-12"}),
    ],
)
def test_of_two_minors_the_active_one_is_named(
    active: str | None, cuda: str, others: set[str], locked: Locked
) -> None:
    lock, wish, remarks = locked(TWO, vendor_files=vendor_files(active_toolkit=active))
    assert wish.spec.cuda == cuda
    assert {item.split()[0] for item in remarks["CAPTURE-OTHER-CUDA"].items} == others
    assert lock is not None
    assert not others & set(versions(lock))
    assert wish.spec.cudnn == ("9.13.0.50" if cuda.startswith("12") else None)


def test_an_active_toolkit_of_no_package_is_told() -> None:
    found = captured(TWO, vendor_files=vendor_files(active_toolkit="/usr/local/cuda-12.4"))
    assert found.spec.cuda == "13.0.2"
    assert said(found.remarks)["CAPTURE-ACTIVE-CUDA"].items == ["/usr/local/cuda-12.4"]


def test_epochs_and_builds_are_no_part_of_a_version() -> None:
    spec = captured(
        {
            **CUDA_13,
            "datacenter-gpu-manager-4-core": "1:4.5.2-1",
            "libnccl2": "2.28.9-1+cuda13.0",
            "libnvinfer10": "10.13.3.9-1+cuda13.0",
            "libcudnn9-cuda-13": "9.13.0.50-1",
        }
    ).spec
    assert (spec.dcgm, spec.nccl, spec.tensorrt, spec.cudnn) == (
        *("4.5.2", "2.28.9", "10.13.3.9"),
        "9.13.0.50",
    )


@pytest.mark.parametrize(
    ("name", "version", "key"),
    [
        ("nvidia-container-toolkit", "1.18.0~rc.1-1", "container_toolkit"),
        ("datacenter-gpu-manager", "1:3.3.9", "dcgm"),
    ],
)
def test_what_a_spec_cannot_say_is_told(name: str, version: str, key: str) -> None:
    found = captured({**CUDA_13, name: version})
    assert getattr(found.spec, key) is None
    assert said(found.remarks)["CAPTURE-NOT-SAYABLE"].items == [f"{name} {version}"]


def test_gpus_are_named_by_their_pci_ids() -> None:
    gpus = [
        {"address": "0000:01:00.0", "device": "2335", "driver": "nvidia"},
        {"address": "0000:02:00.0", "device": "2335", "driver": "nvidia"},
        {"address": "0000:03:00.0", "device": "ffff", "driver": None},
    ]
    found = captured(CUDA_13, gpus=gpus)
    assert found.spec.gpus == ["H200 SXM"]
    assert said(found.remarks)["CAPTURE-GPU-UNKNOWN"].items == ["0000:03:00.0 10de:ffff"]


# --- what is there and cannot be locked -----------------------------------------------------------


def test_every_origin_is_told_apart(locked: Locked) -> None:
    lock, wish, remarks = locked(
        {
            **CUDA_13,
            "cuda-keyring": "1.1-1",
            "libcudnn9-cuda-13": "9.99.0.1-1",
            "nvidia-cuda-toolkit": "12.0.140~12.0.1-4build4",
            "libnccl2": "2.28.9-0ubuntu1",
            "libnvidia-compute-580:i386": "580.95.05-1ubuntu1",
        },
        broken=[
            {"name": "libnvinfer10", "status": "install ok half-configured"},
            {"name": "vim", "status": "install ok unpacked"},
        ],
        vendor_files=vendor_files(
            foreign=[{"path": "/usr/local/lib/libcudnn.so.9", "kind": "library", "version": "9"}],
            more=3,
        ),
    )
    assert lock is not None
    assert set(versions(lock)) == set(CUDA_13)
    items = {code: remark.items for code, remark in remarks.items()}
    assert items["CAPTURE-OTHER-ORIGIN"] == [
        "libnccl2 2.28.9-0ubuntu1",
        "nvidia-cuda-toolkit 12.0.140~12.0.1-4build4",
    ]
    assert items["CAPTURE-NOT-IN-INDEX"][0].startswith("libcudnn9-cuda-13 9.99.0.1-1 (it has 9.28")
    assert items["CAPTURE-NO-COMPONENT"] == ["cuda-keyring 1.1-1"]
    assert items["CAPTURE-OTHER-ARCH"] == ["libnvidia-compute-580:i386 580.95.05-1ubuntu1"]
    assert items["CAPTURE-HALF-INSTALLED"] == ["libnvinfer10 (install ok half-configured)"]
    assert items["CAPTURE-FOREIGN"] == ["/usr/local/lib/libcudnn.so.9 (library 9)"]
    assert "3 more" in remarks["CAPTURE-FOREIGN"].text
    assert wish.spec.tensorrt is None


def test_a_half_installed_package_is_neither_in_the_spec_nor_in_the_lock(locked: Locked) -> None:
    # dpkg counts it as installed, and as broken.
    lock, wish, remarks = locked(
        {**CUDA_13, "libnccl2": "2.28.9-1+cuda13.0"},
        broken=[{"name": "libnccl2", "status": "install reinstreq installed"}],
    )
    assert lock is not None
    assert "libnccl2" not in versions(lock)
    assert wish.spec.nccl is None
    assert "CAPTURE-HALF-INSTALLED" in remarks


def test_a_runtime_alone_is_locked_as_it_is_and_the_rest_is_told(locked: Locked) -> None:
    lock, _, remarks = locked(CUDA_13)
    assert lock is not None
    assert versions(lock) == CUDA_13
    items = remarks["CAPTURE-OTHERWISE"].items
    assert "+ cuda-toolkit-13-0 13.0.2-1" in items
    assert all(item.startswith("+ ") for item in items)


def test_what_is_not_held_is_told(locked: Locked) -> None:
    _, _, remarks = locked(CUDA_13, holds=["libcublas-13-0"])
    assert [i.split()[0] for i in remarks["CAPTURE-NOT-HELD"].items] == [
        "cuda-cudart-13-0",
        "cuda-toolkit-13-0-config-common",
    ]


def test_nothing_lockable_gives_no_lock(locked: Locked) -> None:
    lock, _, remarks = locked({"libnvidia-compute-580": "580.178.04-0ubuntu0.24.04.1"})
    assert lock is None
    assert "CAPTURE-OTHER-ORIGIN" in remarks


def test_what_the_catalogue_refuses_and_can_be_overridden_is_marked_in_the_lock(
    lock_from: Locks, locked: Locked
) -> None:
    # TensorRT 11 for CUDA 13.2, installed beside CUDA 13.0 as somebody forced it.
    trt, _ = lock_from(driver={"branch": "none"}, cuda="13.3", tensorrt="11")
    cuda, _ = lock_from(driver={"branch": "none"}, cuda="13.0")
    packages = versions(cuda) | {p.name: p.version for p in trt.of("tensorrt")}
    lock, wish, _ = locked(packages)
    assert lock is not None
    assert (wish.spec.cuda, wish.spec.tensorrt) == ("13.0.2", "11.0.0.114")
    assert [(one.code, one.reason) for one in lock.allowed] == [("STACK-TENSORRT-CUDA", REASON)]


# --- machines of which no spec can be made --------------------------------------------------------


@pytest.mark.parametrize(
    ("packages", "more", "code", "shown"),
    [
        ({}, {}, "CAPTURE-NOTHING", "2 installed packages"),
        (
            {},
            {
                "vendor_files": vendor_files(
                    foreign=[
                        {"path": "/usr/local/cuda-12.4", "kind": "toolkit", "version": "12.4.1"}
                    ]
                ),
                "module": LOADED,
            },
            "CAPTURE-NOTHING",
            "/usr/local/cuda-12.4 (of no package), a loaded driver 580.95.05",
        ),
        (CUDA_13, {"os": "rocky-9.4"}, "CAPTURE-UNSUPPORTED-OS", "rocky-9.4"),
        (CUDA_13, {"machine": "riscv64"}, "CAPTURE-UNSUPPORTED-ARCH", "riscv64"),
    ],
)
def test_a_machine_without_a_spec_is_refused(
    packages: dict[str, str], more: dict[str, Any], code: str, shown: str
) -> None:
    packages = packages or {"bash": "5"}
    with pytest.raises(CaptureRefused) as caught:
        captured(packages, **more)
    assert caught.value.code == code
    assert shown in caught.value.found
    assert caught.value.remedy


# --- where the packages come from -----------------------------------------------------------------


def apt_source_entry(uri: str, *, ours: bool = False) -> dict[str, Any]:
    return {"file": f"/etc/apt/{ours}.list", "uris": [uri], "signed_by": None, "ours": ours}


@pytest.mark.parametrize(
    ("uris", "here", "url", "others"),
    [
        ([], True, None, 0),
        (
            ["https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64/"],
            False,
            None,
            0,
        ),
        (["http://m.example/cuda/ubuntu2404/x86_64"], False, "http://m.example/cuda", 0),
        (["http://m.example/cuda/ubuntu2204/x86_64"], False, None, 1),
        (["https://nvidia.github.io/libnvidia-container/stable/deb/amd64"], False, None, 1),
        # A folder of the host itself cannot be read from here.
        (["file:///srv/nvidia/ubuntu2404/x86_64/"], True, "file:///srv/nvidia", 0),
        (["file:///srv/nvidia/ubuntu2404/x86_64/"], False, None, 1),
        (
            ["http://a.example/ubuntu2404/x86_64/", "ours:http://b.example/ubuntu2404/x86_64/"],
            False,
            "http://b.example",
            1,
        ),
    ],
)
def test_the_index_is_the_machines_own(
    uris: list[str], here: bool, url: str | None, others: int
) -> None:
    entries = [apt_source_entry(u.removeprefix("ours:"), ours="ours:" in u) for u in uris]
    state = host(CUDA_13, apt_sources=entries)
    distribution = load_catalogue().distribution("ubuntu-24.04")
    source, remarks = own_source(state, distribution, "x86_64", here=here)
    assert (source.url if source else None) == url
    assert sum(len(remark.items) for remark in remarks) == others


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "component", "cuda"),
    [
        ("libcublas-13-0", "cuda", ("13", "13.0")),
        ("cuda-toolkit-12-config-common", "cuda", ("12", None)),
        ("cudnn9-cuda-13", "cudnn", ("13", None)),
        ("libcudnn8", "cudnn", None),
        ("cuda-drivers-580", "driver", None),
        ("libnvidia-container1", "container_toolkit", None),
        ("datacenter-gpu-manager-4-cuda13", "dcgm", None),
        ("nvidia-gds-13-0", "cuda", ("13", "13.0")),
        ("cuda-keyring", None, None),
        ("libcurl4", None, None),
        ("libnvme1", None, None),
        ("libcups2", None, None),
        ("libnpth0", None, None),
    ],
)
def test_names_tell_the_component(
    name: str, component: str | None, cuda: tuple[str, str | None] | None
) -> None:
    assert component_of(name) == component
    assert cuda_of(name) == cuda


def test_every_remark_has_an_explanation() -> None:
    used = set()
    for place in ("stack/capture/*.py", "workflow/capture*.py"):
        for path in (ROOT / "cudactl").glob(place):
            used |= set(re.findall(r'code="(CAPTURE-[A-Z-]+)"', path.read_text()))
            used |= set(re.findall(r'^            "(CAPTURE-[A-Z-]+)",$', path.read_text(), re.M))
    refusals = {"CAPTURE-NOTHING", "CAPTURE-UNSUPPORTED-OS", "CAPTURE-UNSUPPORTED-ARCH"}
    assert used - refusals - {"CAPTURE-NOTHING-TO-LOCK"} == set(EXPLANATIONS)
