"""Compile the simulated libraries once, and write versions into copies of them.

One compilation per soname; the version of a release is then written into the file where the mark
is, so that a dozen releases of cuDNN cost one call of gcc. The universe of packages asks
`Libraries` for each file by soname and version.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import struct
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cudactl.contracts.errors import CudactlError

MARKER = b"CUDACTL-SIMULATED-LIBRARY"
"""In every simulated file; whoever touches one can tell from its bytes."""

SOURCES = Path(__file__).parent
VERSION_AT, NUMBERS_AT, END = 32, 96, 128  # offsets in mark.h's struct
FLAGS = [
    *("-shared", "-nostdlib", "-ffreestanding", "-fPIC", "-O1", "-s", "-w", "-fvisibility=hidden"),
    *("-fno-builtin", "-fno-stack-protector", "-fno-asynchronous-unwind-tables"),
    *("-fno-tree-loop-distribute-patterns", "-Wl,--build-id=none", "-Wl,-z,noexecstack"),
]


class SimulationError(CudactlError):
    """The simulated libraries could not be built."""


@dataclass(frozen=True)
class Template:
    """How one soname is compiled."""

    soname: str
    source: str = "plain.c"
    macros: tuple[str, ...] = ()
    needs: str | None = None
    """Soname of a library that it is linked with."""


def _templates() -> list[Template]:
    found = []
    for line in (SOURCES / "plain.txt").read_text(encoding="utf-8").splitlines():
        soname, *macros = line.split()
        found.append(Template(soname, macros=tuple(macros)))
    found += [Template("libcudnn.so.8", "cudnn.c"), Template("libcudnn.so.9", "cudnn.c")]
    for cuda in ("12", "13"):
        found += [
            Template(f"libcudart.so.{cuda}", "cudart.c"),
            Template(f"libcublasLt.so.{cuda}", "cublas.c", ("LT",)),
            Template(f"libcublas.so.{cuda}", "cublas.c", needs=f"libcublasLt.so.{cuda}"),
            Template(
                f"libnvrtc.so.{cuda}",
                "pair.c",
                ("VERSION=nvrtcVersion", "ERROR_STRING=nvrtcGetErrorString"),
            ),
            Template(f"libnvJitLink.so.{cuda}", "pair.c", ("VERSION=nvJitLinkVersion",)),
            Template(f"libnvfatbin.so.{cuda}", "pair.c", ("VERSION=nvFatbinVersion",)),
        ]
    for major in ("10", "11"):
        found += [
            Template(f"libnvinfer.so.{major}", "nvinfer.c"),
            Template(f"libnvinfer_lean.so.{major}", "nvinfer.c"),
            Template(f"libnvinfer_dispatch.so.{major}", "nvinfer.c"),
            Template(f"libnvinfer_plugin.so.{major}", "nvinfer.c", ("PLUGIN",)),
            Template(f"libnvinfer_vc_plugin.so.{major}", "nvinfer.c", ("PLUGIN",)),
            Template(f"libnvonnxparser.so.{major}", "nvinfer.c", ("PARSER",)),
        ]
    found += [Template("libcuda.so.1", "cuda.c"), Template("libnvidia-ml.so.1", "nvml.c")]
    return found


class Libraries:
    """The compiled templates in a folder; hands out bytes with a version written in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, bytes] = {}

    @classmethod
    def build(cls, folder: Path) -> Libraries:
        """Compile what `folder` lacks; nothing when it is complete and the sources are the same."""
        stamp = folder / "sources.sha256"
        digest = sources_digest()
        if not stamp.is_file() or stamp.read_text() != digest:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            templates = _templates()
            # libcublas is linked with libcublasLt, which must be there first.
            for batch in (
                [t for t in templates if not t.needs],
                [t for t in templates if t.needs],
            ):
                with ThreadPoolExecutor(max_workers=2) as pool:
                    list(pool.map(lambda template: _compile(template, folder), batch))
            _compile_static(folder)
            stamp.write_text(digest)
        return cls(folder)

    def file(self, soname: str, version: str, numbers: Sequence[int] = ()) -> bytes:
        """Return the library `soname` as the given version; `numbers` are what its calls answer."""
        if soname not in self._read:
            self._read[soname] = (self._folder / soname).read_bytes()
        return _stamped(self._read[soname], version, numbers)


def native_architecture() -> str:
    """The architecture that simulated libraries are built for, in NVIDIA's words."""
    return "sbsa" if platform.machine() == "aarch64" else "x86_64"


def sources_digest() -> str:
    """Return a hash over the sources and scripts, which changes when a library would."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def text(name: str, **values: str | int) -> bytes:
    """Return one of the package's headers or scripts with its @PLACEHOLDERS@ filled in."""
    content = (SOURCES / name).read_text(encoding="utf-8")
    for key, value in values.items():
        content = content.replace(f"@{key}@", str(value))
    return content.encode()


def _stamped(template: bytes, version: str, numbers: Sequence[int]) -> bytes:
    at = template.find(MARKER)
    while template[at + VERSION_AT : at + VERSION_AT + 9] != b"@VERSION@":
        at = template.find(MARKER, at + 1)
        if at < 0:
            raise SimulationError("LAB-NO-MARK", "a compiled library does not carry its mark")
    padded = (*numbers, *([0] * 8))[:8]
    return (
        template[: at + VERSION_AT]
        + struct.pack("<64s", version.encode())
        + struct.pack("<8i", *padded)
        + template[at + END :]
    )


def _compile(template: Template, folder: Path) -> None:
    command = ["gcc", *FLAGS, f"-Wl,-soname,{template.soname}", "-I", str(SOURCES)]
    command += [f"-D{macro}" for macro in template.macros]
    command += [str(SOURCES / template.source), "-o", str(folder / template.soname)]
    if template.needs:
        command += ["-Wl,--no-as-needed", f"-L{folder}", f"-l:{template.needs}"]
    _run(command)


def _compile_static(folder: Path) -> None:
    """libcudart_static.a: what nvcc links by default, so a program built with it is marked too."""
    flags = [flag for flag in FLAGS if flag not in ("-shared", "-s") and not flag.startswith("-W")]
    built = folder / "cudart.o"
    _run(["gcc", *flags, "-c", "-I", str(SOURCES), str(SOURCES / "cudart.c"), "-o", str(built)])
    archive = folder / "libcudart_static.a"
    _run(["ar", "rcD", str(archive), str(built)])
    built.unlink()


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise SimulationError(
            "LAB-NO-COMPILER",
            f"the program {command[0]} is not installed",
            expected="gcc and binutils, to compile the lab's simulated libraries",
            remedy="Install them: apt-get install gcc",
        ) from error
    if done.returncode:
        raise SimulationError(
            "LAB-COMPILE-FAILED",
            f"{command[0]} failed: {done.stderr.strip()[-500:]}",
            expected="a simulated library",
            remedy="Check the compiler: gcc --version.",
        )
