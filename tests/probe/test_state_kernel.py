"""`state`: which kernel boots next, and what the driver's module is for each kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cudactl.contracts.state_kernel import DkmsBuild, KernelState, ModuleFile, ModuleState
from cudactl.probe import modules
from cudactl.probe.boot_loader import initramfs, next_boot, release_key
from cudactl.probe.hardware import module
from cudactl.probe.system import kernel
from tests.probe.tree import SIGNED, kernel_module, make, signature

GRUB = """\
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
else
   set default="DEFAULT"
fi
function gfxmode {
	set gfxpayload="${1}"
}
menuentry 'Ubuntu' --class ubuntu $menuentry_id_option 'gnulinux-simple-1f' {
	recordfail
	if [ x$grub_platform = xxen ]; then insmod xzio; fi
	linux	/boot/vmlinuz-6.8.0-101-generic root=UUID=1f ro
	initrd	/boot/initrd.img-6.8.0-101-generic
}
submenu 'Advanced options for Ubuntu' $menuentry_id_option 'gnulinux-advanced-1f' {
	menuentry 'Ubuntu, with Linux 6.8.0-101-generic' --class gnu $menuentry_id_option 'adv-101' {
		linux	/boot/vmlinuz-6.8.0-101-generic root=UUID=1f ro
	}
	menuentry 'Ubuntu, with Linux 6.8.0-31-generic' --class gnu $menuentry_id_option 'adv-31' {
		linux	/vmlinuz-6.8.0-31-generic root=UUID=1f ro
	}
}
menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {
	fwsetup
}
"""
VARIABLE = "/sys/firmware/efi/efivars/%s-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"


@pytest.mark.parametrize(
    ("default", "release"),
    [
        ("0", "6.8.0-101-generic"),
        ("1>1", "6.8.0-31-generic"),
        ("gnulinux-advanced-1f>adv-31", "6.8.0-31-generic"),
        ("Advanced options for Ubuntu>Ubuntu, with Linux 6.8.0-31-generic", "6.8.0-31-generic"),
        # The menu's first entry is what GRUB takes when its default was removed.
        ("gnulinux-advanced-1f>adv-17", "6.8.0-101-generic"),
        ("9", "6.8.0-101-generic"),
        ("uefi-firmware", None),
        ("99999999999999999999", "6.8.0-101-generic"),
    ],
)
def test_grub_boots_its_default(tmp_path: Path, default: str, release: str | None) -> None:
    root = make(tmp_path, {"/boot/grub/grub.cfg": GRUB.replace("DEFAULT", default)})
    assert next_boot(root) == release


def test_grub_boots_what_was_saved_and_first_what_was_asked_for_once(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "/boot/grub/grub.cfg": GRUB.replace("DEFAULT", "${saved_entry}"),
        "/boot/grub/grubenv": "# GRUB Environment Block\nsaved_entry=1>1\n####",
    }
    assert next_boot(make(tmp_path, files)) == "6.8.0-31-generic"
    once = {"/boot/grub/grubenv": "saved_entry=1>1\nnext_entry=adv-nothing>\n"}
    assert next_boot(make(tmp_path, dict(once))) == "6.8.0-101-generic"
    assert next_boot(make(tmp_path, {"/boot/grub/grubenv": "##\n"})) == "6.8.0-101-generic"


@pytest.mark.parametrize(
    "text",
    [
        "menuentry 'open {\n" * 5000,
        "}\n" * 100 + "submenu 'a' {\n" * 3000 + "}\n" * 3000,
        "set default=\x00\n" + "menuentry",
        "linux /boot/vmlinuz-1\n",
    ],
)
def test_a_spoilt_grub_menu_tells_nothing(tmp_path: Path, text: str) -> None:
    assert next_boot(make(tmp_path, {"/boot/grub/grub.cfg": text})) is None


def test_systemd_boot_takes_the_newest_that_its_default_admits(tmp_path: Path) -> None:
    entry = "title Debian\nversion %s\nlinux /x/%s/linux\n"
    files: dict[str, str | bytes] = {
        f"/boot/loader/entries/m-{version}.conf": entry % (version, version)
        for version in ("6.1.0-9-amd64", "6.1.0-31-amd64")
    }
    files["/boot/loader/entries/memtest.conf"] = "title memtest\nefi /memtest.efi\n"
    root = make(tmp_path, files)
    assert next_boot(root) == "6.1.0-31-amd64"
    make(tmp_path, {"/boot/loader/loader.conf": "timeout 3\ndefault m-6.1.0-9-*\n"})
    assert next_boot(root) == "6.1.0-9-amd64"
    once = b"\x07\0\0\0" + "m-6.1.0-31-amd64.conf\0".encode("utf-16-le")
    make(tmp_path, {VARIABLE % "LoaderEntryOneShot": once})
    assert next_boot(root) == "6.1.0-31-amd64"


def test_the_loader_that_started_the_machine_is_asked_first(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "/boot/grub/grub.cfg": GRUB.replace("DEFAULT", "0"),
        "/efi/loader/entries/a.conf": "linux /vmlinuz-6.1.0-9-amd64\n",
    }
    root = make(tmp_path, files)
    assert next_boot(root) == "6.8.0-101-generic"
    make(tmp_path, {VARIABLE % "LoaderInfo": "x"})
    assert next_boot(root) == "6.1.0-9-amd64"


def test_without_a_boot_loader_nothing_is_guessed(tmp_path: Path) -> None:
    assert next_boot(make(tmp_path, {"/lib/modules/6.8.0/kernel/x": ""})) is None


def test_releases_are_compared_by_number() -> None:
    assert release_key("6.8.0-101-generic") > release_key("6.8.0-31-generic")
    assert release_key("6" * 5000) > release_key("6.8²")


def test_each_kernels_initramfs_has_its_time(tmp_path: Path) -> None:
    root = make(
        tmp_path,
        {
            "/boot/initrd.img-6.8.0-31-generic": "",
            "/boot/initrd.img-6.8.0-31-generic.old-dkms": "",
            "/boot/initramfs-6.9.img": "seven b",
        },
        {"/boot/initrd.img": "initrd.img-6.8.0-31-generic", "/boot/initrd.img-gone": "nowhere"},
    )
    os.utime(tmp_path / "boot/initrd.img-6.8.0-31-generic", (1.0, 1_700_000_000.0))
    found, largest = initramfs(root)
    assert largest == 7
    assert set(found) == {"6.8.0-31-generic", "6.9"}
    assert found["6.8.0-31-generic"] == 1_700_000_000.0


def files_in(root: modules.Root) -> list[ModuleFile]:
    return [ModuleFile.model_validate(f) for f in modules.module_files(root, modules.dkms(root))]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("updates/dkms", "nvidia.ko"),
        ("updates/dkms", "nvidia-current.ko"),
        ("updates/dkms", "nvidia-current-open.ko"),
        ("updates/dkms", "nvidia-tesla-535.ko"),
        ("kernel/nvidia-580-open", "nvidia.ko"),
        ("kernel/drivers/video", "nvidia.ko"),
    ],
)
def test_the_module_is_found_where_packages_put_it(tmp_path: Path, folder: str, name: str) -> None:
    there = f"/lib/modules/6.8.0-31-generic/{folder}"
    files: dict[str, str | bytes] = {f"{there}/{name}": kernel_module(signer="Canonical Ltd.")}
    for other in ("nvidia-uvm.ko", "nvidia-current-drm.ko", "nvidia.txt", "nvidiafb.ko"):
        files[f"{there}/{other}"] = kernel_module()
    (found,) = files_in(make(tmp_path, files))
    assert found.path == f"{there}/{name}"
    assert (found.kernel, found.version) == ("6.8.0-31-generic", "580.95.05")
    assert (found.flavour, found.signer) == ("open", "Canonical Ltd.")


def test_a_licence_tells_the_flavour_and_no_signature_is_no_signer(tmp_path: Path) -> None:
    path = "/lib/modules/6.1/updates/dkms/nvidia.ko"
    (found,) = files_in(make(tmp_path, {path: kernel_module(licence="NVIDIA")}))
    assert (found.flavour, found.signer) == ("proprietary", None)


@pytest.mark.parametrize("ending", [".zst", ".xz", ".gz"])
def test_a_packed_module_is_known_by_what_dkms_built(tmp_path: Path, ending: str) -> None:
    files: dict[str, str | bytes] = {
        f"/lib/modules/6.8/updates/dkms/nvidia.ko{ending}": b"\x28\xb5\x2f\xfd packed",
        "/var/lib/dkms/nvidia/580.95.05/6.8/x86_64/module/nvidia.ko.zst": "",
        "/usr/src/nvidia-580.95.05/nvidia/nv.c": 'x\nMODULE_LICENSE("Dual MIT/GPL");\n',
    }
    (found,) = files_in(make(tmp_path, files))
    assert (found.version, found.flavour, found.signer) == ("580.95.05", "open", None)


HOSTILE = {
    "empty": b"",
    "no module": b"hello",
    "cut": kernel_module()[:200],
    "other machine": b"\x7fELF\x01\x02" + b"\xff" * 200,
    "offsets beyond the end": kernel_module()[:40] + b"\xff" * 24 + kernel_module()[64:],
    "a length beyond the beginning": b"x" * 20 + b"\0" * 8 + b"\xff\xff\xff\xff" + SIGNED,
    "only the magic": SIGNED,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_spoilt_module_is_there_and_nothing_is_known_of_it(tmp_path: Path, what: str) -> None:
    path = "/lib/modules/6.8/updates/dkms/nvidia.ko"
    (found,) = files_in(make(tmp_path, {path: HOSTILE[what]}))
    assert (found.version, found.flavour, found.signer) == (None, None, None)


def test_a_signature_without_a_readable_name_is_still_a_signature(tmp_path: Path) -> None:
    for name in ("", "a\nb"):
        signed = kernel_module() + signature(name)
        (found,) = files_in(make(tmp_path, {"/lib/modules/6.8/updates/nvidia.ko": signed}))
        assert found.signer == "a key without a name"


def test_dkms_builds_by_kernel(tmp_path: Path) -> None:
    base = "/var/lib/dkms/nvidia"
    root = make(
        tmp_path,
        {
            f"{base}/580.95.05/6.8.0-31-generic/x86_64/module/nvidia.ko": "",
            f"{base}/580.95.05/6.8.0-40-generic/x86_64/module/nvidia.ko": "",
            f"{base}/580.95.05/build/make.log": "DKMS make.log for nvidia-580.95.05 for kernel "
            "6.8.0-101-generic (x86_64)\nTue Nov 24\nerror: implicit declaration\n",
            f"{base}/570.1.2/source/dkms.conf": "",
            "/var/lib/dkms/gdrdrv/2.5/source/dkms.conf": "",
            "/var/lib/dkms/zfs/2.2/6.8.0-31-generic/x86_64/module/zfs.ko": "",
        },
        {f"{base}/kernel-6.8.0-31-generic-x86_64": "580.95.05/6.8.0-31-generic/x86_64"},
    )
    found = [DkmsBuild.model_validate(b) for b in modules.dkms(root)]
    assert [(b.module, b.version, b.kernel, b.status) for b in found] == [
        ("gdrdrv", "2.5", None, "added"),
        ("nvidia", "570.1.2", None, "added"),
        ("nvidia", "580.95.05", "6.8.0-101-generic", "failed"),
        ("nvidia", "580.95.05", "6.8.0-31-generic", "installed"),
        ("nvidia", "580.95.05", "6.8.0-40-generic", "built"),
    ]
    assert module(root)["on_disk"] == {
        "6.8.0-31-generic": "580.95.05",
        "6.8.0-40-generic": "580.95.05",
    }


def test_a_log_of_a_build_that_did_succeed_later_is_no_failure(tmp_path: Path) -> None:
    base = "/var/lib/dkms/nvidia/580.95.05"
    root = make(
        tmp_path,
        {
            f"{base}/6.8.0-31-generic/x86_64/module/nvidia.ko": "",
            f"{base}/build/make.log": "DKMS make.log for nvidia-580.95.05 for kernel "
            "6.8.0-31-generic (x86_64)\n",
        },
    )
    assert [b["status"] for b in modules.dkms(root)] == ["built"]
    spoilt = make(tmp_path / "b", {"/var/lib/dkms/nvidia/1.2/build/make.log": b"kernel\xff"})
    assert [(b["kernel"], b["status"]) for b in modules.dkms(spoilt)] == [(None, "failed")]


def test_the_modules_file_wins_over_dkms_record(tmp_path: Path) -> None:
    root = make(
        tmp_path,
        {
            "/var/lib/dkms/nvidia/570.1.2/6.8/x86_64/module/nvidia.ko": "",
            "/lib/modules/6.8/kernel/nvidia-580/nvidia.ko": kernel_module("580.95.05"),
        },
    )
    assert module(root)["on_disk"] == {"6.8": "580.95.05"}


def test_what_the_loaded_module_says_and_who_uses_it(tmp_path: Path) -> None:
    root = make(
        tmp_path,
        {
            "/proc/modules": "nvidia_uvm 1540096 2 - Live 0x0\nnvidia 56823808 30 nvidia_uvm,"
            "nvidia_modeset, Live 0x0\nnvidia_drm 1 - - Unloading 0x0\next4 1 1 - Live 0x0\nnvidia",
            "/proc/driver/nvidia/params": "ResmanDebugLevel: 4294967295\nEnableGpuFirmware: 18\n"
            'RegistryDwords: ""\nTemporaryFilePath: "/tmp: x"\nnonsense\n',
        },
    )
    state = ModuleState.model_validate(module(root))
    assert state.references == {"nvidia_uvm": 2, "nvidia": 30}
    assert state.parameters == {
        "ResmanDebugLevel": "4294967295",
        "EnableGpuFirmware": "18",
        "RegistryDwords": "",
        "TemporaryFilePath": "/tmp: x",
    }


@pytest.mark.parametrize(
    ("line", "blocked"),
    [
        ("blacklist nouveau", True),
        ("  blacklist   nouveau  ", True),
        ("install nouveau /bin/false", True),
        ("alias nouveau off", True),
        ("install nouveau /sbin/modprobe --ignore-install nouveau", False),
        ("# blacklist nouveau", False),
        ("options nouveau modeset=0", False),
        ("blacklist nouveau_other", False),
    ],
)
def test_modprobe_keeps_nouveau_out(tmp_path: Path, line: str, blocked: bool) -> None:
    root = make(tmp_path, {"/etc/modprobe.d/blacklist-gpu.conf": f"{line}\n"})
    assert module(root)["nouveau_blocked"] is blocked


def test_a_file_that_etc_masks_does_not_count(tmp_path: Path) -> None:
    root = make(tmp_path, {"/usr/lib/modprobe.d/n.conf": "blacklist nouveau\n"})
    assert module(root)["nouveau_blocked"] is True
    make(tmp_path, {}, {"/etc/modprobe.d/n.conf": "/dev/null"})
    assert module(root)["nouveau_blocked"] is False


MOK_LIST = "/sys/firmware/efi/efivars/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23"


@pytest.mark.parametrize(
    ("files", "enrolled"),
    [
        ({"/var/lib/shim-signed/mok/MOK.der": "key", MOK_LIST: "....key..."}, True),
        ({"/var/lib/dkms/mok.pub": "key", MOK_LIST: "....other..."}, False),
        ({"/var/lib/dkms/mok.pub": "key"}, None),
        ({MOK_LIST: "....key..."}, None),
        # The key that DKMS really signs with is what counts.
        (
            {
                "/etc/dkms/framework.conf": 'mok_certificate="/etc/keys/site.der"\n',
                "/etc/keys/site.der": "site",
                "/var/lib/dkms/mok.pub": "key",
                MOK_LIST: "....key...",
            },
            False,
        ),
        (
            {
                "/var/lib/dkms/mok.pub": "key",
                "/sys/firmware/efi/mok-variables/MokListRT": "..key",
                MOK_LIST: "cut",
            },
            True,
        ),
    ],
)
def test_the_signing_key_is_enrolled_or_not(
    tmp_path: Path, files: dict[str, str | bytes], enrolled: bool | None
) -> None:
    assert modules.mok_enrolled(make(tmp_path, files)) is enrolled


@pytest.mark.parametrize(
    ("text", "booted"),
    [
        ("cpu 1 2\nbtime 1700000000\n", 1_700_000_000.0),
        ("btime x\n", None),
        ("btime\n", None),
        ("btime 1 2\n", None),
        ("", None),
    ],
)
def test_when_the_kernel_started_and_which_are_installed(
    tmp_path: Path, text: str, booted: float | None
) -> None:
    root = make(
        tmp_path,
        {
            "/proc/stat": text,
            "/lib/modules/6.8.0-101-generic/kernel/x": "",
            "/lib/modules/6.8.0-31-generic/kernel/x": "",
            "/lib/modules/6.8.0-9-rest/modules.dep": "",
        },
    )
    found = KernelState.model_validate(kernel(root))
    assert found.booted_at == booted
    assert found.installed == ["6.8.0-31-generic", "6.8.0-101-generic"]
