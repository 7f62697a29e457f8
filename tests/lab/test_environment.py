"""Two toolkits and two engines on one real host: who finds what, and what a switch changes.

The engines are Debian's own dockerd and containerd, running; modules are Environment Modules.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cudactl.lab import hosts
from cudactl.lab.hosts import HostRequest, Lab, LabHost
from cudactl.lab.serve import serving
from cudactl.stack.bundle.repository import Deb, write_deb, write_index
from cudactl.stack.lock.file import read_lock
from tests.lab.running import plan_of, provision

pytestmark = pytest.mark.lab

ACTIVE_130 = """\
os: {os}
driver: {{branch: none}}
cuda: "13.0"
cuda_also: ["13.1"]
container_toolkit: "1"
container_runtime: [docker, containerd]
mirror: {{url: "{url}", key: "{key}"}}
"""
ACTIVE_131 = ACTIVE_130.replace('"13.0"', '"13.X"').replace('"13.1"', '"13.0"')
ACTIVE_131 = ACTIVE_131.replace('"13.X"', '"13.1"')
# What lets a dockerd run inside of a lab host, which may not touch the network.
NESTED = {
    "log-driver": "json-file",
    "bridge": "none",
    "iptables": False,
    "ip6tables": False,
    "ip-forward": False,
    "ip-masq": False,
    "userland-proxy": False,
    "storage-driver": "vfs",
}
CONTAINERD = """\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.example/pause:1"
"""


@pytest.fixture(scope="module")
def locks(make_lock: Callable[[str, str], Path]) -> tuple[Path, Path]:
    return make_lock(ACTIVE_130, "debian-12"), make_lock(ACTIVE_131, "debian-12")


@pytest.fixture(scope="module")
def host(lab: Lab) -> Iterator[LabHost]:
    """A host with engines and modules, as an administrator left it."""
    there = hosts.up([HostRequest("debian-12", "t-env")], say=print).host("t-env")
    there.exec(["apt-get", "update", "-qq"])
    packages = ["docker.io", "environment-modules", "unattended-upgrades"]
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends"
    there.exec(["sh", "-c", f"{install} {' '.join(packages)}"])
    files = {"/etc/docker/daemon.json": json.dumps(NESTED, indent=2)}
    files["/etc/containerd/config.toml"] = CONTAINERD
    for path, text in files.items():
        there.exec(["mkdir", "-p", str(Path(path).parent)])
        there.exec(["sh", "-c", f"printf '%s' '{text}' > {path}"])
    there.exec(["systemctl", "reset-failed", "docker"])
    there.exec(["systemctl", "restart", "containerd", "docker"])
    yield there
    hosts.down([there.name])


def ssh(lab: Lab, host: LabHost, command: str) -> str:
    """Run a command as people do: over SSH, as a user, without a profile."""
    done = subprocess.run(
        ["ssh", "-F", str(lab.ssh_config), host.name, command],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def release(text: str) -> str:
    found = re.search(r"release (\d+\.\d+)", text)
    assert found, text
    return found.group(1)


def everyone(lab: Lab, host: LabHost, module: str = "cuda") -> dict[str, str]:
    """The toolkit that each of them finds."""
    nvcc = "nvcc --version"
    unit = "EnvironmentFile=/etc/cudactl/cudactl-cuda.env"
    service = ["systemd-run", "--wait", "--pipe", "--quiet", "-p", unit, "sh", "-c", nvcc]
    use = "module use /opt/cudactl/modulefiles; module load"
    loader = host.exec(["sh", "-c", "ldconfig -p | grep -m1 'libcudart.so.13 '"]).split()[-1]
    real = host.exec(["readlink", "-f", loader])
    return {
        "login": release(ssh(lab, host, f"bash -lc '{nvcc}'")),
        "ssh": release(ssh(lab, host, nvcc)),
        "service": release(host.exec(service)),
        "module": release(ssh(lab, host, f"bash -lc '{use} {module}; {nvcc}'")),
        "loader": real.split("/cuda-")[1].split("/")[0],
    }


def all_of(version: str) -> dict[str, str]:
    return dict.fromkeys(("login", "ssh", "service", "module", "loader"), version)


def main_pid(host: LabHost, unit: str) -> str:
    return host.exec(["systemctl", "show", "-p", "MainPID", "--value", unit]).strip()


def test_toolkits_side_by_side_and_engines(
    lab: Lab, host: LabHost, locks: tuple[Path, Path]
) -> None:
    first, second = locks
    daemon = main_pid(host, "docker")
    plan = plan_of(host, lab, first)["plan"]
    (docker,) = [s for s in plan["steps"] if s["id"] == "container_runtime.docker"]
    assert "containers run on" in docker["summary"]
    provision(host, lab, first, check=0)

    # Whoever asks finds the toolkit that the spec calls the active one.
    assert everyone(lab, host) == all_of("13.0")
    assert everyone(lab, host, "cuda/13.1")["module"] == "13.1"

    # Docker was not restarted, knows the runtime, and kept what it was told before.
    assert main_pid(host, "docker") == daemon
    assert "nvidia" in host.exec(["docker", "info", "--format", "{{json .Runtimes}}"])
    said = json.loads(host.exec(["cat", "/etc/docker/daemon.json"]))
    assert {k: said[k] for k in NESTED} == NESTED
    assert list(said) == [*NESTED, "runtimes"]
    kept = host.exec(["cat", "/var/lib/cudactl/merged/etc/docker/daemon.json"])
    assert json.loads(kept) == NESTED

    # containerd, which below 2.0 would have lost the image to a plain drop-in, did not.
    dump = host.exec(["containerd", "config", "dump"])
    assert 'sandbox_image = "registry.example/pause:1"' in dump
    assert 'BinaryName = "/usr/bin/nvidia-container-runtime"' in dump
    assert host.exec(["systemctl", "is-active", "containerd"]).strip() == "active"

    # The other way round, and back: a link and the modules' default, no package, no engine.
    for lock, version in ((second, "13.1"), (first, "13.0")):
        steps = plan_of(host, lab, lock)["plan"]["steps"]
        assert [s["role"] for s in steps] == ["environment"]
        assert {c["name"] for c in steps[0]["changes"]} == {
            "/usr/local/cuda",
            "/opt/cudactl/modulefiles/cuda/.version",
        }
        provision(host, lab, lock, check=0)
        assert everyone(lab, host) == all_of(version)
    assert main_pid(host, "docker") == daemon


def test_unattended_upgrades_leaves_exactly_the_closure_and_upgrades_the_rest(
    lab: Lab, host: LabHost, locks: tuple[Path, Path], tmp_path: Path
) -> None:
    """The real unattended-upgrade, in a trial run, with newer versions at hand."""
    closure = {"cuda-cudart-13-0", "libcublas-13-1", "libnvidia-container1"}
    assert closure < {p.name for p in read_lock(locks[0]).packages}
    folder = tmp_path / "security"
    folder.mkdir()
    stanzas = [write_deb(Deb(name, "99:1", "amd64"), folder) for name in ("other", *closure)]
    write_index(folder, stanzas, key=None, origin="Security")
    old = tmp_path / "other.deb"
    write_deb(Deb("other", "1", "amd64"), tmp_path)
    (built,) = tmp_path.glob("other_1*.deb")
    built.rename(old)
    origin = 'Unattended-Upgrade::Origins-Pattern { "origin=Security"; };'
    host.exec(["sh", "-c", f"echo '{origin}' > /etc/apt/apt.conf.d/99trial"])
    pins = "/etc/apt/preferences.d/cudactl-lock.pref"
    assert lab.gateway is not None
    with serving(tmp_path, lab.gateway) as server:
        base = f"http://{server.address}:{server.port}"
        fetch = f"import urllib.request as u; u.urlretrieve('{base}/other.deb', '/tmp/other.deb')"
        host.exec(["python3", "-c", fetch])
        host.exec(["dpkg", "-i", "/tmp/other.deb"])
        line = f"deb [trusted=yes] {base}/security ./"
        host.exec(["sh", "-c", f"echo '{line}' > /etc/apt/sources.list.d/security.list"])
        host.exec(["apt-get", "update", "-qq"])

        def upgraded() -> set[str]:
            trial = "unattended-upgrade --dry-run -d 2>&1 | sed '/will be upgraded:/q'"
            said = host.exec(["sh", "-c", f'timeout 120 sh -c "{trial}"'])
            found = re.search(r"Packages that will be upgraded: (.*)", said)
            assert found, said[-3000:]
            return set(found.group(1).split())

        assert upgraded() == {"other"}
        # Without pins and holds the list alone still keeps it off; without the list, nothing does.
        host.exec(["mv", pins, "/tmp/pins"])
        host.exec(["sh", "-c", "apt-mark showhold | xargs apt-mark unhold"])
        assert upgraded() == {"other"}
        host.exec(["mv", "/etc/apt/apt.conf.d/cudactl-protection.conf", "/tmp/list"])
        assert upgraded() == {"other", *closure}
