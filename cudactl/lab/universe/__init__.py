"""Which packages exist in the lab's mirror: real names, versions and dependency shapes.

One module per family; this one says which repository carries which versions. `lab/mirror.py` writes
them out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from cudactl.lab.simulated.build import Libraries, native_architecture
from cudactl.lab.universe import cudnn, driver, operations, tensorrt, toolkit, toolkit_metas
from cudactl.lab.universe.shape import Arch, Workshop, distinct
from cudactl.stack.bundle.repository import Deb

Pair = tuple[str, str]
"""A version, and the CUDA it is built for."""


@dataclass(frozen=True)
class Assortment:
    """What one distribution's repository carries."""

    family: Literal["ubuntu", "debian"]
    toolkits: tuple[str, ...]
    drivers: tuple[str, ...]
    cudnn8: tuple[Pair, ...]
    cudnn9: tuple[Pair, ...]
    tensorrt: tuple[Pair, ...]
    nccl: tuple[Pair, ...]


def _both(*versions: str) -> tuple[Pair, ...]:
    return tuple((version, cuda) for version in versions for cuda in ("12", "13"))


CUDNN9 = _both("9.12.0.46", "9.13.0.50", "9.13.1.26", "9.20.0.48", "9.26.0.51", "9.28.0.42")
CUDNN8 = (("8.9.6.50", "12.2"), ("8.9.7.29", "12.2"))
TENSORRT10 = tuple((v, cuda) for v in ("10.13.3.9", "10.14.1.48") for cuda in ("12.9", "13.0"))
TENSORRT = (*TENSORRT10, ("11.0.0.114", "12.9"), ("11.0.0.114", "13.2"))
NCCL = (("2.27.7", "13.0"), ("2.28.3", "12.9"), ("2.28.9", "13.0"), ("2.29.7", "12.9"))
TOOLKITS = ("12.9.1", "13.0.0", "13.0.2", "13.1.1", "13.3.0")
LATE_DRIVERS = ("590.48.01", "595.71.05", "610.43.02")
DRIVERS = ("580.95.05", "580.159.04", *LATE_DRIVERS)
THIRTEEN = tuple(pair for pair in CUDNN9 if pair[1] == "13")

# First toolkits per distribution as in the real repositories: debian13 begins at 13.1, ubuntu2604
# at 13.3. Which cuDNN, TensorRT and drivers those two carry was not seen in full.
REPOSITORIES = {
    "ubuntu2204": Assortment("ubuntu", TOOLKITS, DRIVERS, CUDNN8, CUDNN9, TENSORRT, NCCL),
    "ubuntu2404": Assortment("ubuntu", TOOLKITS, DRIVERS, (), CUDNN9, TENSORRT, NCCL),
    "ubuntu2604": Assortment(
        "ubuntu",
        TOOLKITS[4:],
        LATE_DRIVERS,
        (),
        THIRTEEN[-2:],
        (("11.0.0.114", "13.2"),),
        (("2.29.7", "13.2"),),
    ),
    "debian12": Assortment("debian", TOOLKITS, DRIVERS, CUDNN8, CUDNN9, TENSORRT, NCCL),
    "debian13": Assortment(
        "debian",
        TOOLKITS[3:],
        LATE_DRIVERS,
        (),
        THIRTEEN,
        (("10.14.1.48", "13.0"), ("11.0.0.114", "13.2")),
        (("2.28.9", "13.0"), ("2.29.7", "13.2")),
    ),
}
# What `Mirror.new_release` adds: real later versions that the mirror does not begin with.
NEWS = Assortment(
    "ubuntu",
    ("13.0.3",),
    ("580.178.04",),
    (),
    (("9.28.1.4", "13"),),
    (("11.1.0.106", "12.9"), ("11.1.0.106", "13.3")),
    (("2.30.7", "12.9"),),
)


class Universe:
    """Makes the packages of each repository; equal packages are made once and shared."""

    def __init__(self, libraries: Libraries, keyring: bytes) -> None:
        self._libraries = libraries
        self._keyring = keyring
        self._made: dict[tuple[object, ...], list[Deb]] = {}

    def debs(self, name: str, arch: Arch) -> list[Deb]:
        """Return every package of a repository, e.g. ("ubuntu2404", "x86_64")."""
        shop = self._workshop(arch)
        keyring = self._once(
            ("keyring", arch), lambda: [operations.keyring_deb(self._keyring, shop)]
        )
        around = self._once(("operations", arch), lambda: _operations(shop))
        return distinct([*self._stack(REPOSITORIES[name], shop), *around, *keyring])

    def news(self, name: str, arch: Arch) -> list[Deb]:
        """Return what a new release adds to a repository."""
        assortment = REPOSITORIES[name]
        later = Assortment(
            assortment.family,
            NEWS.toolkits if "13.0.2" in assortment.toolkits else (),
            NEWS.drivers if "580.159.04" in assortment.drivers else (),
            *(NEWS.cudnn8, NEWS.cudnn9, NEWS.tensorrt, NEWS.nccl),
        )
        return distinct(self._stack(later, self._workshop(arch)))

    def _workshop(self, arch: Arch) -> Workshop:
        return Workshop(arch, self._libraries if arch == native_architecture() else None)

    def _stack(self, assortment: Assortment, shop: Workshop) -> list[Deb]:
        debs: list[Deb] = []
        known = toolkit.releases()

        def add(make: Callable[[], list[Deb]], *key: object) -> None:
            debs.extend(self._once((*key, shop.arch), make))

        for version in assortment.toolkits:
            release = known[version]
            add(lambda r=release: toolkit.component_debs(r, shop), "toolkit", version)  # type: ignore[misc]
            add(lambda r=release: toolkit_metas.meta_debs(r, shop), "metas", version)  # type: ignore[misc]
        for version in assortment.drivers:
            add(
                lambda v=version: _driver(v, shop, assortment.family),  # type: ignore[misc]
                *("driver", version, assortment.family),
            )
        for make, pairs in (
            (cudnn.cudnn8_debs, assortment.cudnn8),
            (cudnn.cudnn9_debs, assortment.cudnn9),
            (tensorrt.tensorrt_debs, assortment.tensorrt),
            (cudnn.nccl_debs, assortment.nccl),
        ):
            for version, cuda in pairs:
                add(lambda m=make, v=version, c=cuda: m(v, c, shop), make, version, cuda)  # type: ignore[misc]
        for version, cuda in assortment.cudnn9:
            if cuda == "13":
                add(lambda v=version: cudnn.cudnn9_metas(v, "13", shop), "cudnn metas", version)  # type: ignore[misc]
        return debs

    def _once(self, key: tuple[object, ...], make: Callable[[], list[Deb]]) -> list[Deb]:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def _operations(shop: Workshop) -> list[Deb]:
    debs: list[Deb] = []
    for version in ("1.19.1", "1.20.0"):
        debs += operations.container_toolkit_debs(version, shop)
    for version in ("4.5.2", "4.7.0"):
        debs += operations.dcgm_debs(version, shop)
    return debs


def _driver(version: str, shop: Workshop, family: Literal["ubuntu", "debian"]) -> list[Deb]:
    revision = "1ubuntu1" if family == "ubuntu" else "1"
    cuda = {580: "13.0", 590: "13.1", 595: "13.2", 610: "13.3"}[int(version.split(".")[0])]
    return [
        *driver.driver_debs(version, shop, family),
        driver.compat_deb(version, cuda, shop, revision),
    ]
