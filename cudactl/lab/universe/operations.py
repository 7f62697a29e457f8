"""Packages around the stack: container toolkit, DCGM, and the keyring with the lab's own key."""

from __future__ import annotations

from cudactl.lab.simulated.build import text
from cudactl.lab.universe.shape import Payload, Workshop, script
from cudactl.stack.bundle.repository import Deb

# Since 1.18 the toolkit writes the CDI specification anew when the driver's module changes; names
# and what they wait for are those of NVIDIA/nvidia-container-toolkit deployments/systemd.
REFRESH_SERVICE = """\
[Unit]
Description=CDI specification of NVIDIA's devices (lab)
[Service]
Type=oneshot
RemainAfterExit=yes
Environment=NVIDIA_CTK_CDI_OUTPUT_FILE_PATH=/var/run/cdi/nvidia.yaml
ExecCondition=/usr/bin/grep -qE "/(nvidia|nvidia-current)[.]ko" /lib/modules/%v/modules.dep
ExecStart=/usr/bin/nvidia-ctk cdi generate
[Install]
WantedBy=multi-user.target
"""
REFRESH_PATH = """\
[Unit]
Description=A new driver or toolkit has the CDI specification written (lab)
[Path]
PathChanged=/lib/modules/%v/modules.dep
PathChanged=/usr/bin/nvidia-ctk
[Install]
WantedBy=multi-user.target
"""
# The real file gives NVIDIA's repository priority 600, by its Origin and Label.
PIN_600 = b"Package: *\nPin: release l=NVIDIA CUDA\nPin-Priority: 600\n"


def container_toolkit_debs(version: str, shop: Workshop) -> list[Deb]:
    """Return the four packages that must move together."""
    debian = f"{version}-1"
    tool = "libnvidia-container-tools"
    base = Payload(shop)
    base.file("/usr/bin/nvidia-ctk", text("nvidia-ctk.sh", VERSION=version), 0o755)
    for name in ("nvidia-container-runtime", "nvidia-cdi-hook"):
        base.file(f"/usr/bin/{name}", _tool(name, version), 0o755)
    units = "/usr/lib/systemd/system/nvidia-cdi-refresh"
    base.file(f"{units}.service", REFRESH_SERVICE.encode())
    base.file(f"{units}.path", REFRESH_PATH.encode())
    refresh = "systemctl enable --now nvidia-cdi-refresh.path nvidia-cdi-refresh.service || true"
    hook = "nvidia-container-runtime-hook"
    old = ["nvidia-container-runtime (<= 3.5.0-1)", hook]
    return [
        shop.deb(
            "nvidia-container-toolkit",
            debian,
            [
                f"nvidia-container-toolkit-base (= {debian})",
                f"{tool} (= {debian})",
                f"{tool} (<< 2.0.0)",
            ],
            Payload(shop).file(f"/usr/bin/{hook}", _tool(hook, version), 0o755),
            breaks=old,
            replaces=old,
        ),
        shop.deb(
            "nvidia-container-toolkit-base",
            debian,
            (),
            base,
            scripts={"postinst": script("configure", "systemctl daemon-reload || true", refresh)}
            if shop.libraries
            else {},
        ),
        shop.deb(
            tool,
            debian,
            [f"libnvidia-container1 (>= {debian})"],
            Payload(shop).file(
                "/usr/bin/nvidia-container-cli", _tool("nvidia-container-cli", version), 0o755
            ),
        ),
        shop.deb(
            "libnvidia-container1",
            debian,
            (),
            Payload(shop).library(shop.multiarch, "libnvidia-container.so.1", version),
        ),
    ]


def dcgm_debs(version: str, shop: Workshop) -> list[Deb]:
    """Return DCGM 4, whose versions have an epoch; how its parts depend was not seen."""
    debian = f"1:{version}-1"
    core = "datacenter-gpu-manager-4-core"
    payload = Payload(shop).library(shop.multiarch, "libdcgm.so.4", version)
    payload.file("/usr/bin/dcgmi", _tool("dcgmi", version), 0o755)
    debs = [shop.deb(core, debian, (), payload)]
    for part in ("", "multinode-", "proprietary-"):
        stem = f"datacenter-gpu-manager-4-{part}"
        if part:
            debs.append(shop.deb(stem.rstrip("-"), debian, [f"{core} (= {debian})"]))
        for cuda in ("12", "13"):
            debs.append(shop.deb(f"{stem}cuda{cuda}", debian, [f"{core} (= {debian})"]))
    return debs


def keyring_deb(keyring: bytes, shop: Workshop) -> Deb:
    """Return `cuda-keyring` with the lab's key.

    The real one also brings a source list with NVIDIA's address; the lab's does not, because
    its address is known only once it is served.
    """
    pin = "/etc/apt/preferences.d/cuda-repository-pin-600"
    return shop.deb(
        "cuda-keyring",
        "1.1-1",
        arch="all",
        files={"/usr/share/keyrings/cuda-archive-keyring.gpg": keyring, pin: PIN_600},
        conffiles=(pin,),
    )


def _tool(name: str, version: str) -> bytes:
    return text("tool.sh", NAME=name, PACKAGE=name, RELEASE=version, VERSION=version)
