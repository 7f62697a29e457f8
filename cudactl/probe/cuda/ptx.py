"""Our own kernels, as PTX that every driver from 384 on compiles for its GPU.

Written by hand, because nothing else needs to be installed then: this tells a driver's faults from
a toolkit's. PTX 6.0 for sm_35 compiles for every later GPU; a test assembles it with NVIDIA's own
assembler for all that CUDA 12 and 13 know.

Memory is written and checked in 64-bit words of (address AND select) XOR mask: with select 0 a
constant pattern, with all ones the address itself, which also finds address lines that are stuck.
"""

from __future__ import annotations

from typing import List, Tuple

HEADER = ".version 6.0\n.target sm_35\n.address_size 64\n"
ROWS, COLUMNS, DEPTH = 32, 32, 64
"""Size of the product that every block computes: ROWS × DEPTH times DEPTH × COLUMNS."""
THREADS = 256
SM_SLOTS = 4096
"""Entries of the tables by %smid, whose numbers need not be contiguous (PTX ISA, %nsmid)."""
REPORT_WORDS = 8
"""64-bit words of a report: wrong words or elements, then those of the first that was found."""
KINDS = ("s32", "f32", "f64")
AT_ONCE = 4  # loads of 16 bytes that a thread has under way

# Index of this thread among all in %rd5, their number in %rd7.
GRID = """\
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %ntid.x;
  mov.u32 %r3, %tid.x;
  cvt.u64.u32 %rd6, %r3;
  mad.wide.u32 %rd5, %r1, %r2, %rd6;
  mov.u32 %r4, %nctaid.x;
  mul.wide.u32 %rd7, %r4, %r2;
"""


def _pointer(register: str, parameter: str) -> str:
    return (
        f"  ld.param.u64 {register}, [{parameter}];\n  cvta.to.global.u64 {register}, {register};\n"
    )


FILL = f"""
.visible .entry cudactl_fill(
  .param .u64 fill_at, .param .u64 fill_pairs, .param .u64 fill_select, .param .u64 fill_mask
)
{{
  .reg .pred %p<3>;
  .reg .b32 %r<8>;
  .reg .b64 %rd<16>;
{_pointer("%rd1", "fill_at")}  ld.param.u64 %rd2, [fill_pairs];
  ld.param.u64 %rd3, [fill_select];
  ld.param.u64 %rd4, [fill_mask];
{GRID}  setp.ge.u64 %p1, %rd5, %rd2;
  @%p1 bra FILL_END;
FILL_NEXT:
  shl.b64 %rd8, %rd5, 4;
  add.u64 %rd8, %rd1, %rd8;
  and.b64 %rd9, %rd8, %rd3;
  xor.b64 %rd9, %rd9, %rd4;
  add.u64 %rd10, %rd8, 8;
  and.b64 %rd10, %rd10, %rd3;
  xor.b64 %rd10, %rd10, %rd4;
  st.global.v2.u64 [%rd8], {{%rd9, %rd10}};
  add.u64 %rd5, %rd5, %rd7;
  setp.lt.u64 %p1, %rd5, %rd2;
  @%p1 bra FILL_NEXT;
FILL_END:
  ret;
}}
"""


def _check_word(label: str, address: str, found: str) -> str:
    """Compare one word; whoever finds a wrong one first describes it in the report."""
    return f"""\
  and.b64 %rd20, {address}, %rd3;
  xor.b64 %rd20, %rd20, %rd4;
  xor.b64 %rd21, %rd20, {found};
  setp.eq.u64 %p2, %rd21, 0;
  @%p2 bra {label};
  atom.global.add.u64 %rd22, [%rd11], 1;
  atom.global.or.b64 %rd22, [%rd11+32], %rd21;
  atom.global.cas.b64 %rd22, [%rd11+8], 0, {address};
  setp.ne.u64 %p2, %rd22, 0;
  @%p2 bra {label};
  st.global.u64 [%rd11+16], %rd20;
  st.global.u64 [%rd11+24], {found};
{label}:
"""


