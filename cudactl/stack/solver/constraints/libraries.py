"""Library rules: what cuDNN, TensorRT and NCCL are built for, and which GPUs they serve."""

from __future__ import annotations

from cudactl.contracts.verdict import SpecFact
from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import Cudnn, TensorRT, Toolkit
from cudactl.stack.solver.constraints.gpu import lacking, sm
from cudactl.stack.solver.constraints.rule import Rule, Said, fact, first_of
from cudactl.stack.solver.dimensions import Choice
from cudactl.stack.versions import numbers

TITLES = {
    "cudnn": "cuDNN",
    "tensorrt": "TensorRT",
    "tensorrt_rtx": "TensorRT for RTX",
    "nccl": "NCCL",
}


def serves(build: str, toolkit: Toolkit) -> bool:
    """Return True when a library built for one CUDA works beside a toolkit.

    Builds for a whole major ("12") and builds for CUDA 12 and before serve their major (TensorRT's
    support matrices); later builds serve their own minor and newer ones.
    """
    built, have = numbers(build), numbers(toolkit.minor)
    if built[:1] != have[:1]:
        return False
    return len(built) == 1 or have[0] < 13 or built <= have


def _not_built(library: Choice, cuda: Choice) -> bool:
    if not library.builds:
        return cuda.row.major in library.never
    return library.all_builds and not any(serves(b, cuda.row) for b in library.builds)


def _not_built_says(catalogue: Catalogue, library: Choice, cuda: Choice) -> Said:
    toolkit: Toolkit = cuda.row
    title = TITLES[library.dim]
    if not library.builds:
        others = [row for row in catalogue.tensorrt if row.built_for_cuda]
        of = [
            row
            for row in others
            if any(build.split(".")[0] == toolkit.major for build in row.built_for_cuda)
        ]
        span = f"{of[0].version} to {of[-1].version}"
        return Said(
            f"{title} {library.version} is not built for CUDA {toolkit.major}: builds for it are "
            f"known of {span} only",
            (fact(f"{title} builds for CUDA {toolkit.major}: {span}", of[0]),),
            f"choose a {title} that is built for CUDA {toolkit.major}, or another CUDA",
        )
    whole = all("." not in build for build in library.builds)
    beside = toolkit.major if whole else toolkit.minor
    built = f"CUDA {' and '.join(sorted(library.builds, key=numbers))}"
    return Said(
        f"{title} {library.version} is not built for CUDA {beside}, only for {built}",
        (_row_fact(catalogue, library, f"{title} {library.version} is built for {built}"),),
        f"choose a {title} that is built for CUDA {beside}, or another CUDA",
    )


def _row_fact(catalogue: Catalogue, choice: Choice, text: str) -> SpecFact:
    return fact(text, choice.row or first_of(catalogue, choice.dim))


def _cudnn_gpu(gpu: Choice, cudnn: Choice, cuda: Choice) -> bool:
    least = _cudnn_least(cudnn, cuda)
    return least is not None and bool(lacking(gpu, least))


def _cudnn_least(cudnn: Choice, cuda: Choice) -> str | None:
    row: Cudnn | None = cudnn.row
    if row is None:
        return None
    if cuda.row.major == "13" and row.min_cc_cuda13:
        return row.min_cc_cuda13
    return row.min_cc


def _cudnn_gpu_says(catalogue: Catalogue, gpu: Choice, cudnn: Choice, cuda: Choice) -> Said:
    least = str(_cudnn_least(cudnn, cuda))
    wrong = lacking(gpu, least)[0]
    return Said(
        f"cuDNN {cudnn.version} for CUDA {cuda.row.major} serves compute capability {least} and "
        f"later; {wrong.name} has {wrong.cc}",
        (
            fact(f"least compute capability of cuDNN {cudnn.version}: {least}", cudnn.row),
            fact(f"{wrong.name} has compute capability {wrong.cc}", wrong),
        ),
        "choose an older cuDNN or CUDA, or lock these GPUs' hosts apart",
    )


def _tensorrt_gpu(gpu: Choice, tensorrt: Choice) -> bool:
    row: TensorRT | None = tensorrt.row
    return row is not None and row.min_cc is not None and bool(lacking(gpu, row.min_cc))


