"""A distribution's archive of real size, and a cold lock of its driver, for `make bench`.

60,000 paragraphs, as Debian 12's main has; the driver's own are the few that a lock is made of. The
measured lock and apt both begin without lists and caches.
"""

from __future__ import annotations

import email.utils
import hashlib
import lzma
import time
from pathlib import Path

from cudactl.stack.bundle.repository import Deb, Stanza, render_deb
from cudactl.stack.bundle.signing import SigningKey

PARAGRAPHS = 60_000
COMPONENTS = "main contrib non-free non-free-firmware"
VERSION = "535.261.03-1"
SOURCE = "nvidia-graphics-drivers"
DRIVER = (
    Deb(name="nvidia-kernel-dkms", version=VERSION, depends=("nvidia-alternative", "dkms")),
    Deb(name="nvidia-alternative", version=VERSION, depends=("nvidia-support",)),
    Deb(name="nvidia-support", version="20220217+3~deb12u1"),
    Deb(name="nvidia-smi", version=VERSION, depends=(f"libnvidia-ml1 (= {VERSION})",)),
    Deb(name="nvidia-persistenced", version="535.171.04-1~deb12u1", depends=("libnvidia-cfg1",)),
    *(
        Deb(
            name=name,
            version=VERSION,
            source=SOURCE,
            depends=(f"nvidia-alternative (= {VERSION})",),
        )
        for name in ("libcuda1", "libnvidia-ml1", "libnvidia-cfg1")
    ),
)
# As long as Debian's paragraphs are on average; words, so that it packs as theirs does.
FILLER = {
    "Maintainer": "Somebody of the Distribution <somebody@example.invalid>",
    "Installed-Size": "4711",
    "Depends": "libc6 (>= 2.34), libgcc-s1 (>= 3.0), libstdc++6 (>= 11), part-of-the-filler",
    "Description": "a package among many that nobody asks for",
    "Homepage": "https://example.invalid/",
    "Description-md5": "0123456789abcdef0123456789abcdef",
    "Tag": "implemented-in::c, interface::shared-library, role::shared-lib, uitoolkit::none",
    "Section": "libs",
    "Priority": "optional",
}


def write_archive(base: Path, key: SigningKey) -> str:
    """Write Debian 12's suites below `base` and return their entries for sources.list."""
    stanzas = [render_deb(deb)[0] for deb in (*DRIVER, Deb(name="dkms", version="3.0.10-8"))]
    main = [*stanzas[-1:], *(_filler(number) for number in range(PARAGRAPHS))]
    contents = {"bookworm": {"main": main, "non-free": stanzas[:-1]}}
    lines = ""
    for suite in ("bookworm", "bookworm-updates", "bookworm-security"):
        _write_suite(base / "dists" / suite, suite, contents.get(suite, {}), key)
        lines += f"deb [signed-by={base.parent}/key.asc] {base.as_uri()} {suite} {COMPONENTS}\n"
    return lines


def _filler(number: int) -> Stanza:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    names = {"Package": f"filler-{number}", "Version": f"1.{number}-1", "Architecture": "amd64"}
    place = f"pool/main/f/filler-{number}/filler-{number}_1.{number}-1_amd64.deb"
    files = {"Filename": place, "Size": str(number), "SHA256": digest, "MD5sum": digest[:32]}
    return Stanza({**names, **FILLER, **files})


def _write_suite(
    folder: Path, suite: str, components: dict[str, list[Stanza]], key: SigningKey
) -> None:
    listed = ""
    for component in COMPONENTS.split():
        text = "".join(stanza.text() for stanza in components.get(component, ())).encode()
        place = folder / component / "binary-amd64/Packages.xz"
        place.parent.mkdir(parents=True)
        packed = lzma.compress(text, preset=1)
        place.write_bytes(packed)
        for name, data in ((place.with_suffix(""), text), (place, packed)):
            digest = hashlib.sha256(data).hexdigest()
            listed += f" {digest} {len(data)} {name.relative_to(folder)}\n"
    day = email.utils.formatdate(time.time(), usegmt=True).replace("GMT", "UTC")
    release = f"Origin: Debian\nSuite: {suite}\nCodename: {suite}\nDate: {day}\n"
    release += f"Architectures: amd64\nComponents: {COMPONENTS}\nSHA256:\n{listed}"
    (folder / "InRelease").write_bytes(key.sign(release.encode()).inline)
