"""tensorrt: libnvinfer answers the locked version; TensorRT for RTX builds a real engine."""

from __future__ import annotations

from ..context import Answer, Context, dotted, entries, integer, number, text
from .provenance import library
from .registry import Values, check, failed, passed


@check(
    "tensorrt.library",
    "tensorrt",
    "libnvinfer loads and answers the locked version",
    needs=("path", "loaded"),
)
def tensorrt_library(context: Context, values: Values, expect: Values) -> Answer:
    return library(context, values, expect, lambda v: dotted(integer(v, "version_number")))


@check(
    "tensorrt_rtx.build",
    "tensorrt",
    "TensorRT for RTX builds a real engine ahead of time, for every target",
    needs=("version", "path", "targets", "output_shape", "engine_bytes", "engine_sha256"),
)
def tensorrt_rtx_build(context: Context, values: Values, expect: Values) -> Answer:
    wanted = str(expect["version"])
    version, path = text(values, "version"), text(values, "path")
    if version != wanted:
        return failed(version, wanted, "the bindings are of another version")
    if not any(path.startswith(prefix) for prefix in expect["prefixes"]):
        return failed(path, expect["prefixes"][0], "the bindings are another copy")
    if entries(values, "output_shape") != expect["output_shape"]:
        found = str(values["output_shape"])
        return failed(found, str(expect["output_shape"]), "it is another network")
    targets = [str(t) for t in entries(values, "targets")]
    if targets != expect["targets"]:
        return failed(", ".join(targets), ", ".join(expect["targets"]), "it is for other targets")
    size = integer(values, "engine_bytes")
    # The weights alone are 16 × 1000 + 16 × 27 + 16 floats of four bytes, per target or shared.
    if size < 65792:
        return failed("%d bytes" % size, "an engine", "the engine cannot hold its weights")
    if len(text(values, "engine_sha256")) != 64:
        return failed("no hash", "an engine", "the engine was not hashed")
    return passed(
        "%d bytes in %.2f s" % (size, number(values, "build_s")),
        "an engine for %s" % ", ".join(targets),
        "TensorRT for RTX %s built it ahead of time, without a GPU" % wanted,
    )
