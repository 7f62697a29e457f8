"""nvcc: it is the locked one, and what it compiles and links runs on the lock's libraries."""

from __future__ import annotations

from ..context import Answer, Context, cuda_version, dotted, entries, integer, number, text
from .provenance import wrong_place
from .registry import Values, check, failed, passed


@check("nvcc.version", "nvcc", "nvcc is the locked one", needs=("path", "version"))
def nvcc_version(context: Context, values: Values, expect: Values) -> Answer:
    wanted = str(expect["version"])
    version, path = text(values, "version"), text(values, "path")
    if version != wanted:
        return failed(version, wanted, "%s is another nvcc" % path)
    if not any(path.startswith(prefix) for prefix in expect["prefixes"]):
        return failed(path, " or ".join(expect["prefixes"]), "it is another copy of nvcc")
    return passed(version, wanted, path)


@check(
    "nvcc.link",
    "nvcc",
    "A program compiles, links against cuBLAS and cuDNN, runs, and binds to the lock's files",
    needs=("compiled",),
)
def nvcc_link(context: Context, values: Values, expect: Values) -> Answer:
    expected = "cudart %s, cuDNN %s" % (expect["cudart"], expect["cudnn"])
    if values["compiled"] is not True:
        return failed("not compiled", expected, "nvcc did not compile it")
    status = integer(values, "exit_status")
    if status != 0:
        return failed("exit %d" % status, expected, "the program does not run to its end")
    runtime, cudnn = integer(values, "runtime"), integer(values, "cudnn")
    found = "cudart %s, cuDNN %s" % (cuda_version(runtime), dotted(cudnn))
    if found != expected:
        return failed(found, expected, "the program bound to other libraries")
    mapped = [str(path) for path in entries(values, "mapped")]
    for stem in ("libcudart", "libcublas", "libcudnn"):
        bound = [path for path in mapped if path.rsplit("/", 1)[-1].startswith(stem + ".so")]
        if not bound:
            return failed(found, expected, "the program did not bind to %s" % stem)
        for path in bound:
            wrong = wrong_place(context, path, expect)
            if wrong:
                return failed(found, expected, wrong)
    code = integer(values, "count_code")
    if code and context.gpus:
        return failed("cudaError %d" % code, expected, "a GPU is there and the program sees none")
    reason = "compiled in %.1f s, linked and run" % number(values, "compile_s")
    if values.get("architectures"):
        reason += " (sm_%s)" % ", sm_".join(str(a) for a in values["architectures"])
    return passed(found, expected, reason)
