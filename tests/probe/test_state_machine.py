"""`state`: services, container engines, CDI and the sort of machine it is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cudactl.contracts.state_machine import CdiSpec, ContainerRuntime, Platform, ServiceState
from cudactl.probe import engines, machine, units
from tests.probe.tree import make

Files = dict[str, str | bytes]


def services(root: units.Root) -> dict[str, tuple[bool, bool]]:
    """Unit → (enabled, active)."""
    found = {n: ServiceState.model_validate(s) for n, s in units.services(root).items()}
    return {name: (state.enabled, state.active) for name, state in found.items()}


SYSTEMD = "/usr/lib/systemd/system"


def test_a_unit_is_enabled_by_a_link_and_active_by_its_processes(tmp_path: Path) -> None:
    root = make(
        tmp_path,
        {
            f"{SYSTEMD}/nvidia-persistenced.service": "",
            f"{SYSTEMD}/docker.service": "",
            f"{SYSTEMD}/apt-daily-upgrade.timer": "",
            f"{SYSTEMD}/ssh.service": "",
            "/sys/fs/cgroup/system.slice/docker.service/cgroup.procs": "812\n",
            "/sys/fs/cgroup/system.slice/nvidia-persistenced.service/cgroup.procs": "",
        },
        {
            "/etc/systemd/system/multi-user.target.wants/nvidia-persistenced.service": "x",
            "/etc/systemd/system/timers.target.wants/apt-daily-upgrade.timer": "x",
        },
    )
    assert services(root) == {
        "nvidia-persistenced.service": (True, False),
        "docker.service": (False, True),
        "apt-daily-upgrade.timer": (True, False),
    }


def test_a_masked_unit_is_not_enabled(tmp_path: Path) -> None:
    root = make(
        tmp_path,
        {f"{SYSTEMD}/docker.service": ""},
        {
            "/etc/systemd/system/docker.service": "/dev/null",
            "/etc/systemd/system/multi-user.target.wants/docker.service": "x",
        },
    )
    assert services(root) == {"docker.service": (False, False)}


def test_udev_starts_the_persistence_daemon_on_ubuntu(tmp_path: Path) -> None:
    rule = 'ACTION=="add", KERNEL=="nvidia", TAG+="systemd", ENV{SYSTEMD_WANTS}="nvidia-persist'
    root = make(
        tmp_path,
        {
            f"{SYSTEMD}/nvidia-persistenced.service": "",
            "/usr/lib/udev/rules.d/71-nvidia.rules": rule + 'enced.service"\n',
        },
    )
    assert services(root) == {"nvidia-persistenced.service": (True, False)}


@pytest.mark.parametrize(
    ("own", "group"),
    [
        ("0::/init.scope", "/sys/fs/cgroup"),
        ("0::/docker/abc/init.scope", "/sys/fs/cgroup/docker/abc"),
        ("0::/\n9:name=systemd:/docker/abc/init.scope", "/sys/fs/cgroup/systemd/docker/abc"),
        ("0::/\n1:name=systemd:/", "/sys/fs/cgroup/systemd"),
        ("0::/init.scope", "/sys/fs/cgroup/unified"),
    ],
)
def test_services_run_in_any_sort_of_control_group(tmp_path: Path, own: str, group: str) -> None:
    files: Files = {
        "/proc/1/cgroup": own + "\n",
        f"{SYSTEMD}/docker.service": "",
        f"{group}/system.slice/docker.service/cgroup.procs": "1\n",
    }
    assert services(make(tmp_path, files)) == {"docker.service": (False, True)}


def test_processes_in_groups_below_a_service_are_its_own(tmp_path: Path) -> None:
    files: Files = {
        f"{SYSTEMD}/docker.service": "",
        "/sys/fs/cgroup/system.slice/docker.service/cgroup.procs": "",
        "/sys/fs/cgroup/system.slice/docker.service/cgroup.events": "populated 1\nfrozen 0\n",
    }
    assert services(make(tmp_path, files)) == {"docker.service": (False, True)}


def test_jobs_of_slurm_and_pods_with_gpus(tmp_path: Path) -> None:
    pods = [
        {"PodUID": "a", "ResourceName": "nvidia.com/gpu"},
        {"PodUID": "a", "ResourceName": "example.com/nic"},
        {"PodUID": "gone", "ResourceName": "nvidia.com/gpu"},
        "nonsense",
    ]
    root = make(
        tmp_path,
        {
            "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_41/step_0/cgroup.procs": "",
            "/sys/fs/cgroup/system.slice/slurmstepd.scope/system/cgroup.procs": "",
            "/sys/fs/cgroup/memory/slurm/uid_1000/job_42/tasks": "",
            "/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint": json.dumps(
                {"Data": {"PodDeviceEntries": pods}}
            ),
            "/var/lib/kubelet/pods/a/etc-hosts": "",
        },
    )
    assert units.jobs(root, ["slurm", "kubernetes"]) == {"slurm": 2, "kubernetes": 1}
    assert units.jobs(root, []) == {}


@pytest.mark.parametrize("text", ["[]", "{", '{"Data": 7}', '{"Data": {"PodDeviceEntries": 7}}'])
def test_a_spoilt_checkpoint_has_no_pods(tmp_path: Path, text: str) -> None:
    path = "/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint"
    assert units.jobs(make(tmp_path, {path: text}), ["kubernetes"]) == {"kubernetes": 0}


def engine(tmp_path: Path, files: Files, **packages: str) -> ContainerRuntime:
    (found,) = engines.runtimes(make(tmp_path, files), packages)
    return ContainerRuntime.model_validate(found)


DOCKER: Files = {"/usr/bin/dockerd": ""}
NVIDIA = {"path": "nvidia-container-runtime", "runtimeArgs": []}


@pytest.mark.parametrize(
    ("said", "nvidia", "default", "cdi"),
    [
        ({}, False, False, None),
        ({"runtimes": {"nvidia": NVIDIA}}, True, False, None),
        ({"runtimes": {"gpu": NVIDIA}, "default-runtime": "gpu"}, True, True, None),
        ({"runtimes": {"nvidia": NVIDIA}, "features": {"cdi": True}}, True, False, True),
        ({"runtimes": {"runsc": {"path": "/x"}}, "default-runtime": "runsc"}, False, False, None),
        ({"runtimes": [], "features": 3, "default-runtime": []}, False, False, None),
    ],
)
def test_docker(
    tmp_path: Path, said: dict[str, Any], nvidia: bool, default: bool, cdi: bool | None
) -> None:
    text = json.dumps(said).replace('"default-runtime": []', '"default-runtime": null')
    found = engine(tmp_path, {**DOCKER, "/etc/docker/daemon.json": text})
    assert found.config == "/etc/docker/daemon.json"
    assert (found.nvidia, found.default, found.cdi, found.problem) == (nvidia, default, cdi, None)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "[]", "\x00"])
def test_docker_with_a_spoilt_configuration_says_so(tmp_path: Path, text: str) -> None:
    found = engine(tmp_path, {**DOCKER, "/etc/docker/daemon.json": text})
    assert found.problem
    assert (found.nvidia, found.default, found.cdi) == (None, None, None)


def test_docker_without_a_configuration_and_from_a_snap(tmp_path: Path) -> None:
    found = engine(tmp_path / "a", DOCKER)
    assert (found.config, found.nvidia, found.default) == (None, False, False)
    files: Files = {
        "/snap/bin/docker": "",
        "/var/snap/docker/current/config/daemon.json": json.dumps({"runtimes": {"nvidia": {}}}),
    }
    found = engine(tmp_path / "b", files)
    assert found.config == "/var/snap/docker/current/config/daemon.json"
    assert found.nvidia


CONTAINERD = """\
version = 3
imports = [
  "conf.d/*.toml",  # ["not this"]
  "/etc/other.toml",
]
[plugins."io.containerd.cri.v1.runtime"]
  enable_cdi = false
