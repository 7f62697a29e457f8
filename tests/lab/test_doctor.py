"""doctor on real hosts: over SSH, from the one file alone, with faults that the host shows."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cudactl import zipapp
from cudactl.lab.hosts import Lab, LabHost
from tests.lab.running import cudactl

pytestmark = pytest.mark.lab

SOURCE = "/etc/apt/sources.list.d/by-hand.list"
# Everything that doctor could have left behind; /proc and /run change by themselves.
FINGERPRINT = (
    "find / -xdev -newer /tmp/before "
    "-not -path '/proc/*' -not -path '/run/*' -not -path '/sys/*' -not -path '/dev/*' "
    "-not -path '/var/log/*' -not -name before -type f"
)


def doctor(lab: Lab, host: LabHost, *more: str) -> dict[str, Any]:
    done = cudactl("doctor", host.name, "-i", str(lab.inventory), "--json", *more)
    (row,) = json.loads(done.stdout)
    assert row["error"] is None, row
    found: dict[str, Any] = row["diagnosis"]
    return found


def test_a_host_as_it_was_made_has_nothing_broken(lab: Lab, ubuntu_host: LabHost) -> None:
    assert doctor(lab, ubuntu_host)["verdict"] != "broken"


def test_the_one_file_copied_to_a_host_is_enough_and_leaves_nothing(
    lab: Lab, debian_host: LabHost, tmp_path: Path
) -> None:
    local = tmp_path / "cudactl.pyz"
    zipapp.write(local)
    copy = ["scp", "-q", "-F", str(lab.ssh_config), str(local), f"{debian_host.name}:/tmp/"]
    subprocess.run(copy, check=True)
    debian_host.exec(["sh", "-c", "sleep 1; touch /tmp/before; sleep 1"])
    call = ["ssh", "-F", str(lab.ssh_config), debian_host.name, "python3 /tmp/cudactl.pyz doctor"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert "on the PCI bus" in done.stdout
    assert debian_host.exec(["sh", "-c", FINGERPRINT]).split() == []
    debian_host.exec(["rm", "/tmp/cudactl.pyz", "/tmp/before"])


def test_conflicting_keys_are_named_before_apt_does_it_less_well(
    lab: Lab, fresh_host: Callable[[str], LabHost]
) -> None:
    """apt itself refuses to read its list; doctor says which two files, and mends it."""
    host = fresh_host("debian-12")
    assert lab.mirror is not None
    line = f"deb [signed-by=/usr/share/keyrings/{{}}] {lab.mirror.url}/cuda/repos/debian12/x86_64 /"
    for name, key in (("cuda.list", "a.gpg"), ("by-hand.list", "b.gpg")):
        text = line.format(key)
        host.exec(["sh", "-c", f"echo '{text}' > /etc/apt/sources.list.d/{name}"])
    said = host.exec(["sh", "-c", "apt-get update 2>&1 || true"])
    assert "Conflicting values set for option Signed-By" in said
    first = doctor(lab, host)["findings"][0]
    assert first["code"] == "DOCTOR-APT-SIGNED-BY"
    host.exec(["sh", "-c", first["remedy"][0].split(": ", 1)[1].replace("sudo ", "")])
    assert "Conflicting" not in host.exec(["sh", "-c", "apt-get update 2>&1 || true"])


def test_a_half_configured_package_of_a_real_dpkg_is_seen(
    lab: Lab, fresh_host: Callable[[str], LabHost]
) -> None:
    host = fresh_host("ubuntu-24.04")
    make = (
        "mkdir -p /tmp/p/DEBIAN && cd /tmp/p/DEBIAN && "
        "printf 'Package: nvidia-dkms-580-open\\nVersion: 580.95.05-1\\nArchitecture: all\\n"
        "Maintainer: a <a@example.org>\\nDescription: a fixture\\n' > control && "
        "printf '#!/bin/sh\\nexit 1\\n' > postinst && chmod 755 postinst && "
        "dpkg-deb -b /tmp/p /tmp/p.deb >/dev/null && dpkg -i /tmp/p.deb; true"
    )
    host.exec(["sh", "-c", make])
    found = doctor(lab, host)
    assert found["findings"][0]["code"] == "DOCTOR-DPKG-HALF"
    assert "nvidia-dkms-580-open: install ok half-configured" in found["findings"][0]["seen"]


def test_a_bundle_comes_over_ssh_without_the_hosts_name(
    lab: Lab, ubuntu_host: LabHost, tmp_path: Path
) -> None:
    place = tmp_path / "evidence.tar.gz"
    doctor(lab, ubuntu_host, "--bundle", str(place), "--sudo")
    name = ubuntu_host.exec(["hostname"]).strip()
    with tarfile.open(place) as archive:
        names = archive.getnames()
        texts = [archive.extractfile(n).read().decode() for n in names]  # type: ignore[union-attr]
    assert names[0] == "cudactl-evidence/contents.txt"
    assert "cudactl-evidence/files/proc/version" in names
    assert not any(name in text for text in texts)
    assert ubuntu_host.address not in "".join(texts)
