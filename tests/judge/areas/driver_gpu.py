"""The driver's part on each GPU."""

from __future__ import annotations

from typing import Any

from tests.judge.healthy import DRIVER, SYSTEM, add_device_leg, device_leg, library, value
from tests.judge.red import (
    Change,
    Evidence,
    Red,
    drop,
    error,
    on_gpu_outcome,
    put,
    unmeasured,
)


def _rates(name: str, median: float) -> dict[str, Any]:
    return {
        f"{name}_gbs_least": 0.99 * median,
        f"{name}_gbs_median": median,
        f"{name}_gbs_most": 1.01 * median,
        f"{name}_repetitions": 5,
        f"{name}_variation": 0.003,
    }


def healthy(evidence: Evidence) -> None:
    """An H200 as the simulated one answers, with the rates that such a GPU may have."""
    device = {
        "device_count": 1,
        "name": "NVIDIA H200",
        "bus_id": "0000:17:00.0",
        "uuid": "GPU-c0dac711-0000-4000-8000-000000000001",
        "cc": "9.0",
        "total_bytes": 150_754_820_096,
        "free_bytes": 150_000_000_000,
        "sm_count": 132,
        "ecc": 1,
    }
    memory = {
        "free_bytes": 150_000_000_000,
        "checked_bytes": 7_500_000_000,
        "rounds": 3,
        "patterns": ["zeros", "ones", "0101", "1010", "address", "inverse address"],
        "wrong_words": 0,
        "wrong_in": [],
        "first_wrong": None,
        "planted_found": True,
    }
    compute = {
        "sm_count": 132,
        "kinds": ["s32", "f32", "f64"],
        "sms_visited": 132,
        "blocks_launched": 6336,
        "blocks_counted": 6336,
        "compared_elements": 6_488_064,
        "wrong_elements": 0,
        "wrong_sms": {},
        "first_wrong": None,
        "planted_found": {"s32": True, "f32": True, "f64": True},
    }
    copy = {"copied_bytes": 1 << 25, "wrong_bytes": 0, "first_wrong": None}
    copy |= {"wrong_bytes_unaligned": 0}
    copy |= _rates("h2d", 55.0) | _rates("d2h", 54.0) | _rates("d2d", 2000.0)
    bandwidth = {"buffer_bytes": 1 << 30, "wrong_words": 0}
    bandwidth |= _rates("copy", 4000.0) | _rates("read", 4200.0) | _rates("write", 4300.0)
    measured = {
        "driver.device": device,
        "driver.kernels": {"ptx_bytes": 20000, "kernels": 5, "compile_s": 0.2},
        "driver.memory": memory,
        "driver.compute": compute,
        "driver.copy": copy,
        "driver.bandwidth": bandwidth,
    }
    libcuda = library(f"{SYSTEM}/libcuda.so.{DRIVER}", "libnvidia-compute-580")
    add_device_leg(evidence, "driver", measured, [libcuda])


def _not_blind(**found: bool) -> Change:
    return lambda e: value(e, "driver.compute")["planted_found"].update(found)


FIRST_WORD = {
    "pattern": "address",
    "wrong_words": 2,
    "address": "0x00007f0000001000",
    "expected": "0x00007f0000001000",
    "found": "0x00007f0000000000",
    "bits": "0x0000000000001000",
}
FIRST_ELEMENT = {"kind": "f32", "sm": 17, "element": 5, "expected": "-12", "found": "-11"}

