"""toolkit on a GPU: matrix products in every type that it has, exact first, then fast; NVRTC.

Exact: operands are small integers whose every partial sum the type holds, so the product is known
bit for bit: compared entry by entry at one size and by Freivalds at a large one. D is filled with
ones in every bit before, so what was not written shows. Then speed, on random normal numbers.
"""

from __future__ import annotations

import functools
import math
import random
import time
from array import array
from typing import Callable, Dict, List, Optional, Tuple

from ...cuda import blas, nvrtc_api
from ...cuda.blas_lt import ARRAY, KINDS, WIDTH, WORKSPACE_BYTES, BlasLt, Matmul
from ...cuda.calls import CallFailed
from ...cuda.integers import FOUR, TWO, Product, encode
from ...cuda.normals import BLOCK, Normals, decode
from ...cuda.runtime_api import Runtime, Stopwatch
from ...cuda.speed import once, rates, sample
from ...loading import Loaded
from .. import Emit, Values, libraries

SIZES = {"full": 512, "large": 2048, "inner": 4096, "speed": 8192}
FP8_INNER = 2048  # validate.md 5.2: Hopper's FP8 sums keep fewer bits, so they stay below 2^12
SPARE_S = 3.0
SPARE_BYTES = 256 << 20
SAMPLED = 16
KERNEL = r"""
extern "C" __global__ void cudactl_check(const unsigned *in, unsigned *out, unsigned count) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  unsigned x = in[i];
  for (int round = 0; round < 4; round++) { x ^= x << 13; x ^= x >> 17; x ^= x << 5; }
  out[i] = x + i;
}
"""
COUNT, THREADS = 16384, 256
RESULTS = {
    "CUDA_R_64F": "fp64",
    "CUDA_R_32F": "fp32",
    "CUDA_R_16F": "fp16",
    "CUDA_R_16BF": "bf16",
    "CUDA_R_32I": "int32",
}
"""Names of D's types in normals.decode."""
FAILURES = (CallFailed, AttributeError)


def measure(request: Values, emit: Emit) -> None:
    """Measure toolkit.matmul.*, toolkit.gemm, toolkit.nvrtc_run, toolkit.speed.*, tensor_gain."""
    begun = time.monotonic()
    until = begun + float(request["deadline_s"]) - SPARE_S
    wanted = libraries(request)
    types = {name: _cc(least) for name, least in (request.get("types") or {}).items()}
    order = ("cuda", "cudart", "cublaslt", "cublas", "nvrtc")
    loaded = {name: Loaded(*wanted[name]) for name in order if name in wanted}
    try:
        runtime = Runtime(loaded["cudart"], str(request["gpu"]["address"]))
        lt = BlasLt(loaded["cublaslt"], runtime.allocate(WORKSPACE_BYTES))
    except (*FAILURES, KeyError) as error:
        for check in _asked(types):
            emit(check, {}, "%s: %s" % (type(error).__name__, error))
        return
    device = {
        "address": runtime.address,
        "cc": "%d.%d" % runtime.cc,
        "sm_count": runtime.sm_count,
    }
    emit("toolkit.device", dict(device), None)
    sizes = dict(SIZES, **(request.get("size") or {}))
    has = [name for name in KINDS if name in types and runtime.cc >= types[name]]
    seed = int(request.get("seed", 1))
    for name in has:
        told: Values = {"cc": device["cc"]}
        said = _said(_exact, runtime, lt, name, sizes, seed, told)
        emit("toolkit.matmul." + name, told, said)
    gemm: Values = {}
    emit("toolkit.gemm", gemm, _said(_gemm, runtime, loaded, sizes, seed, gemm))
    kernel: Values = {}
    emit("toolkit.nvrtc_run", kernel, _said(_nvrtc, runtime, loaded, kernel))
    _speeds(runtime, lt, has, sizes, request, until, emit)


def _asked(types: Dict[str, Tuple[int, int]]) -> List[str]:
    checks = ["toolkit.matmul." + name for name in types] + ["toolkit.gemm", "toolkit.nvrtc_run"]
    return [*checks, *("toolkit.speed." + name for name in types), "toolkit.tensor_gain"]


def _cc(text: str) -> Tuple[int, int]:
    major, _, minor = str(text).partition(".")
    return int(major), int(minor or 0)


def _said(work: Callable[..., None], *arguments: object) -> Optional[str]:
    """Do it; return what went wrong in the library's words."""
    try:
        work(*arguments)
    except FAILURES as error:
        return str(error)
    return None


