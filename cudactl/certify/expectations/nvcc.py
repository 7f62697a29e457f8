"""nvcc: its version, and a program that it compiles and links."""

from __future__ import annotations

import re
from typing import Any

from cudactl.certify.builder import PolicyBuilder
from cudactl.certify.layout import three

# Compiled for Ampere and Hopper data-centre GPUs, which every toolkit from 11.8 on knows.
ARCHITECTURES = ["80", "90"]


def expect_nvcc(policy: PolicyBuilder) -> None:
    """Add what the lock promises of nvcc."""
    layout = policy.layout
    if not layout.minor:
        return
    dash = re.escape(layout.minor.replace(".", "-"))
    # NVIDIA's wheels hold the nvcc driver itself from CUDA 13 on; before, only its back end.
    nvcc = layout.place(rf"cuda-nvcc-{dash}", "nvidia-cuda-nvcc", "cuda_nvcc")
    cudart = layout.place(rf"cuda-cudart-{dash}", "nvidia-cuda-runtime", "cuda_runtime")
    cublas = layout.place(rf"libcublas-{dash}", "nvidia-cublas", "cublas")
    if nvcc is None or cudart is None:
        return
    home = layout.home if layout.apt else f"{layout.site}/nvidia/cu{layout.major}"
    source = f"lock {nvcc.package.name}"
    policy.ask("nvcc", nvcc=f"{home}/bin/nvcc")
    expect: dict[str, Any] = {"version": three(nvcc.package.version), "prefixes": [f"{home}/"]}
    policy.expect("nvcc.version", expect, source)
    version = policy.lock.resolved.get("cudnn")
    headers = not layout.apt or any(
        re.fullmatch(r"libcudnn\d+-dev.*", p.name) for p in policy.lock.packages
    )
    if version is None or cublas is None or not headers:
        policy.ask("nvcc", link=False)
        return
    cudnn = layout.place(r"libcudnn\d+(-cuda-\d+)?", r"nvidia-cudnn-cu\d+", "cudnn", system=True)
    assert cudnn is not None
    places = [cudart, cublas, cudnn]
    folders = list(dict.fromkeys(f for p in places for f in p.folders))
    includes = [folder[: -len("lib")] + "include" for folder in folders if not layout.apt]
    policy.ask("nvcc", link=True, folders=folders, includes=includes, architectures=ARCHITECTURES)
    expect = {
        "cudart": layout.minor,
        "cudnn": three(version),
        "prefixes": [folder + "/" for folder in folders],
        "owners": list(dict.fromkeys(o for p in places for o in p.owners)),
    }
    policy.expect("nvcc.link", expect, source)
