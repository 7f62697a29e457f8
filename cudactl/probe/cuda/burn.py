"""A load of multiply-adds in FP32 that keeps a GPU busy, and whose result is known bit for bit.

Each thread turns four whole numbers around: x becomes c − x, an even number of times, by
multiply-adds with a factor that the compiler does not know. All of it is exact below 2^24, so every
thread must end where it began; and most bits of the mantissas change at every step, which costs
power as real work does.
"""

from __future__ import annotations

import array
import ctypes
import time
from typing import Any, Dict, List

from .driver_api import Driver
from .ptx import HEADER

THREADS = 256
BLOCKS_PER_SM = 8
STEPS = 16  # per chain and round, an even number
CHAINS = 4  # independent of each other, so that none waits for the last
FLOPS_PER_ROUND = 2 * STEPS * CHAINS
LAUNCH_S = 0.05
FIRST, SPACING, PERIOD = 1048573, 512, 4096


def ptx() -> bytes:
    """Return the kernel cudactl_burn(out, rounds, factor), with a terminating zero."""
    text: List[str] = [
        HEADER,
        ".visible .entry cudactl_burn(\n",
        "  .param .u64 burn_out, .param .u32 burn_rounds, .param .f32 burn_factor\n)\n{\n",
        "  .reg .pred %p<2>;\n  .reg .b32 %r<10>;\n  .reg .b64 %rd<6>;\n  .reg .f32 %f<12>;\n",
        "  ld.param.u64 %rd1, [burn_out];\n  cvta.to.global.u64 %rd1, %rd1;\n",
        "  ld.param.u32 %r1, [burn_rounds];\n  ld.param.f32 %f1, [burn_factor];\n",
        "  mov.u32 %r2, %ctaid.x;\n  mov.u32 %r3, %ntid.x;\n  mov.u32 %r4, %tid.x;\n",
        "  mad.lo.u32 %r5, %r2, %r3, %r4;\n",
        f"  and.b32 %r6, %r5, {PERIOD - 1};\n  mul.lo.u32 %r6, %r6, {SPACING};\n",
        f"  add.u32 %r6, %r6, {FIRST};\n  cvt.rn.f32.u32 %f2, %r6;\n",
        # x, 2x, 3x, 4x in %f2 to %f5; what they are taken from in %f6 to %f9
        "  add.f32 %f3, %f2, %f2;\n  add.f32 %f4, %f3, %f2;\n  add.f32 %f5, %f3, %f3;\n",
        "  mov.u32 %r7, 7654321;\n",
    ]
    for chain in range(CHAINS):
        text.append(f"  add.u32 %r8, %r7, {chain};\n  cvt.rn.f32.u32 %f{6 + chain}, %r8;\n")
    text.append("BURN_NEXT:\n")
    for _ in range(STEPS):
        for chain in range(CHAINS):
            at = 2 + chain
            text.append(f"  fma.rn.f32 %f{at}, %f{at}, %f1, %f{6 + chain};\n")
    text += [
        "  sub.u32 %r1, %r1, 1;\n  setp.ne.u32 %p1, %r1, 0;\n  @%p1 bra BURN_NEXT;\n",
        # (4x − 3x) + (2x − x)
        "  sub.f32 %f10, %f5, %f4;\n  sub.f32 %f11, %f3, %f2;\n  add.f32 %f10, %f10, %f11;\n",
        "  mul.wide.u32 %rd2, %r5, 4;\n  add.u64 %rd3, %rd1, %rd2;\n",
        "  st.global.f32 [%rd3], %f10;\n  ret;\n}\n",
    ]
    return "".join(text).encode() + b"\0"


class Burn:
    """The load on the current context's GPU."""

    def __init__(self, driver: Driver, sm_count: int) -> None:
        """Compile it and find out how many rounds make a launch long enough (`LAUNCH_S`).

        Raises:
            CudaError: when the driver does not compile or run it.
        """
        self._driver = driver
        self._module = driver.load(ptx())
        self.blocks = sm_count * BLOCKS_PER_SM
        self.threads = self.blocks * THREADS
        self._out = driver.allocate(4 * self.threads)
        self._rounds = 256
        self.launches = 0
        self._timed()  # loads the kernel
        while self._timed() < LAUNCH_S / 2 and self._rounds < 1 << 24:
            self._rounds *= 2
        self.launches = 0

    @property
    def flops_per_launch(self) -> int:
        """Floating-point operations of one launch."""
        return self.threads * self._rounds * FLOPS_PER_ROUND

    def _timed(self) -> float:
        begun = time.monotonic()
        self.launch()
        self.wait()
        return time.monotonic() - begun

    def launch(self) -> None:
        """Start it once more; it runs on while the host goes on."""
        self._module.launch(
            "cudactl_burn",
            self.blocks,
            THREADS,
            ctypes.c_uint64(self._out),
            ctypes.c_uint32(self._rounds),
            ctypes.c_float(-1.0),
        )
        self.launches += 1

    def wait(self) -> None:
        """Wait for everything that was started."""
        self._driver.call("cuCtxSynchronize")

    def result(self) -> Dict[str, Any]:
        """Return how many threads of the last launch ended with another number than they must."""
        found = array.array("f")
        found.frombytes(self._driver.download(self._out, 4 * self.threads))
        period = array.array("f", (2.0 * (FIRST + SPACING * n) for n in range(PERIOD)))
        wrong = 0
        for begin in range(0, self.threads, PERIOD):
            part = found[begin : begin + PERIOD]
            if part != period[: len(part)]:
                wrong += sum(a != b for a, b in zip(part, period))
        return {"threads": self.threads, "wrong_threads": wrong}