def _exact(
    runtime: Runtime, lt: BlasLt, name: str, sizes: Dict[str, int], seed: int, values: Values
) -> None:
    """Compare a product in full, and a larger one by Freivalds."""
    number = seed * 100 + list(KINDS).index(name)
    full = sizes["full"]
    product = Product(number, full, full, full, TWO if name == "fp8" else FOUR)
    data, code = _product(runtime, lt, name, product)
    values.update(product.compare(data, code), compared_values=full * full, full_size=full)
    if values["wrong_values"] != 0:
        return
    inner = min(sizes["inner"], FP8_INNER) if name == "fp8" else sizes["inner"]
    large = Product(
        number + 50, sizes["large"], sizes["large"], inner, TWO if name == "fp8" else FOUR
    )
    data, code = _product(runtime, lt, name, large)
    found = large.verify(data, code, number)
    values.update(
        {"large_" + key: value for key, value in found.items()},
        large_size=[sizes["large"], sizes["large"], inner],
    )


def _product(runtime: Runtime, lt: BlasLt, name: str, product: Product) -> Tuple[bytes, str]:
    """Return D as the GPU makes it, and its type as `array` writes it."""
    matmul = Matmul(lt, name, product.m, product.n, product.k, fast=False)
    size = product.m * product.n * WIDTH[matmul.out]
    with runtime.scratch():
        a, b = runtime.put(encode(name, product.a)), runtime.put(encode(name, product.b))
        d = runtime.allocate(size)
        runtime.fill(d, 0xFF, size)
        matmul.run(a, b, d)
        runtime.synchronize()
        return runtime.get(d, size), ARRAY[matmul.out]


def _gemm(
    runtime: Runtime, loaded: Dict[str, Loaded], sizes: Dict[str, int], seed: int, values: Values
) -> None:
    """The same through cuBLAS, in FP32."""
    if "cublas" not in loaded:
        raise AttributeError("libcublas was not asked for")
    size = sizes["full"] // 2
    product = Product(seed * 100 + 90, size, size, size, FOUR)
    with runtime.scratch():
        a, b = runtime.put(encode("fp32", product.a)), runtime.put(encode("fp32", product.b))
        d = runtime.allocate(4 * size * size)
        runtime.fill(d, 0xFF, 4 * size * size)
        blas.gemm(loaded["cublas"], a, b, d, size, size, size)
        runtime.synchronize()
        data = runtime.get(d, 4 * size * size)
    values.update(product.compare(data, "f"), compared_values=size * size)


def _nvrtc(runtime: Runtime, loaded: Dict[str, Loaded], values: Values) -> None:
    """Compile a kernel for this GPU, run it, and compare every value."""
    for name in ("nvrtc", "cuda"):
        if name not in loaded:
            raise AttributeError("lib%s was not asked for" % name)
    begun = time.monotonic()
    code = nvrtc_api.compiled(loaded["nvrtc"], KERNEL, runtime.cc)
    values.update(
        architecture="sm_%d%d" % runtime.cc,
        compile_s=time.monotonic() - begun,
        code_bytes=len(code),
    )
    numbers = random.Random(7)
    given = [numbers.randrange(1, 1 << 32) for _ in range(COUNT)]
    with runtime.scratch():
        source = runtime.put(array("I", given).tobytes())
        target = runtime.allocate(4 * COUNT)
        runtime.fill(target, 0xFF, 4 * COUNT)
        arguments = (source, target, COUNT)
        blocks = COUNT // THREADS
        nvrtc_api.launch(loaded["cuda"], code, "cudactl_check", blocks, THREADS, arguments)
        found = array("I", runtime.get(target, 4 * COUNT))
    wrong = [i for i in range(COUNT) if found[i] != _mixed(given[i], i)]
    values.update(compared_values=COUNT, wrong_values=len(wrong))
    if wrong:
        first = wrong[0]
        values.update(
            first_wrong=first,
            first_found="0x%08x" % found[first],
            first_expected="0x%08x" % _mixed(given[first], first),
        )


def _mixed(x: int, place: int) -> int:
    """Return what KERNEL makes of a value at a place (Marsaglia's xorshift, four rounds)."""
    for _ in range(4):
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
    return x + place & 0xFFFFFFFF