def _check_pairs(count: int) -> str:
    """Load `count` pairs, each a whole stride apart, then compare them; %rd5 moves on."""
    text = ""
    for number in range(count):
        address, low, high = f"%rd{30 + number}", f"%rd{40 + number}", f"%rd{50 + number}"
        text += f"  shl.b64 {address}, %rd5, 4;\n  add.u64 {address}, %rd1, {address};\n"
        text += f"  ld.global.v2.u64 {{{low}, {high}}}, [{address}];\n"
        text += "  add.u64 %rd5, %rd5, %rd7;\n"
    for number in range(count):
        address, low, high = f"%rd{30 + number}", f"%rd{40 + number}", f"%rd{50 + number}"
        text += _check_word(f"VERIFY_{count}_{number}_LOW", address, low)
        text += f"  add.u64 {address}, {address}, 8;\n"
        text += _check_word(f"VERIFY_{count}_{number}_HIGH", address, high)
    return text


VERIFY = f"""
.visible .entry cudactl_verify(
  .param .u64 verify_at, .param .u64 verify_pairs, .param .u64 verify_select,
  .param .u64 verify_mask, .param .u64 verify_report
)
{{
  .reg .pred %p<4>;
  .reg .b32 %r<8>;
  .reg .b64 %rd<60>;
{_pointer("%rd1", "verify_at")}  ld.param.u64 %rd2, [verify_pairs];
  ld.param.u64 %rd3, [verify_select];
  ld.param.u64 %rd4, [verify_mask];
{_pointer("%rd11", "verify_report")}{GRID}  mul.lo.u64 %rd12, %rd7, {AT_ONCE - 1};
VERIFY_SOME:
  add.u64 %rd13, %rd5, %rd12;
  setp.ge.u64 %p1, %rd13, %rd2;
  @%p1 bra VERIFY_REST;
{_check_pairs(AT_ONCE)}  bra VERIFY_SOME;
VERIFY_REST:
  setp.ge.u64 %p1, %rd5, %rd2;
  @%p1 bra VERIFY_END;
{_check_pairs(1)}  bra VERIFY_REST;
VERIFY_END:
  ret;
}}
"""


