"""Random wishes and random files, for the tests that hold for every input.

Versions, GPUs and branches are drawn from the catalogue's tables, cut to a prefix or bent into
something that does not exist, so that most wishes come near the truth and some are nonsense.
"""

from __future__ import annotations

from typing import Any, get_args

import yaml
from hypothesis import strategies as st

from cudactl.contracts.spec import OsName
from tests.stack.catalogue_rows import FILES, known_drivers, table

OURS = get_args(OsName)
FOREIGN = ("ubuntu-20.04", "ubuntu-26.10", "debian-11", "fedora-43", "rocky-9.4")
NONSENSE = (
    "0",
    "1",
    "00",
    "13.0.9",
    "12.7",
    "99",
    "99.99.99.99",
    "13.00",
    "2147483648.1",
    "9.1.0.1",
)


def cut(version: str) -> st.SearchStrategy[str]:
    """`version` or a beginning of it, in whole components."""
    parts = version.split(".")
    return st.integers(1, len(parts)).map(lambda n: ".".join(parts[:n]))


def versions(name: str, *, nonsense: bool = True) -> st.SearchStrategy[str]:
    rows = [r["version"] for r in table(FILES.get(name, name))]
    plain = sorted({v for v in rows if v.replace(".", "").isdigit()}) or ["1.0"]
    real = st.sampled_from(plain).flatmap(cut)
    return st.one_of(real, real, real, real, st.sampled_from(NONSENSE)) if nonsense else real


def gpu_names() -> st.SearchStrategy[str]:
    names = [r["name"] for r in table("gpus")]
    aliases = sorted({a.strip() for r in table("gpus") for a in r["aliases"].split(";")} - {""})
    return st.one_of(st.sampled_from(names), st.sampled_from(aliases))


def gpu_lists() -> st.SearchStrategy[list[str]]:
    near = st.one_of(*[gpu_names()] * 5, st.sampled_from(("H999", "", " ", "h100 ", "Pascal")))
    return st.lists(near, max_size=3)


def drivers(*, nonsense: bool = True) -> st.SearchStrategy[dict[str, str]]:
    real = st.one_of(
        st.sampled_from([r["branch"] for r in table("drivers")]),
        st.sampled_from([r["branch"] for r in table("drivers")]),
        st.sampled_from(sorted(v for v in known_drivers() if "." in v)),
        st.sampled_from(("none", "preinstalled")),
    )
    bent = st.sampled_from(("000", "540", "999", "580.0", "580.999.99", "535.1.1", "525.60.12"))
    return st.fixed_dictionaries(
        {},
        optional={
            "branch": st.one_of(real, real, real, bent) if nonsense else real,
            "flavour": st.sampled_from(("auto", "open", "proprietary")),
            "source": st.sampled_from(("nvidia", "nvidia", "distro")),
        },
    )


def systems(*, nonsense: bool = True) -> st.SearchStrategy[str]:
    ours = st.sampled_from(OURS)
    return st.one_of(*[ours] * 9, st.sampled_from(FOREIGN)) if nonsense else ours


def wishes() -> st.SearchStrategy[dict[str, Any]]:
    """Wishes with every key there is; each is a valid file, many cannot be met."""
    return st.fixed_dictionaries(
        {"os": systems()},
        optional={
            "arch": st.sampled_from(("x86_64", "x86_64", "sbsa")),
            "gpus": gpu_lists(),
            "kernel": st.sampled_from(("generic", "6.8", "6.8.0-31-generic", "7.0", "azure", "?")),
            "driver": drivers(),
            "cuda": versions("cuda"),
            "cudnn": versions("cudnn"),
            "tensorrt": versions("tensorrt"),
            "tensorrt_rtx": versions("tensorrt_rtx"),
            "nccl": versions("nccl"),
            "dcgm": versions("dcgm"),
            "container_toolkit": versions("container_toolkit"),
            "frameworks": st.fixed_dictionaries(
                {}, optional={"torch": versions("torch"), "tensorflow": versions("tensorflow")}
            ),
            "container_runtime": st.sampled_from(("docker", "containerd", "podman")),
            "packages": st.sampled_from(("apt", "wheels")),
            "mirror": st.fixed_dictionaries(
                {"url": st.sampled_from(("https://mirror.invalid/cuda", "file:///srv/mirror"))},
                optional={"key": st.just("/srv/key.asc")},
            ),
        },
    )


MEETINGS = (
    ("driver",),
    ("frameworks",),
    ("gpus", "driver"),
    ("gpus", "driver"),
    ("gpus", "cuda"),
    ("gpus", "frameworks"),
    ("cuda", "driver"),
    ("cuda", "cudnn"),
    ("cuda", "tensorrt"),
    ("cuda", "gpus", "cudnn"),
    ("cuda", "gpus", "tensorrt"),
    ("cuda", "cudnn", "tensorrt"),
    ("cuda", "gpus", "driver", "cudnn", "tensorrt"),
)
"""Keys that one rule or another brings together."""


def near_wishes() -> st.SearchStrategy[dict[str, Any]]:
    """Wishes of real versions with few keys: about half can be met, the rest fail by one rule."""
    real: dict[str, st.SearchStrategy[Any]] = {
        "gpus": st.lists(gpu_names(), min_size=1, max_size=2),
        "driver": drivers(nonsense=False),
        "frameworks": st.sampled_from(("torch", "tensorflow")).flatmap(
            lambda name: st.fixed_dictionaries({name: versions(name, nonsense=False)})
        ),
        **{name: versions(name, nonsense=False) for name in ("cuda", "cudnn", "tensorrt")},
    }
    sources = {
        "arch": st.sampled_from(("x86_64", "x86_64", "sbsa")),
        "packages": st.sampled_from(("apt", "apt", "wheels")),
    }
    return st.sampled_from(MEETINGS).flatmap(
        lambda keys: st.fixed_dictionaries(
            {"os": systems(nonsense=False), **{key: real[key] for key in keys}}, optional=sources
        )
    )


# --- files ----------------------------------------------------------------------------------------

_KEYS = ("os", "arch", "gpus", "driver", "cuda", "cudnn", "frameworks", "mirror", "schema_version")
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=True),
    st.text(max_size=20),
    st.binary(max_size=8),
    st.dates(),
    st.sampled_from(
        ("13.0", "ubuntu-24.04", "580", "~", "=", "<<", "!!python/name:os.system", "0x1")
    ),
)


def values() -> st.SearchStrategy[Any]:
    """Anything that YAML can hold."""
    return st.recursive(
        _scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(st.one_of(st.sampled_from(_KEYS), st.text(max_size=8)), inner),
        ),
        max_leaves=12,
    )


def mappings() -> st.SearchStrategy[str]:
    """Files with our keys and any values."""
    return st.dictionaries(st.sampled_from(_KEYS), values()).map(
        lambda value: yaml.safe_dump(value, allow_unicode=True)
    )


def scarred() -> st.SearchStrategy[str]:
    """Real wishes with a few characters put in or taken out."""

    def scar(text: str, at: int, length: int, put: str) -> str:
        at %= len(text)
        return text[:at] + put + text[at + length :]

    odd = st.text(alphabet="\t\n :-{}[]&*!|>'\"%@`#,?\0\x85\ufeffé0", max_size=4)
    return st.builds(
        scar, wishes().map(yaml.safe_dump), st.integers(0, 500), st.integers(0, 3), odd
    )
