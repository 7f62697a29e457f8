"""The modules that the driver's, the fabric's and the reboot's roles run on hosts.

They run here as Ansible runs them, with a machine's tools replaced by small scripts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.provision.test_container_modules import LIBRARY, load

KERNEL = "0.0.0-nowhere"


class Bench:
    """A folder of tools that stands first on the PATH, and what they were called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._calls = folder / "calls"
        self._calls.touch()

    def tool(self, name: str, script: str) -> None:
        """Put a shell script there."""
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self._calls}\n{script}\n')
        path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """The calls, in order."""
        return self._calls.read_text().splitlines()

    def run(self, module: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run a module and return its result."""
        asked = {"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check}}
        done = subprocess.run(
            [sys.executable, str(LIBRARY / f"{module}.py")],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}"},
        )
        found = json.loads(done.stdout)
        assert isinstance(found, dict), done.stderr
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# The initramfs ------------------------------------------------------------------------------------

HOLDS = "/etc/modprobe.d/cudactl-nouveau.conf"


@pytest.mark.parametrize(
    ("inside", "code"),
    [
        ("usr/lib/modules/x/kernel/nouveau.ko", "NOUVEAU-IN-INITRAMFS"),
        ("usr/lib/modules/x/kernel/nouveau.ko.zst", "NOUVEAU-IN-INITRAMFS"),
        ("usr/lib/modules/x/kernel/nouveau.ko etc/modprobe.d/cudactl-nouveau.conf", None),
        ("usr/lib/modules/x/kernel/ext4.ko", None),
    ],
)
def test_an_initramfs_that_could_load_nouveau_is_a_failure(
    bench: Bench, inside: str, code: str | None
) -> None:
    bench.tool("update-initramfs", "")
    bench.tool("lsinitramfs", f"printf '%s\\n' {inside}")
    done = bench.run("cudactl_initramfs", kernels=[KERNEL], holds=[HOLDS])
    assert bench.calls[0] == f"update-initramfs -u -k {KERNEL}"
    assert done.get("failed", False) == (code is not None)
    assert code is None or done["msg"].startswith(f"{code}: ")


def test_an_initramfs_that_cannot_be_made_says_why(bench: Bench) -> None:
    bench.tool("update-initramfs", "echo 'No space left on device' >&2; exit 1")
    done = bench.run("cudactl_initramfs", kernels=[KERNEL])
    assert done["msg"].startswith("INITRAMFS-FAILED: ")
    assert "No space left" in done["msg"]


def test_check_mode_makes_no_initramfs(bench: Bench) -> None:
    bench.tool("update-initramfs", "")
    assert bench.run("cudactl_initramfs", check=True, kernels=[KERNEL])["changed"]
    assert bench.calls == []


# The module ---------------------------------------------------------------------------------------


def test_without_headers_nothing_can_be_built(bench: Bench) -> None:
    bench.tool("dkms", "")
    done = bench.run("cudactl_dkms", version="580.95.05", kernels=[KERNEL], build=True)
    assert done["msg"].startswith("DKMS-NO-HEADERS: ")
    assert f"linux-headers-{KERNEL}" in done["msg"]
    assert bench.calls == []


def test_a_prebuilt_module_that_did_not_come_is_a_failure(bench: Bench) -> None:
    done = bench.run("cudactl_dkms", version="580.95.05", kernels=[KERNEL], build=False)
    assert done["msg"].startswith("MODULE-ABSENT: ")
    assert KERNEL in done["msg"]


# Services -----------------------------------------------------------------------------------------

UNIT = "nvidia-fabricmanager.service"


def systemctl(bench: Bench, enabled: str, *active: str) -> None:
    """Let systemctl say how the unit is enabled, and what it does, one word a question."""
    (bench.folder / "active").write_text("".join(f"{word}\n" for word in active))
    bench.tool(
        "systemctl",
        f'case "$1" in is-enabled) echo {enabled} ;;\n'
        f"is-active) cd {bench.folder}; head -n1 active; sed -i '1{{$!d}}' active ;; esac",
    )


def asked(bench: Bench) -> list[str]:
    """Return what systemctl was told to do, without the questions."""
    said = [c.removeprefix("systemctl ") for c in bench.calls if c.startswith("systemctl ")]
    return [c for c in said if not c.startswith("is-")]


def test_a_module_that_dkms_was_never_told_of_is_no_failed_build(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dkms = load("cudactl_dkms")

    class Machine:
        """Headers are there, dkms has nothing to do, and knows of nothing."""

        check_mode = False

        def __init__(self, **_: object) -> None:
            self.params = {"version": "1", "flavour": "", "kernels": [KERNEL], "build": True}

        def run_command(self, *_: object, **__: object) -> tuple[int, str, str]:
            return 0, "", ""

        def fail_json(self, msg: str) -> None:
            raise SystemExit(msg)

    monkeypatch.setattr(dkms, "AnsibleModule", Machine)
    monkeypatch.setattr(dkms, "build", lambda *_: (0, ""))
    with pytest.raises(SystemExit, match=r"DKMS-UNKNOWN: .*dkms add -m nvidia -v 1"):
        dkms.main()


def test_a_disabled_unit_is_enabled_without_a_reload_of_systemd(bench: Bench) -> None:
    systemctl(bench, "disabled", "inactive")
    assert bench.run("cudactl_units", enable=[UNIT])["units"] == [UNIT]
    assert asked(bench) == [f"--no-reload enable {UNIT}"]


@pytest.mark.parametrize("word", ["enabled", "static"])
def test_an_enabled_unit_is_left_alone(bench: Bench, word: str) -> None:
    systemctl(bench, word, "inactive")
    assert not bench.run("cudactl_units", enable=[UNIT])["changed"]
    assert asked(bench) == []


def test_a_masked_unit_is_unmasked_first(bench: Bench) -> None:
    systemctl(bench, "masked", "inactive")
    bench.run("cudactl_units", enable=[UNIT])
    assert asked(bench) == [f"--no-reload {verb} {UNIT}" for verb in ("unmask", "enable")]


def test_a_unit_that_no_package_brought_is_a_failure(bench: Bench) -> None:
    systemctl(bench, "not-found", "inactive")
    assert bench.run("cudactl_units", enable=[UNIT])["msg"].startswith("UNIT-ABSENT: ")


def test_what_udev_would_start_is_masked_to_keep_it_from_starting(bench: Bench) -> None:
    systemctl(bench, "static", "active")
    assert bench.run("cudactl_units", disable=[UNIT])["changed"]
    assert asked(bench)[-1] == f"--no-reload mask {UNIT}"


def test_a_unit_is_waited_for_until_it_is_ready(bench: Bench) -> None:
    systemctl(bench, "enabled", "inactive", "activating", "active")
    done = bench.run("cudactl_units", start=[UNIT], ready_s=20)
    assert done["units"] == [UNIT]
    assert f"--no-block start {UNIT}" in asked(bench)
    assert [c for c in bench.calls if "is-active" in c][2:], "it asked until it was ready"


@pytest.mark.parametrize(
    ("words", "seconds", "code"),
    [
        (("inactive", "failed"), 20, "UNIT-FAILED"),
        (("inactive", "activating"), 0, "UNIT-NOT-READY"),
    ],
)
def test_a_unit_that_does_not_get_ready_is_shown_with_its_journal(
    bench: Bench, words: tuple[str, ...], seconds: int, code: str
) -> None:
    systemctl(bench, "enabled", *words)
    bench.tool("journalctl", "echo 'request to query NVSwitch device information failed'")
    done = bench.run("cudactl_units", start=[UNIT], ready_s=seconds)
    assert done["msg"].startswith(f"{code}: {UNIT}")
    assert "NVSwitch device information failed" in done["msg"]


def test_a_unit_that_the_boot_starts_is_only_waited_for(bench: Bench) -> None:
    systemctl(bench, "enabled", "activating", "active")
    assert not bench.run("cudactl_units", wait=[UNIT], ready_s=20)["changed"]
    assert asked(bench) == []


# The reload ---------------------------------------------------------------------------------------

RELOAD = load("cudactl_reload")


class Stopped(Exception):
    """The module came to its end."""


class FakeModule:
    """An AnsibleModule that writes down what is run."""

    check_mode = False

    def __init__(self, refusing: str | None = None, **params: Any) -> None:
        self.params = {"version": "580.95.05", "stop": [], "start": [], **params}
        self.ran: list[str] = []
        self.refusing = refusing
        self.said: dict[str, Any] = {}

    def run_command(self, command: Any, **_: Any) -> tuple[int, str, str]:
        words = command if isinstance(command, str) else " ".join(command)
        self.ran.append(words)
        return (1, "", "Module is in use") if words == self.refusing else (0, "", "")

    def fail_json(self, **said: Any) -> None:
        self.said = said
        raise Stopped

    exit_json = fail_json


def reload(
    monkeypatch: pytest.MonkeyPatch, module: FakeModule, loaded: str | None = "580.95.05"
) -> FakeModule:
    there = ["nvidia_drm", "nvidia_modeset", "nvidia_uvm", "nvidia"]
    monkeypatch.setattr(RELOAD, "modules", lambda: there)
    monkeypatch.setattr(RELOAD, "loaded", lambda: loaded)
    monkeypatch.setattr(RELOAD, "TRIES", 1)
    monkeypatch.setattr(RELOAD.time, "sleep", lambda _: None)
    monkeypatch.setattr(RELOAD, "AnsibleModule", lambda **_: module)
    with pytest.raises(Stopped):
        RELOAD.main()
    return module


def test_a_reload_stops_unloads_loads_and_starts_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = ["nvidia-dcgm.service", "nvidia-persistenced.service"]
    done = reload(monkeypatch, FakeModule(stop=stop, start=stop[::-1]))
    assert done.said == {"changed": True, "loaded": "580.95.05"}
    assert done.ran[1:] == [
        *(f"systemctl stop {unit}" for unit in stop),
        *(f"rmmod nvidia{part}" for part in ("_drm", "_modeset", "_uvm", "")),
        *(f"modprobe nvidia{part}" for part in ("", "_uvm", "_modeset", "_drm")),
        *(f"systemctl start {unit}" for unit in stop[::-1]),
    ]


def test_a_module_that_is_held_runs_on_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = ["nvidia-persistenced.service"]
    done = reload(monkeypatch, FakeModule("rmmod nvidia_uvm", stop=stop))
    assert done.said["msg"].startswith("RELOAD-HELD: ")
    assert "Module is in use" in done.said["msg"]
    assert "rmmod nvidia" not in done.ran, "nothing more is unloaded"
    assert "modprobe nvidia_drm" in done.ran, "what was unloaded is loaded again"
    assert f"systemctl start {stop[0]}" in done.ran


def test_a_module_that_does_not_load_is_told_with_the_kernels_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = reload(monkeypatch, FakeModule("modprobe nvidia"))
    assert done.said["msg"].startswith("RELOAD-FAILED: ")


@pytest.mark.parametrize("loaded", [None, "575.57.08"])
def test_another_module_than_the_wanted_one_is_no_success(
    monkeypatch: pytest.MonkeyPatch, loaded: str | None
) -> None:
    done = reload(monkeypatch, FakeModule(), loaded)
    assert done.said["msg"].startswith("RELOAD-OTHER: ")
    assert str(loaded) in done.said["msg"]


# Evidence -----------------------------------------------------------------------------------------


def test_the_evidence_is_kept_for_root_and_the_oldest_goes(bench: Bench) -> None:
    bench.tool("dmesg", "echo 'NVRM: Xid 79'")
    base = bench.folder / "before-reboot"
    for age, name in enumerate(("zz-oldest", "older", "old")):
        (base / name).mkdir(parents=True)
        os.utime(base / name, (1000 + age, 1000 + age))
    folder = base / "boot"
    done = bench.run("cudactl_evidence", folder=str(folder), keep=2)
    assert done["changed"]
    assert (folder / "dmesg.txt").read_text() == "NVRM: Xid 79\n"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(p.name for p in base.iterdir()) == ["boot", "old", "older"]


def test_check_mode_keeps_no_evidence(bench: Bench) -> None:
    folder = bench.folder / "boot"
    bench.run("cudactl_evidence", check=True, folder=str(folder))
    assert not folder.exists()
