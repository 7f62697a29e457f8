"""What a bundle says about itself: how it is used, and where the licences of its files are read.

The licence note names documents and no more: which files may be passed on, and on what conditions,
is for those documents to say.
"""

from __future__ import annotations

from collections.abc import Sequence

from cudactl.contracts.lock import Component, StackLock

LICENCE_NOTE = (
    "The files keep their makers' licences, and cudactl grants none. A bundle is meant for the "
    "machines of whoever accepted those licences. Giving it, or an image made from it, to anybody "
    "else is distribution: read first which files the licences allow to be passed on, in which "
    "form, and on what conditions."
)

# Read on 2026-11-24. The CUDA agreement has distribution requirements (1.1.2), a supplement on
# distribution (2.2) and the list of distributable files (Attachment A), in releases 12.3 and 13.0.
LICENCES: dict[Component, str] = {
    "cuda": "CUDA Toolkit EULA, https://docs.nvidia.com/cuda/eula/: its distribution requirements, "
    "the supplement's section on distribution, and Attachment A, which lists distributable files",
    "driver": "the licence in the driver's own packages, and the CUDA Toolkit EULA, "
    "https://docs.nvidia.com/cuda/eula/, which names the driver too; the open "
    "kernel module's source: https://github.com/NVIDIA/open-gpu-kernel-modules (COPYING)",
    "cudnn": "cuDNN Software License Agreement, https://docs.nvidia.com/deeplearning/cudnn/sla/",
    "tensorrt": "TensorRT's licence agreement, https://docs.nvidia.com/deeplearning/tensorrt/sla",
    "tensorrt_rtx": "NVIDIA Software License Agreement, under Reference in "
    "https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/",
    "nccl": "LICENSE.txt in https://github.com/NVIDIA/nccl",
    "dcgm": "LICENSE in https://github.com/NVIDIA/DCGM, and the licence in its packages",
    "container_toolkit": "the licence in its packages and in "
    "https://github.com/NVIDIA/nvidia-container-toolkit",
    "frameworks": "the licence in each wheel",
}


def readme(
    locks: Sequence[tuple[str, StackLock]], *, url: str, fingerprint: str, key_file: str
) -> str:
    """Return the bundle's README.

    Args:
        locks: File name and lock of everything in the bundle.
        url: Where the bundle is, or will be.
        fingerprint: Key that signed it.
        key_file: Path of that key's public part, as it is now.
    """
    apt = any(lock.target.packages == "apt" for _, lock in locks)
    wheels = any(lock.target.packages == "wheels" for _, lock in locks)
    parts = [
        "# An offline repository made by `cudactl stack bundle`",
        "It holds every file of these locks, and nothing else:",
        "\n".join(_row(name, lock) for name, lock in locks),
        "## Use it",
        "The locks in `locks/` hold the same packages as the ones they were made from, and have "
        f"the same hash; they name this bundle as their source, at `{url}`:",
        f"    cudactl provision host HOST --lock locks/{locks[0][0]}",
        "Packages at a `file://` address are looked for on each host itself; wheels are fetched by "
        "the machine that cudactl runs on. For hosts that do not mount this folder, put it behind "
        "any web server and say where: run the command that made the bundle again with "
        "`--url http://…`; it then only rewrites the locks. Older locks stay in the "
        "bundle when newer ones are added: it is where a rollback finds its packages.",
        "To lock anew from the bundle alone, name it in the spec:",
    ]
    if apt:
        parts.append(f"    mirror: {{url: '{url}', key: '{key_file}'}}")
    if wheels:
        parts.append(f"    mirror: {{url: '{url}simple/'}}        # with packages: wheels")
    parts += [
        "With one lock in the bundle the result has the hash of that lock. With several, a version "
        "that the spec leaves open becomes the newest that is here."
        + (_ARCHIVE if _from_archive(locks) else ""),
        "## Check it",
        f"Signed by {fingerprint}; the public key is `bundle-key.asc`. Compare the fingerprint "
        "with what the maker of the bundle tells you, then:",
        "    gpg --import bundle-key.asc && gpg --verify SHA256SUMS.asc SHA256SUMS && "
        "sha256sum --check --quiet SHA256SUMS",
        *_external(locks),
        "## What may be passed on",
        LICENCE_NOTE + " Where to read, for what is in here:",
        "\n".join(f"- {component}: {LICENCES[component]}" for component in _components(locks)),
        "Each .deb also installs its licence below /usr/share/doc/, and each wheel carries one in "
        "its .dist-info folder, as far as its maker put it there.",
    ]
    return "\n\n".join(parts) + "\n"


_ARCHIVE = (
    " Drivers of a distribution's archive (driver.source: distro) are in here for hosts; locking "
    "them anew asks an archive in suites, which a bundle is not."
)


def _from_archive(locks: Sequence[tuple[str, StackLock]]) -> bool:
    drivers = [lock.spec.driver for _, lock in locks if lock.of("driver")]
    return any(driver is not None and driver.source == "distro" for driver in drivers)


def _row(name: str, lock: StackLock) -> str:
    target = f"{lock.target.os} {lock.target.arch}, {lock.target.packages}"
    versions = ", ".join(f"{key} {value}" for key, value in sorted(lock.resolved.items()))
    return f"- `{name}`: {target}; {versions}; {len(lock.packages)} packages; hash {lock.hash}"


def _external(locks: Sequence[tuple[str, StackLock]]) -> list[str]:
    names = sorted({one.name for _, lock in locks for one in lock.external})
    images = sorted({lock.base_image for _, lock in locks if lock.base_image})
    parts = []
    if names or images:
        parts.append("## What is not in here")
    if names:
        parts.append(
            "From the distribution's own archive, as the locks name them: " + ", ".join(names) + "."
        )
    if images:
        parts.append("Base images: " + ", ".join(images) + ".")
    return parts


def _components(locks: Sequence[tuple[str, StackLock]]) -> list[Component]:
    there = {package.component for _, lock in locks for package in lock.packages}
    return [component for component in LICENCES if component in there]