RED: list[Red] = [
    Red(
        "driver.device",
        "libcuda takes another GPU",
        "gpu",
        put("driver.device", bus_id="0000:18:00.0"),
        "another GPU than the one asked for",
    ),
    Red(
        "driver.device",
        "another UUID",
        "gpu",
        put("driver.device", uuid="GPU-00000000-0000-4000-8000-000000000002"),
        "the UUID is another GPU's",
    ),
    Red(
        "driver.device",
        "another capability",
        "gpu",
        put("driver.device", cc="8.9"),
        "the compute capability is another model's",
    ),
    Red(
        "driver.device",
        "a slice of it was left behind (MIG)",
        "gpu",
        put("driver.device", sm_count=60),
        "a part of one (MIG, vGPU)",
    ),
    Red(
        "driver.device",
        "half of its memory is gone",
        "gpu",
        put("driver.device", total_bytes=75_000_000_000),
        "its memory is not that of a H200 SXM",
    ),
    Red(
        "driver.device",
        "more memory than was ever built in",
        "gpu",
        put("driver.device", total_bytes=300_000_000_000),
        "its memory is not that of a H200 SXM",
    ),
    Red(
        "driver.device",
        "cuInit fails",
        "gpu",
        error("driver.device", "cuInit answers CUDA_ERROR_SYSTEM_NOT_READY (802): not yet"),
        "CUDA_ERROR_SYSTEM_NOT_READY",
    ),
    Red(
        "driver.device",
        "an address that is none",
        "gpu",
        put("driver.device", bus_id="no address"),
        "cannot be read",
        status="ERROR",
    ),
    Red(
        "driver.kernels",
        "the driver is older than our kernels",
        "gpu",
        error("driver.kernels", "cuModuleLoadDataEx answers CUDA_ERROR_UNSUPPORTED_PTX_VERSION"),
        "UNSUPPORTED_PTX",
    ),
    Red(
        "driver.kernels",
        "none was loaded",
        "gpu",
        put("driver.kernels", kernels=0),
        "no kernel was loaded",
        status="ERROR",
    ),
    Red(
        "driver.memory",
        "a bit flips",
        "gpu",
        put("driver.memory", wrong_words=2, wrong_in=["address"], first_wrong=FIRST_WORD),
        "2 words were not what was written (pattern address); first at 0x00007f0000001000",
    ),
    Red(
        "driver.memory",
        "wrong, and nobody says where",
        "gpu",
        put("driver.memory", wrong_words=1, wrong_in=["ones"]),
        "1 words were not what was written (pattern ones)",
    ),
    Red(
        "driver.memory",
        "the walk sees nothing",
        "gpu",
        put("driver.memory", planted_found=False),
        "made wrong on purpose was not found",
    ),
    Red(
        "driver.memory",
        "little of it could be had",
        "gpu",
        put("driver.memory", checked_bytes=1_000_000_000),
        "less of the memory could be had",
    ),
    Red(
        "driver.memory",
        "nothing was walked",
        "gpu",
        put("driver.memory", checked_bytes=0),
        "no memory was checked",
        status="ERROR",
    ),
    Red(
        "driver.memory",
        "not a round was finished",
        "gpu",
        put("driver.memory", rounds=0),
        "no memory was checked",
        status="ERROR",
    ),
    Red(
        "driver.memory",
        "an ECC error that nobody corrects",
        "gpu",
        error("driver.memory", "cuCtxSynchronize answers CUDA_ERROR_ECC_UNCORRECTABLE (214)"),
        "ECC_UNCORRECTABLE",
    ),
    Red(
        "driver.compute",
        "one SM computes wrongly",
        "gpu",
        put(
            "driver.compute",
            wrong_elements=9,
            wrong_sms={"17": 8, "3": 1},
            first_wrong=FIRST_ELEMENT,
        ),
        "9 elements are wrong, on SM 3, 17; first in f32 on SM 17: -12 is right, -11 was found",
    ),
    Red(
        "driver.compute",
        "one SM never ran",
        "gpu",
        put("driver.compute", sms_visited=131),
        "1 SMs never ran anything",
    ),
    Red(
        "driver.compute",
        "work was lost",
        "gpu",
        put("driver.compute", blocks_counted=6335),
        "some of what was started never ran",
    ),
    Red(
        "driver.compute",
        "work was done twice",
        "gpu",
        put("driver.compute", blocks_counted=6337),
        "some of what was started never ran",
    ),
    Red(
        "driver.compute",
        "a wrong result is not noticed",
        "gpu",
        _not_blind(f64=False),
        "not noticed in f64",
    ),
    Red(
        "driver.compute",
        "one type was left out",
        "gpu",
        lambda e: value(e, "driver.compute")["planted_found"].pop("s32"),
        "not noticed in s32",
    ),
    Red(
        "driver.compute",
        "nothing was started",
        "gpu",
        put("driver.compute", blocks_launched=0, blocks_counted=0),
        "nothing was computed",
        status="ERROR",
    ),
    Red(
        "driver.compute",
        "a GPU without any SM",
        "gpu",
        put("driver.compute", sm_count=0, sms_visited=0),
        "nothing was computed",
        status="ERROR",
    ),
    Red(
        "driver.copy",
        "a byte changes on the way",
        "gpu",
        put(
            "driver.copy",
            wrong_bytes=1,
            first_wrong={"offset_bytes": 4711, "expected": 1, "found": 17},
        ),
        "1 of 33554432 bytes were altered on the way, first at byte 4711",
    ),
    Red(
        "driver.copy",
        "an unaligned copy is cut short",
        "gpu",
        put("driver.copy", wrong_bytes_unaligned=3),
        "3 bytes of an unaligned copy",
    ),
    Red(
        "driver.copy",
        "nothing was copied",
        "gpu",
        put("driver.copy", copied_bytes=0),
        "nothing was copied",
        status="ERROR",
    ),
    Red(
        "driver.copy",
        "not timed",
        "gpu",
        drop("driver.copy", "d2h_gbs_median"),
        "d2h_gbs_median was not measured",
        status="ERROR",
    ),
    Red(
        "driver.bandwidth",
        "half as fast as it should be",
        "gpu",
        put("driver.bandwidth", copy_gbs_median=2400.0),
        "slower than this GPU's should be",
    ),
    Red(
        "driver.bandwidth",
        "a thousandth, as a slip in the unit would give",
        "gpu",
        put("driver.bandwidth", copy_gbs_median=4.0),
        "slower than this GPU's should be",
    ),
    Red(
        "driver.bandwidth",
        "fast and wrong",
        "gpu",
        put("driver.bandwidth", wrong_words=7),
        "not what was copied",
    ),
    Red(
        "driver.bandwidth",
        "no number",
        "gpu",
        put("driver.bandwidth", copy_gbs_median=float("inf")),
        "copy_gbs_median was not measured",
        status="ERROR",
    ),
    Red(
        "driver.bandwidth",
        "not measured",
        "gpu",
        unmeasured("driver.bandwidth"),
        "measured no driver.bandwidth",
        status="ERROR",
    ),
    Red(
        "driver.ran_on_gpu",
        "crashed after its last measurement",
        "gpu",
        on_gpu_outcome("driver", "crashed", "SIGSEGV"),
        "SIGSEGV",
    ),
    Red(
        "driver.ran_on_gpu",
        "somebody uses the GPU",
        "gpu",
        lambda e: device_leg(e, "driver").update(
            outcome="deferred", detail="process 4711 computes on it", measurements=[]
        ),
        "process 4711 computes on it",
        status="ERROR",
        also=(
            "driver.device",
            "driver.kernels",
            "driver.memory",
            "driver.compute",
            "driver.copy",
            "driver.bandwidth",
        ),
    ),
]