def _tensorrt_gpu_says(catalogue: Catalogue, gpu: Choice, tensorrt: Choice) -> Said:
    row: TensorRT = tensorrt.row
    wrong = lacking(gpu, str(row.min_cc))[0]
    return Said(
        f"TensorRT {row.version} serves compute capability {row.min_cc} and later; {wrong.name} "
        f"has {wrong.cc}",
        (
            fact(f"least compute capability of TensorRT {row.version}: {row.min_cc}", row),
            fact(f"{wrong.name} has compute capability {wrong.cc}", wrong),
        ),
        "choose an older TensorRT, or lock these GPUs' hosts apart",
    )


def _rtx_gpu(gpu: Choice, rtx: Choice) -> bool:
    targets = rtx.row.sm if rtx.row else ()
    return bool(targets) and any(sm(one) not in targets for one in gpu.gpus)


def _rtx_gpu_says(catalogue: Catalogue, gpu: Choice, rtx: Choice) -> Said:
    wrong = next(one for one in gpu.gpus if sm(one) not in rtx.row.sm)
    targets = ", ".join(f"{t[:-1]}.{t[-1]}" for t in rtx.row.sm)
    return Said(
        f"TensorRT for RTX {rtx.version} builds no engines for {wrong.name} (compute capability "
        f"{wrong.cc}), only for {targets}",
        (fact(f"targets of TensorRT for RTX {rtx.version}: {targets}", rtx.row),),
        "use TensorRT for this GPU",
    )


# --- flags --------------------------------------------------------------------------------------


def _shared(tensorrt: Choice, packages: Choice, newest: Choice) -> bool:
    return packages.version == "apt" and numbers(tensorrt.version)[0] < numbers(newest.version)[0]


def _shared_says(catalogue: Catalogue, tensorrt: Choice, packages: Choice, newest: Choice) -> Said:
    major = numbers(newest.version)[0]
    return Said(
        f"the package names tensorrt, libnvinfer-dev, libnvinfer-bin and python3-libnvinfer now "
        f"belong to TensorRT {major}: unpinned they float away from TensorRT {tensorrt.version}",
        (
            fact(
                "TensorRT's unversioned packages are shared by all majors; apt takes the newest",
                catalogue.tensorrt[-1],
            ),
        ),
        "nothing with cudactl: the lock pins every one of them; by hand, pin tensorrt*, "
        "libnvinfer*, libnvonnxparsers* and python3-libnvinfer*",
    )


def _older_build(tensorrt: Choice, cuda: Choice) -> bool:
    serving = any(serves(build, cuda.row) for build in tensorrt.builds)
    return serving and cuda.row.major == "13" and cuda.row.minor not in tensorrt.builds


def _older_build_says(catalogue: Catalogue, tensorrt: Choice, cuda: Choice) -> Said:
    fitting = [build for build in tensorrt.builds if serves(build, cuda.row)]
    best = max(fitting or tensorrt.builds, key=numbers)
    return Said(
        f"{TITLES[tensorrt.dim]} {tensorrt.version} is the build for CUDA {best}, taken beside "
        f"CUDA {cuda.row.minor}",
        (_row_fact(catalogue, tensorrt, f"built for CUDA {', '.join(tensorrt.builds)}"),),
        "nothing: builds serve newer minors of their major",
    )


def _contested(library: Choice) -> bool:
    return bool(getattr(library.row, "contested", ()))


def _contested_says(catalogue: Catalogue, library: Choice) -> Said:
    row = library.row
    return Said(
        f"sources disagree about {library.dim} {library.version} ({', '.join(row.contested)}): "
        f"{row.notes or 'see the catalogue'}",
        (fact(row.notes or "contested", row),),
        "measure it on the hosts it is for: cudactl certify host",
    )


def _newer(library: Choice) -> bool:
    return not library.known


def _newer_says(catalogue: Catalogue, library: Choice) -> Said:
    return Said(
        f"{library.dim} {library.version} is not in the catalogue of {catalogue.day}: only what "
        "its name and version say was checked",
        (fact("not in the catalogue", first_of(catalogue, library.dim)),),
        "cudactl catalogue refresh, or a newer cudactl",
    )