def _speeds(
    runtime: Runtime,
    lt: BlasLt,
    has: List[str],
    sizes: Dict[str, int],
    request: Values,
    until: float,
    emit: Emit,
) -> None:
    """Emit toolkit.speed.* and what Tensor Cores gain."""
    timed_s = float(request["timed_s"])
    normals = Normals(11, min(BLOCK, 4 * sizes["speed"] * sizes["speed"] + 1))
    medians: Dict[str, float] = {}
    for place, name in enumerate(has):
        values: Values = {}
        left = (until - time.monotonic()) / (len(has) - place)
        if left <= 0:
            # No finding about the GPU: what was not measured is not judged.
            emit("toolkit.speed." + name, {"left_s": left}, None)
            continue
        seconds = min(timed_s, left / 3)
        end = time.monotonic() + left

        size = sizes["speed"]
        error = _said(_speed, runtime, lt, name, size, normals, seconds, end, values)
        emit("toolkit.speed." + name, values, error)
        if error is None and values.get("tflops_median"):
            medians[name] = values["tflops_median"]
    with_cores = next((name for name in ("bf16", "fp16") if name in has), None)
    if with_cores is None:
        return
    gain: Values = {"kind": with_cores}
    if with_cores in medians and "fp32" in medians:
        gain.update(
            tflops=medians[with_cores],
            fp32_tflops=medians["fp32"],
            gain=medians[with_cores] / medians["fp32"],
        )
    emit("toolkit.tensor_gain", gain, None)


def _speed(
    runtime: Runtime,
    lt: BlasLt,
    name: str,
    most: int,
    normals: Normals,
    timed_s: float,
    until: float,
    values: Values,
) -> None:
    """Time the fastest of cuBLASLt's first proposals on random numbers."""
    watch = Stopwatch(runtime)
    size, block = most, normals.block(name)
    while size > 1024 and size * size * 3 * 8 + SPARE_BYTES > runtime.free_bytes():
        size //= 2
    trial = min(size, max(size // 4, 64))
    width = WIDTH[KINDS[name].operand]
    other = _turned(block, width)
    with runtime.scratch():
        a = runtime.repeated(block, size * size * width)
        b = runtime.repeated(other, size * size * width)
        d = runtime.allocate(size * size * WIDTH[KINDS[name].fast])
        small = Matmul(lt, name, trial, trial, trial, fast=True)
        once(watch, lambda: small.run(a, b, d))
        cost = once(watch, lambda: small.run(a, b, d)) / trial**3
        while size > trial and cost * size**3 > max(timed_s, 0.05) / 8:
            size //= 2
        matmul = Matmul(lt, name, size, size, size, fast=True, ask=4)
        choice = _fastest(watch, matmul, (a, b, d))
        looked = min(size * size * WIDTH[matmul.out], 16 << 20)
        matmul.run(a, b, d, choice)
        runtime.synchronize()
        before = runtime.get(d, looked)
        seconds = sample(watch, lambda: matmul.run(a, b, d, choice), timed_s, until)
        values.update(rates(seconds, 2.0 * size**3 / 1e12, "tflops"))
        values.update(
            size=size,
            algorithms_tried=len(matmul.algorithms),
            timed_s=timed_s,
            repeated_bytes=looked,
            repeats_differ=before != runtime.get(d, looked),
            worst_error_sigma=_error(runtime, name, matmul.out, size, (block, other), d),
        )


def _turned(block: bytes, width: int) -> bytes:
    """Return the block from another place on, so that the operands differ."""
    place = len(block) // width // 3 * width
    return block[place:] + block[:place]


def _fastest(watch: Stopwatch, matmul: Matmul, where: Tuple[int, int, int]) -> int:
    """Return which of the proposed algorithms is the fastest."""
    taken = []
    for number in range(len(matmul.algorithms)):
        run = functools.partial(matmul.run, *where, number)
        once(watch, run)
        taken.append(once(watch, run, 3))
    return taken.index(min(taken))


def _error(
    runtime: Runtime, name: str, out: str, size: int, blocks: Tuple[bytes, bytes], d: int
) -> float:
    """Return the largest error of some entries of D, in standard deviations of an entry."""
    wide, kind = WIDTH[out], RESULTS[out]
    first, second = (decode(name, block) for block in blocks)
    count = len(first)
    numbers = random.Random(13)
    spread = sum(x * x for x in first) / count * math.sqrt(size)
    worst = 0.0
    for _ in range(SAMPLED):
        n, m = numbers.randrange(size), numbers.randrange(size)
        x = (first[(m * size + k) % count] for k in range(size))
        y = (second[(n * size + k) % count] for k in range(size))
        expected = sum(one * other for one, other in zip(x, y))
        (found,) = decode(kind, runtime.get(d + (n * size + m) * wide, wide))
        error = abs(found - expected) / spread
        worst = max(worst, error if math.isfinite(error) else 1e9)
    return worst
