"""Small signed archives in suites, as distributions have them: names and shapes of real drivers.

Names, versions and dependencies were read in the archives of Ubuntu 24.04 and Debian 12 on
2026-11-25; packages that only other packages would notice are left out.
"""

from __future__ import annotations

import email.utils
import gzip
import hashlib
import lzma
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cudactl.contracts.spec import StackSpec
from cudactl.stack.bundle.repository import Deb, SigningKey, render_deb
from tests.lab.mirror.apt import Apt

Suites = Mapping[str, Mapping[str, Sequence[Deb]]]
"""Suite → component → packages."""
COMPONENTS = {
    "ubuntu": ("main", "restricted", "multiverse"),
    "debian": ("main", "contrib", "non-free", "non-free-firmware"),
}
COMPRESSED = {".xz": lzma.compress, ".gz": lambda data: gzip.compress(data, mtime=0)}


class Archive:
    """An archive in a folder, signed by its own key."""

    def __init__(self, base: Path, key: SigningKey, family: str) -> None:
        self.base, self.key, self.family = base, key, family
        base.mkdir(parents=True)
        self.key_file = base / "keys.asc"
        self.key_file.write_text(key.public_key)
        self.suites: list[str] = []

    def publish(self, suites: Suites) -> Archive:
        """Write suites, each with every component."""
        for suite, components in suites.items():
            self.write(suite, components)
        return self

    def write(
        self,
        suite: str,
        components: Mapping[str, Sequence[Deb]],
        *,
        key: SigningKey | None = None,
        kinds: Sequence[str] = (".xz", ".gz"),
        by_hash: bool = True,
        said: str | None = None,
        valid_until: float | None = None,
        architectures: str = "amd64 arm64",
    ) -> Path:
        """Write one suite and return its folder."""
        folder = self.base / "dists" / suite
        listed: dict[str, bytes] = {}
        for component in COMPONENTS[self.family]:
            text = "".join(self._add(deb, component) for deb in components.get(component, ()))
            place, data = f"{component}/binary-amd64/Packages", text.encode()
            listed[place] = data
            for kind in kinds:
                packed = COMPRESSED[kind](data)
                listed[place + kind] = packed
                self._file(folder / (place + kind), packed)
                if by_hash:
                    digest = hashlib.sha256(packed).hexdigest()
                    self._file(folder / component / f"binary-amd64/by-hash/SHA256/{digest}", packed)
            if not kinds:
                self._file(folder / place, data)
        fields = {
            "Origin": self.family.capitalize(),
            "Suite": said or suite,
            "Codename": said or suite,
            "Date": email.utils.formatdate(time.time(), usegmt=True).replace("GMT", "UTC"),
            "Architectures": architectures,
            "Components": " ".join(COMPONENTS[self.family]),
            **({"Acquire-By-Hash": "yes"} if by_hash else {}),
        }
        if valid_until is not None:
            fields["Valid-Until"] = email.utils.formatdate(valid_until, usegmt=True)
        release = "".join(f"{name}: {value}\n" for name, value in fields.items()) + "SHA256:\n"
        for name, data in listed.items():
            release += f" {hashlib.sha256(data).hexdigest()} {len(data):>10} {name}\n"
        self._file(folder / "InRelease", (key or self.key).sign(release.encode()).inline)
        self.suites = list(dict.fromkeys([*self.suites, suite]))
        return folder

    def spec(self, os: str, **wishes: Any) -> StackSpec:
        """Return a wish for a driver of this archive."""
        driver = {"source": "distro", **wishes.pop("driver", {})}
        url = self.base.as_uri()
        archive = {"url": url, "security": url, "key": str(self.key_file), **wishes.pop("of", {})}
        return StackSpec.model_validate({"os": os, "driver": driver, "archive": archive, **wishes})

    def lines(self) -> str:
        """Return the archive's entries for sources.list."""
        components = " ".join(COMPONENTS[self.family])
        return "".join(
            f"deb [signed-by={self.key_file}] {self.base.as_uri()} {suite} {components}\n"
            for suite in self.suites
        )

    def _add(self, deb: Deb, component: str) -> str:
        stanza, data = render_deb(deb)
        place = f"pool/{component}/{deb.filename}"
        self._file(self.base / place, data)
        fields = {**stanza.fields, "Filename": place}
        return "".join(f"{name}: {value}\n" for name, value in fields.items()) + "\n"

    @staticmethod
    def _file(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


class ArchiveApt(Apt):
    """A real apt that sees only some archives, and no package installed."""

    def __init__(self, root: Path, lines: str, preferences: str = "") -> None:
        for folder in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
            (root / folder).mkdir(parents=True)
        (root / "status").touch()
        (root / "list").write_text(lines)
        (root / "etc/preferences.d/cudactl-stack.pref").write_text(preferences)
        self.root = root
        self._options = [
            part
            for option in (
                f"Dir::State={root}/state",
                f"Dir::State::status={root}/status",
                f"Dir::Cache={root}/cache",
                f"Dir::Etc={root}/etc",
                f"Dir::Etc::SourceList={root}/list",
                "APT::Architecture=amd64",
                "APT::Architectures=amd64",
                "APT::Install-Recommends=false",
                "APT::Sandbox::User=root",
                "Acquire::Languages=none",
            )
            for part in ("-o", option)
        ]


def ubuntu_branch(branch: str, version: str, series: str = "-server") -> list[Deb]:
    """A branch of Ubuntu's driver, both flavours, as far as a host without a display needs it."""
    upstream, own = version.partition("-")[0], f"{branch}{series}"
    source = f"nvidia-graphics-drivers-{own}"
    common = (
        f"nvidia-kernel-common-{own} (<= {upstream}-1)",
        f"nvidia-kernel-common-{own} (>= {upstream})",
    )
    tied = f"nvidia-kernel-common-{own}-{upstream}"

    def deb(name: str, *depends: str, provides: Sequence[str] = (), alone: bool = True) -> Deb:
        virtual = tuple(one.partition(" ")[0] for one in provides if "-common-" not in one)
        return Deb(
            name=name,
            version=version,
            source=source,
            depends=depends,
            provides=provides,
            conflicts=virtual if alone else (),
        )

    found = [
        deb(f"nvidia-firmware-{own}-{upstream}"),
        deb(
            f"nvidia-kernel-common-{own}",
            "libc6 (>= 2.38)",
            f"nvidia-firmware-{own}-{upstream}",
            provides=("nvidia-kernel-common", tied),
        ),
        deb(
            f"libnvidia-compute-{own}",
            tied,
            "libc6 (>= 2.34)",
            provides=("libnvidia-compute", f"libcuda1 (= {version})", "opencl-icd"),
        ),
        deb(f"libnvidia-cfg1-{own}", tied, provides=("libnvidia-cfg1-any",)),
        deb(
            f"nvidia-compute-utils-{own}",
            f"libnvidia-compute-{own}",
            "adduser",
            provides=("nvidia-compute-utils", "nvidia-persistenced"),
        ),
        deb(
            f"nvidia-utils-{own}",
            tied,
            f"libnvidia-compute-{own} (>= {upstream})",
            provides=("nvidia-utils", "nvidia-smi"),
        ),
    ]
    for flavour in ("", "-open"):
        headless = f"nvidia-headless-no-dkms-{own}{flavour}"
        found += [
            deb(
                headless,
                *common,
                f"nvidia-kernel-source-{own}{flavour} (= {version})",
                *(f"{n}-{own} (= {version})" for n in ("libnvidia-compute", "libnvidia-cfg1")),
                f"nvidia-compute-utils-{own} (= {version})",
            ),
            deb(f"nvidia-kernel-source-{own}{flavour}", provides=("nvidia-kernel-source",)),
            deb(
                f"nvidia-dkms-{own}{flavour}",
                "dkms",
                *common,
                f"nvidia-kernel-source-{own}{flavour} (>= {upstream})",
                provides=("nvidia-dkms-kernel",),
            ),
            deb(
                f"nvidia-headless-{own}{flavour}",
                headless,
                f"nvidia-dkms-{own}{flavour}",
                provides=("nvidia-headless",),
            ),
        ]
    return found


def signed_modules(own: str, upstream: str, abi: str = "6.8.0-151") -> list[Deb]:
    """Ubuntu's signed modules of a driver ("580-server-open") for the generic kernel."""
    common = f"nvidia-kernel-common-{own.removesuffix('-open')}"
    exact = f"linux-modules-nvidia-{own}-{abi}-generic"
    version = f"{abi}.{abi.rpartition('-')[2]}"
    return [
        Deb(
            name=f"linux-modules-nvidia-{own}-generic",
            version=version,
            source="linux-restricted-modules",
            depends=(f"{exact} (= {version})", f"{common} (>= {upstream})"),
        ),
        Deb(
            name=exact,
            version=version,
            source="linux-restricted-signatures",
            depends=(
                f"linux-image-{abi}-generic | linux-image-unsigned-{abi}-generic",
                f"{common} (<= {upstream}-1)",
                f"{common} (>= {upstream})",
            ),
        ),
    ]


def fabric(branch: str, version: str) -> list[Deb]:
    """Ubuntu's fabric manager and IMEX of a branch."""
    upstream = version.partition("-")[0]
    tied = (f"nvidia-kernel-common-{branch}-server-{upstream}",)
    return [
        Deb(name=f"nvidia-fabricmanager-{branch}", version=version, depends=tied),
        Deb(name=f"nvidia-imex-{branch}", version=version, depends=tied),
    ]


def transitional(branch: str, version: str, to: str, series: str = "-server") -> list[Deb]:
    """What Ubuntu leaves of a branch that another one took over."""
    stems = [f"{stem}{{}}{series}" for stem in ("nvidia-headless-", "nvidia-headless-no-dkms-")]
    names = [f"{stem}{flavour}" for stem in stems for flavour in ("", "-open")]
    names.append(f"nvidia-utils-{{}}{series}")
    return [
        Deb(name=name.format(branch), version=version, depends=(name.format(to),)) for name in names
    ]


def plain(*names: str) -> list[Deb]:
    """Packages of the distribution's own."""
    return [Deb(name=name, version="99-1") for name in names]


def noble() -> Suites:
    """Ubuntu 24.04: 535 became 580, 595 is newer and has fewer signed modules."""
    old, v580, v595 = "535.161.08-0ubuntu2", "580.178.04-0ubuntu0.24.04.1", "595.91.07-0ubuntu1"
    return {
        "noble": {
            "main": plain(*("libc6", "dkms", "adduser", "linux-image-6.8.0-151-generic")),
            "restricted": ubuntu_branch("535", old),
        },
        "noble-updates": {
            "restricted": [
                *transitional("535", "535.309.01-0ubuntu0.24.04.2", "580"),
                *ubuntu_branch("580", v580),
                *ubuntu_branch("580", v580, ""),
                *signed_modules("580-server-open", "580.178.04"),
                *signed_modules("595-server-open", "595.58.03"),
            ],
            "multiverse": [*ubuntu_branch("595", v595), *fabric("580", v580)],
        },
        "noble-security": {"restricted": ubuntu_branch("580", "580.173.02-0ubuntu0.24.04.1")},
    }


def debian_driver(version: str, *, module: str = "", firmware: bool = True) -> list[Deb]:
    """Debian's driver; `module` "open-" is the open one, whose userland is the same."""
    upstream = version.partition("-")[0]
    source = "nvidia-graphics-drivers"
    support = f"nvidia-{module}kernel-support"
    userland = f"nvidia-alternative (= {version})"
    found = [
        Deb(
            name=f"nvidia-{module}kernel-dkms",
            version=version,
            source=source,
            pre_depends=("nvidia-installer-cleanup",),
            provides=(f"nvidia-{module}kernel-{upstream}",),
            depends=(
                f"firmware-nvidia-gsp (= {upstream}) | firmware-nvidia-gsp-{upstream}",
                f"{support}--v1",
                "dkms",
            ),
        ),
        Deb(
            name=support,
            version=version,
            source=source,
            provides=(f"{support}--v1", "nvidia-kernel-support-any"),
            depends=(f"nvidia-alternative-{upstream}", "nvidia-kernel-common", "nvidia-modprobe"),
        ),
    ]
    if not firmware:
        return found
    return [
        *found,
        Deb(
            name="firmware-nvidia-gsp",
            version=version,
            source=source,
            provides=(f"firmware-nvidia-gsp (= {upstream})", f"firmware-nvidia-gsp-{upstream}"),
        ),
        Deb(
            name="nvidia-alternative",
            version=version,
            source=source,
            provides=(f"nvidia-alternative-{upstream}",),
            depends=("glx-alternative-nvidia (>= 1.2)",),
        ),
        Deb(
            name="libcuda1",
            version=version,
            source=source,
            depends=("nvidia-support", userland, f"libnvidia-ptxjitcompiler1 (= {version})"),
        ),
        Deb(name="libnvidia-ptxjitcompiler1", version=version, source=source),
        Deb(name="libnvidia-ml1", version=version, source=source, depends=(userland,)),
        Deb(name="libnvidia-cfg1", version=version, source=source, depends=(userland,)),
        Deb(
            name="nvidia-smi",
            version=version,
            source=source,
            depends=(userland, f"libnvidia-ml1 (= {version})"),
        ),
    ]


def tesla(branch: str, version: str) -> list[Deb]:
    """Debian's family of packages for an older branch."""
    own = f"tesla-{branch}"
    libraries = [f"libnvidia-{own}-{part}1" for part in ("cuda", "ml", "cfg")]
    return [
        Deb(name=name, version=version, source=f"nvidia-graphics-drivers-{own}", depends=depends)
        for name, depends in [
            (f"nvidia-{own}-kernel-dkms", ("dkms", f"nvidia-{own}-alternative")),
            (f"nvidia-{own}-alternative", ("glx-alternative-nvidia",)),
            (f"nvidia-{own}-smi", (libraries[1],)),
            *((name, (f"nvidia-{own}-alternative (= {version})",)) for name in libraries),
        ]
    ]


def bookworm() -> Suites:
    """Debian 12: the security suite is ahead, and only of the proprietary module."""
    stable, newer = "535.261.03-1", "535.309.01-0+deb12u1"
    own = "nvidia-support"
    return {
        "bookworm": {
            "main": plain("libc6", "dkms", "debconf", "pciutils"),
            "contrib": [
                Deb(name="nvidia-installer-cleanup", version="20220217+3~deb12u1", source=own),
                Deb(name="nvidia-kernel-common", version="20220217+3~deb12u1", source=own),
                Deb(name="nvidia-support", version="20220217+3~deb12u1"),
                Deb(name="nvidia-modprobe", version="535.161.07-1~deb12u1"),
                Deb(
                    name="nvidia-persistenced",
                    version="535.171.04-1~deb12u1",
                    depends=("libnvidia-cfg1 | libnvidia-tesla-470-cfg1", "adduser | debconf"),
                ),
                Deb(
                    name="glx-alternative-nvidia",
                    version="1.2.2",
                    source="glx-alternatives",
                    depends=("update-glx (= 1.2.2)",),
                ),
                Deb(name="update-glx", version="1.2.2", source="glx-alternatives"),
                *debian_driver(stable, module="open-", firmware=False),
            ],
            "non-free": [*debian_driver(stable), *tesla("470", "470.256.02-1~deb12u1")],
        },
        "bookworm-updates": {},
        "bookworm-security": {"non-free": debian_driver(newer)},
    }