def _trt_cudnn(tensorrt: Choice, cudnn: Choice) -> bool:
    row: TensorRT | None = tensorrt.row
    return (
        row is not None
        and row.cudnn is not None
        and (str(numbers(cudnn.version)[0]) != row.cudnn.split(".")[0])
    )


def _trt_cudnn_says(catalogue: Catalogue, tensorrt: Choice, cudnn: Choice) -> Said:
    row: TensorRT = tensorrt.row
    return Said(
        f"TensorRT {row.version} loads cuDNN {row.cudnn}, and the spec asks for cuDNN "
        f"{cudnn.version}",
        (fact(f"TensorRT {row.version} needs cuDNN {row.cudnn}", row),),
        f'write cudnn: "{str(row.cudnn).split(".")[0]}", or a newer TensorRT',
    )


def _unseen(library: Choice, cuda: Choice) -> bool:
    seen = any(serves(build, cuda.row) for build in library.builds)
    return not library.all_builds and bool(library.builds) and not seen


def _unseen_says(catalogue: Catalogue, library: Choice, cuda: Choice) -> Said:
    title, minor = TITLES[library.dim], cuda.row.minor
    built = " and ".join(library.builds)
    return Said(
        f"a build of {title} {library.version} for CUDA {minor} was not seen, only for {built}",
        (_row_fact(catalogue, library, f"builds seen of {library.version}: {built}"),),
        "cudactl stack lock will tell what the repository has",
    )


def _builds_unknown(library: Choice) -> bool:
    return not library.builds


def _builds_unknown_says(catalogue: Catalogue, library: Choice) -> Said:
    title = TITLES[library.dim]
    return Said(
        f"for which CUDA {title} {library.version} is built is not known",
        (_row_fact(catalogue, library, "no source for its CUDA builds was found"),),
        f"choose a {title} whose builds are known, or see what the index has: cudactl stack lock",
    )


RULES = (
    Rule("STACK-CUDNN-CUDA", ("cudnn", "cuda"), _not_built, _not_built_says),
    Rule("STACK-TENSORRT-CUDA", ("tensorrt", "cuda"), _not_built, _not_built_says, allowable=True),
    Rule("STACK-TENSORRT-CUDA", ("tensorrt_rtx", "cuda"), _not_built, _not_built_says),
    Rule("STACK-NCCL-CUDA", ("nccl", "cuda"), _not_built, _not_built_says),
    Rule("STACK-CUDNN-GPU", ("gpu", "cudnn", "cuda"), _cudnn_gpu, _cudnn_gpu_says),
    Rule("STACK-TENSORRT-GPU", ("gpu", "tensorrt"), _tensorrt_gpu, _tensorrt_gpu_says),
    Rule("STACK-TENSORRT-GPU", ("gpu", "tensorrt_rtx"), _rtx_gpu, _rtx_gpu_says),
    Rule("STACK-TENSORRT-CUDNN", ("tensorrt", "cudnn"), _trt_cudnn, _trt_cudnn_says, "flagged"),
    Rule(
        "STACK-TENSORRT-SHARED-NAMES",
        ("tensorrt", "packages", "newest_tensorrt"),
        _shared,
        _shared_says,
        "flagged",
    ),
    *(
        Rule("STACK-BUILD-UNKNOWN", (dim,), _builds_unknown, _builds_unknown_says, "flagged")
        for dim in ("tensorrt", "nccl")
    ),
    Rule("STACK-BUILD-UNSEEN", ("nccl", "cuda"), _unseen, _unseen_says, "flagged"),
    Rule("STACK-OLDER-BUILD", ("tensorrt", "cuda"), _older_build, _older_build_says, "note"),
    Rule("STACK-OLDER-BUILD", ("nccl", "cuda"), _older_build, _older_build_says, "note"),
    *(
        Rule("STACK-CONTESTED", (dim,), _contested, _contested_says, "flagged")
        for dim in ("cudnn", "tensorrt")
    ),
    *(
        Rule("STACK-NEWER-THAN-CATALOGUE", (dim,), _newer, _newer_says, "note")
        for dim in ("cudnn", "tensorrt", "nccl", "dcgm", "container_toolkit")
    ),
)