[plugins.'io.containerd.cri.v1.runtime'.containerd]
  default_runtime_name = "runc"
"""
RUNTIME = """\
[plugins."io.containerd.cri.v1.runtime"]
enable_cdi = true
[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "gpu"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.gpu.options]
BinaryName = "/usr/bin/nvidia-container-runtime"
"""


def test_containerd_with_what_it_imports(tmp_path: Path) -> None:
    files: Files = {"/usr/bin/containerd": "", "/etc/containerd/config.toml": CONTAINERD}
    found = engine(tmp_path, files)
    assert (found.nvidia, found.default, found.cdi) == (False, False, False)
    found = engine(tmp_path, {"/etc/containerd/conf.d/99-nvidia.toml": RUNTIME})
    assert (found.nvidia, found.default, found.cdi) == (True, True, True)


def test_what_containerd_does_not_import_does_not_count(tmp_path: Path) -> None:
    files: Files = {
        "/usr/bin/containerd": "",
        "/etc/containerd/config.toml": "version = 2\n#imports = ['conf.d/*']\n",
        "/etc/containerd/conf.d/99-nvidia.toml": RUNTIME,
    }
    found = engine(tmp_path, files)
    assert (found.nvidia, found.default, found.cdi) == (False, False, None)


def test_containerd_without_a_configuration(tmp_path: Path) -> None:
    found = engine(tmp_path, {"/usr/bin/containerd": ""})
    assert (found.config, found.nvidia, found.default, found.cdi) == (None, False, False, None)


@pytest.mark.parametrize(
    "text",
    ["[" * 5000, "imports = [" * 2000, "=\n]\n[[x]]\n'=\"", "imports = 7", "a.b.c", "\x00=\x00"],
)
def test_a_spoilt_toml_is_read_as_far_as_it_goes(tmp_path: Path, text: str) -> None:
    files: Files = {"/usr/bin/containerd": "", "/etc/containerd/config.toml": text}
    assert engine(tmp_path, files).nvidia is False


def test_an_import_of_itself_ends(tmp_path: Path) -> None:
    files: Files = {
        "/usr/bin/containerd": "",
        "/etc/containerd/config.toml": "imports = ['config.toml', '../../../../../../*']\n",
    }
    assert engine(tmp_path, files).nvidia is False


@pytest.mark.parametrize(
    ("version", "cdi"),
    [("3.4.4+ds1-1", False), ("4.3.1+ds1", True), ("1:5.4.2-1", True), ("", None), ("x.y", None)],
)
def test_podman_takes_devices_by_cdi_from_4_1_on(
    tmp_path: Path, version: str, cdi: bool | None
) -> None:
    found = engine(tmp_path, {"/usr/bin/podman": ""}, podman=version)
    assert (found.nvidia, found.cdi) == (False, cdi)


def test_an_import_of_what_never_ends_is_left_alone(tmp_path: Path) -> None:
    files: Files = {
        "/usr/bin/containerd": "",
        "/etc/containerd/config.toml": "imports = ['conf.d/*']\n",
    }
    make(tmp_path, files, {"/etc/containerd/conf.d/zero": "/dev/zero"})
    os.mkfifo(tmp_path / "etc/containerd/conf.d/pipe")
    assert engine(tmp_path, {}).nvidia is False


def test_podman_with_the_hook_or_the_runtime(tmp_path: Path) -> None:
    hook = "/usr/share/containers/oci/hooks.d/oci-nvidia-hook.json"
    assert engine(tmp_path / "a", {"/usr/bin/podman": "", hook: "{}"}).nvidia
    files: Files = {
        "/usr/bin/podman": "",
        "/etc/containers/containers.conf": '[engine]\nruntime = "nvidia"\n[engine.runtimes]\n'
        'nvidia = ["/usr/bin/nvidia-container-runtime"]\n',
    }
    found = engine(tmp_path / "b", files)
    assert (found.nvidia, found.default) == (True, True)
    assert found.config == "/etc/containers/containers.conf"


def test_crio_with_a_file_beside_its_configuration(tmp_path: Path) -> None:
    files: Files = {
        "/usr/bin/crio": "",
        "/etc/crio/crio.conf.d/99-nvidia.conf": '[crio.runtime]\ndefault_runtime = "nvidia"\n'
        '[crio.runtime.runtimes.nvidia]\nruntime_path = "/usr/bin/nvidia-container-runtime"\n',
    }
    found = engine(tmp_path, files)
    assert (found.config, found.nvidia, found.default) == (None, True, True)


def test_what_slurm_sites_run(tmp_path: Path) -> None:
    files: Files = {"/usr/bin/enroot": "", "/etc/enroot/enroot.conf": ""}
    assert engine(tmp_path / "a", files).nvidia is False
    files["/etc/enroot/hooks.d/98-nvidia.sh"] = ""
    assert engine(tmp_path / "a", files).nvidia is False, "a hook that may not be run is none"
    (tmp_path / "a/etc/enroot/hooks.d/98-nvidia.sh").chmod(0o755)
    assert engine(tmp_path / "a", files).nvidia is True
    files = {
        "/usr/bin/apptainer": "",
        "/etc/apptainer/apptainer.conf": "always use nv = yes\n",
        "/etc/apptainer/nvliblist.conf": "libcuda.so\n",
    }
    found = engine(tmp_path / "b", files)
    assert (found.config, found.nvidia, found.default) == (
        "/etc/apptainer/apptainer.conf",
        True,
        True,
    )


def test_cdi_specifications_of_nvidias_name_the_driver(tmp_path: Path) -> None:
    yaml = "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ncontainerEdits:\n  mounts:\n"
    yaml += "  - hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05\n"
    files: Files = {
        "/etc/cdi/site.yaml": yaml,
        "/etc/cdi/other.yaml": "kind: example.com/nic\n",
        "/etc/cdi/notes.txt": yaml,
        "/var/run/cdi/nvidia.json": '{"hostPath": "/usr/lib64/libnvidia-ml.so.570.1"}',
        "/etc/cdi/nvidia-spoilt.yaml": b"\xff\x00/libcuda.so./libcuda.so.5",
    }
    found = [CdiSpec.model_validate(s) for s in engines.cdi(make(tmp_path, files))]
    assert [(s.path, s.driver) for s in found] == [
        ("/etc/cdi/nvidia-spoilt.yaml", None),
        ("/etc/cdi/site.yaml", "580.95.05"),
        ("/var/run/cdi/nvidia.json", "570.1"),
    ]


def platform(tmp_path: Path, files: Files, *, device: str = "2330", **packages: str) -> Platform:
    gpus = [{"address": "0000:01:00.0", "device": device}]
    return Platform.model_validate(machine.platform(make(tmp_path, files), gpus, packages))


def test_maker_and_dgx_os(tmp_path: Path) -> None:
    files: Files = {
        "/sys/class/dmi/id/sys_vendor": "NVIDIA\n",
        "/sys/class/dmi/id/product_name": "DGXH100\n",
        "/etc/dgx-release": 'DGX_NAME="DGX Server"\nDGX_SWBUILD_VERSION="6.0.11"\n'
        'DGX_OTA_VERSION="6.1.0"\nDGX_OTA_VERSION="6.3.2"\n',
    }
    found = platform(tmp_path, files)
    assert (found.vendor, found.product, found.dgx_os) == ("NVIDIA", "DGXH100", "6.3.2")
    assert platform(tmp_path / "b", {"/etc/dgx-release": ""}).dgx_os == "unknown"
    assert platform(tmp_path / "c", {}).dgx_os is None


def configuration(capability: bytes) -> bytes:
    """A GPU's PCI configuration with one capability before the vendor's own."""
    space = bytearray(256)
    space[0x34] = 0x60
    space[0x60:0x62] = bytes([0x05, 0x80])
    space[0x80 : 0x80 + len(capability)] = capability
    return bytes(space)


CONFIG = "/sys/bus/pci/devices/0000:01:00.0/config"


@pytest.mark.parametrize(
    ("content", "guest"),
    [
        (configuration(b"\x09\x00\x1bVF\x01"), True),
        (configuration(b"\x09\x00\x14\x01\x02\x03"), False),
        (b"\0" * 64, None),  # what everyone but root may read
        (b"\xff" * 256, False),
        # A chain of capabilities that leads back to itself ends.
        (b"\0" * 0x34 + b"\x40" + b"\0" * 11 + b"\x05\x40" + b"\0" * 190, False),
    ],
)
def test_a_vgpu_is_told_by_its_pci_capability(
    tmp_path: Path, content: bytes, guest: bool | None
) -> None:
    assert platform(tmp_path, {CONFIG: content}).vgpu_guest is guest


def test_a_vgpu_is_told_by_its_profile_or_its_driver(tmp_path: Path) -> None:
    path = "/proc/driver/nvidia/gpus/0000:01:00.0/information"
    assert platform(tmp_path / "a", {path: "Model: \t\t NVIDIA A40-48Q\n"}).vgpu_guest
    assert platform(tmp_path / "b", {path: "Model: \t\t NVIDIA H100 80GB\n"}).vgpu_guest is None
    packages = {"nvidia-linux-grid-535": "535.129.03"}
    assert platform(tmp_path / "c", {}, **packages).vgpu_guest
    bare = machine.platform(make(tmp_path / "d", {}), [], {})
    assert bare["vgpu_guest"] is None


def test_switches_and_mig_instances(tmp_path: Path) -> None:
    files: Files = {}
    for number, (vendor, kind) in enumerate(
        [("0x10de", "0x068000"), ("0x10de", "0x068000"), ("0x15b3", "0x068000")]
    ):
        files[f"/sys/bus/pci/devices/0000:0{number}:00.0/vendor"] = vendor + "\n"
        files[f"/sys/bus/pci/devices/0000:0{number}:00.0/class"] = kind + "\n"
    for instance in ("gpu0/mig/gi1", "gpu0/mig/gi2", "gpu1/mig/gi7", "mig/config"):
        files[f"/proc/driver/nvidia/capabilities/{instance}/access"] = ""
    found = platform(tmp_path, files)
    assert (found.nvswitches, found.mig_instances) == (2, 3)
    assert platform(tmp_path / "bare", {}).mig_instances is None
    assert platform(tmp_path / "no", {"/proc/driver/nvidia/version": ""}).mig_instances == 0


@pytest.mark.parametrize(
    ("device", "nvlink5"), [("2901", True), ("2330", False), ("", False), ("zz", False)]
)
def test_nvlink_5_is_told_by_the_function_that_manages_its_switches(
    tmp_path: Path, device: str, nvlink5: bool
) -> None:
    files: Files = {
        "/sys/class/infiniband/mlx5_0/device/vpd": b"\x82\x10\x00ConnectX-7",
        "/sys/class/infiniband/mlx5_1/device/vpd": b"\x82\x10\x00ConnectX-7 V0 SMDL=SW_MNG",
    }
    assert platform(tmp_path, files, device=device).nvlink5 is nvlink5


def test_alternatives_of_cuda(tmp_path: Path) -> None:
    links = {
        "/etc/alternatives/cuda": "/usr/local/cuda-13.0",
        "/etc/alternatives/cuda-13": "/usr/local/cuda-13.0",
        "/etc/alternatives/editor": "/bin/nano",
    }
    assert machine.alternatives(make(tmp_path, {}, links)) == {
        "cuda": "/usr/local/cuda-13.0",
        "cuda-13": "/usr/local/cuda-13.0",
    }