def _matmul(kind: str) -> str:
    """Return a kernel whose every block computes the whole product and compares it, bit for bit.

    A and B lie in memory behind each other; both come into shared memory first. Each block counts
    itself in the table of its SM, and each wrong element in a second table, so that a wrong result
    has a place on the chip.
    """
    size = 8 if kind == "f64" else 4
    bits = 8 * size
    elements = (ROWS + COLUMNS) * DEPTH
    per_thread = ROWS * COLUMNS // THREADS
    groups = COLUMNS // per_thread
    zero = {"s32": "0", "f32": "0f00000000", "f64": "0d0000000000000000"}[kind]
    register = {"s32": "%n", "f32": "%f", "f64": "%d"}[kind]
    multiply = "mad.lo.s32" if kind == "s32" else "fma.rn." + kind
    sums = [f"{register}{number}" for number in range(per_thread)]
    begin = "".join(f"  mov.{kind} {one}, {zero};\n" for one in sums)
    row_bytes = DEPTH * size
    inner = f"  ld.volatile.shared.{kind} {register}10, [%r10];\n"
    for number, one in enumerate(sums):
        inner += f"  ld.volatile.shared.{kind} {register}11, [%r11+{number * size}];\n"
        inner += f"  {multiply} {one}, {register}10, {register}11, {one};\n"
    compare = ""
    for number, one in enumerate(sums):
        found, expected = f"%w{bits}a", f"%w{bits}b"
        widen = "cvt.u64.u32" if bits == 32 else "mov.b64"
        compare += f"""\
  mov.b{bits} {found}, {one};
  ld.global.b{bits} {expected}, [%rd6+{number * size}];
  setp.eq.b{bits} %p1, {found}, {expected};
  @%p1 bra {kind}_RIGHT_{number};
  atom.global.add.u64 %rd10, [%rd5], 1;
  @%p3 atom.global.add.u32 %r15, [%rd8], 1;
  atom.global.cas.b64 %rd10, [%rd5+8], 0, %rd9;
  setp.ne.u64 %p1, %rd10, 0;
  @%p1 bra {kind}_RIGHT_{number};
  {widen} %rd10, {expected};
  st.global.u64 [%rd5+16], %rd10;
  {widen} %rd10, {found};
  st.global.u64 [%rd5+24], %rd10;
  add.u32 %r15, %r9, {number};
  cvt.u64.u32 %rd10, %r15;
  st.global.u64 [%rd5+40], %rd10;
{kind}_RIGHT_{number}:
"""
    return f"""
.visible .entry cudactl_matmul_{kind}(
  .param .u64 {kind}_inputs, .param .u64 {kind}_expected, .param .u64 {kind}_visited,
  .param .u64 {kind}_wrong, .param .u64 {kind}_report
)
{{
  .reg .pred %p<4>;
  .reg .b32 %r<20>;
  .reg .b32 %w32a;
  .reg .b32 %w32b;
  .reg .b64 %w64a;
  .reg .b64 %w64b;
  .reg .s32 %n<12>;
  .reg .f32 %f<12>;
  .reg .f64 %d<12>;
  .reg .b64 %rd<16>;
  .shared .align 16 .b8 {kind}_tile[{elements * size}];
{_pointer("%rd1", kind + "_inputs")}{_pointer("%rd2", kind + "_expected")}\
{_pointer("%rd3", kind + "_visited")}{_pointer("%rd4", kind + "_wrong")}\
{_pointer("%rd5", kind + "_report")}  mov.u32 %r1, %tid.x;
  mov.u32 %r2, %smid;
  mov.u32 %r3, {kind}_tile;
  mov.u32 %r4, %r1;
{kind}_LOAD:
  mul.lo.u32 %r5, %r4, {size};
  cvt.u64.u32 %rd7, %r5;
  add.u64 %rd7, %rd1, %rd7;
  ld.global.{kind} {register}10, [%rd7];
  add.u32 %r6, %r3, %r5;
  st.shared.{kind} [%r6], {register}10;
  add.u32 %r4, %r4, {THREADS};
  setp.lt.u32 %p1, %r4, {elements};
  @%p1 bra {kind}_LOAD;
  bar.sync 0;
  setp.lt.u32 %p3, %r2, {SM_SLOTS};
  mul.wide.u32 %rd7, %r2, 4;
  add.u64 %rd8, %rd4, %rd7;
  add.u64 %rd7, %rd3, %rd7;
  setp.eq.u32 %p2, %r1, 0;
  and.pred %p2, %p2, %p3;
  @%p2 atom.global.add.u32 %r5, [%rd7], 1;
  add.u32 %r5, %r2, 1;
  cvt.u64.u32 %rd9, %r5;
  div.u32 %r7, %r1, {groups};
  rem.u32 %r8, %r1, {groups};
  mul.lo.u32 %r8, %r8, {per_thread};
  mad.lo.u32 %r9, %r7, {COLUMNS}, %r8;
  mul.lo.u32 %r5, %r9, {size};
  cvt.u64.u32 %rd6, %r5;
  add.u64 %rd6, %rd2, %rd6;
  mad.lo.u32 %r10, %r7, {row_bytes}, %r3;
  mad.lo.u32 %r11, %r8, {size}, %r3;
  add.u32 %r11, %r11, {ROWS * row_bytes};
  mov.u32 %r12, 0;
{begin}{kind}_NEXT:
{inner}  add.u32 %r10, %r10, {size};
  add.u32 %r11, %r11, {COLUMNS * size};
  add.u32 %r12, %r12, 1;
  setp.lt.u32 %p1, %r12, {DEPTH};
  @%p1 bra {kind}_NEXT;
{compare}  ret;
}}
"""


def module() -> bytes:
    """Return the whole module as the driver takes it: text that ends in a zero byte."""
    kernels = [FILL, VERIFY, *(_matmul(kind) for kind in KINDS)]
    return (HEADER + "".join(kernels)).encode("ascii") + b"\0"


def kernels() -> Tuple[str, ...]:
    """Return the names of the module's kernels."""
    return ("cudactl_fill", "cudactl_verify", *("cudactl_matmul_" + kind for kind in KINDS))


def inputs(kind_seed: int) -> Tuple[List[int], List[int], List[int]]:
    """Return A, B and their product: whole numbers of which every sum is exact in any type.

    |a|, |b| ≤ 8 and DEPTH terms: no sum exceeds 4096, far below 2^24. The numbers are a linear
    congruence's upper bits: the same everywhere, and switching as many bits as random ones.
    """
    state = kind_seed & 0xFFFFFFFF
    numbers: List[int] = []
    for _ in range((ROWS + COLUMNS) * DEPTH):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        numbers.append((state >> 16) % 17 - 8)
    a, b = numbers[: ROWS * DEPTH], numbers[ROWS * DEPTH :]
    product = [
        sum(a[row * DEPTH + k] * b[k * COLUMNS + column] for k in range(DEPTH))
        for row in range(ROWS)
        for column in range(COLUMNS)
    ]
    return a, b, product
