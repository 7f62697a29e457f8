"""A machine for PTX in Python: it runs our kernels' text, thread by thread, as the PTX ISA says.

Slow and small; it knows the instructions that our kernels use and refuses all others. So what a
GPU will be given is executed for real before one sees it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

ENTRY = re.compile(r"\.visible \.entry (\w+)\(([^)]*)\)\s*\{(.*?)\n\}", re.DOTALL)
BASE = 1 << 32  # device addresses; so that none can be taken for a small number
SHARED = 1 << 16
BITS = {"u32": 32, "s32": 32, "b32": 32, "f32": 32, "u64": 64, "b64": 64, "f64": 64}
COMPARE: dict[str, Callable[[int, int], bool]] = {
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
}


class Trap(Exception):
    """The kernel did what it must not."""


@dataclass
class Memory:
    """Global memory: everything that was allocated, and nothing else, may be touched."""

    data: bytearray = field(default_factory=bytearray)

    def allocate(self, content: bytes) -> int:
        """Return the address of new memory, far enough from what is there."""
        self.data += bytes(-len(self.data) % 256)
        at = BASE + len(self.data)
        self.data += content
        return at

    def read(self, at: int, size: int) -> bytes:
        """Return bytes."""
        offset = at - BASE
        if offset < 0 or offset + size > len(self.data) or at % size:
            raise Trap(f"{size} bytes at {at:#x}")
        return bytes(self.data[offset : offset + size])

    def write(self, at: int, content: bytes) -> None:
        """Write bytes."""
        self.read(at, len(content))
        self.data[at - BASE : at - BASE + len(content)] = content


def number(bits: int, kind: str) -> float:
    """Return what bits mean in a type."""
    code = {"s32": "<i", "f32": "<f", "f64": "<d"}[kind]
    value: float = struct.unpack(code, bits.to_bytes(BITS[kind] // 8, "little"))[0]
    return value


def bits(value: float, kind: str) -> int:
    """Return a number's bits in a type."""
    if kind == "s32":
        return int(value) & 0xFFFFFFFF
    data = struct.pack({"f32": "<f", "f64": "<d"}[kind], value)
    return int.from_bytes(data, "little")


class Kernel:
    """One entry of a module."""

    def __init__(self, module: str, name: str) -> None:
        (found,) = [m for m in ENTRY.finditer(module) if m.group(1) == name]
        self.parameters = re.findall(r"\.param \.\w+ (\w+)", found.group(2))
        self.shared: dict[str, int] = {}
        self.shared_bytes = 0
        self.labels: dict[str, int] = {}
        self.code: list[tuple[str | None, bool, str, list[str]]] = []
        for text in re.split(r"[;\n]\s*", found.group(3)):
            self._line(text.strip())

    def _line(self, text: str) -> None:
        tile = re.match(r"\.shared \.align \d+ \.b8 (\w+)\[(\d+)\]", text)
        if tile:
            self.shared[tile.group(1)] = SHARED + self.shared_bytes
            self.shared_bytes += int(tile.group(2))
        elif text.endswith(":"):
            self.labels[text[:-1]] = len(self.code)
        elif text and not text.startswith(".reg"):
            guard = re.match(r"@(!?)(%\w+)\s+", text)
            rest = text[guard.end() :] if guard else text
            operation, _, operands = rest.partition(" ")
            names = [one for one in re.split(r"[,{}\s]+", operands) if one]
            predicate = guard.group(2) if guard else None
            self.code.append((predicate, bool(guard and guard.group(1)), operation, names))

    def launch(
        self, memory: Memory, blocks: int, threads: int, arguments: list[int], sms: list[int]
    ) -> None:
        """Run a grid; block b runs on SM sms[b % len(sms)]."""
        assert len(arguments) == len(self.parameters)
        for block in range(blocks):
            shared = bytearray(self.shared_bytes)
            running = [
                Thread(self, memory, shared, arguments, block, blocks, index, threads, sms).run()
                for index in range(threads)
            ]
            while running:  # every thread up to the next barrier
                running = [thread for thread in running if next(thread, "end") != "end"]


class Thread:
    """One thread: registers hold bits, whatever their type."""

    def __init__(
        self,
        kernel: Kernel,
        memory: Memory,
        shared: bytearray,
        arguments: list[int],
        block: int,
        blocks: int,
        index: int,
        threads: int,
        sms: list[int],
    ) -> None:
        self.kernel, self.memory, self.shared = kernel, memory, shared
        self.parameters = dict(zip(kernel.parameters, arguments, strict=True))
        self.registers: dict[str, int] = {
            "%tid.x": index,
            "%ntid.x": threads,
            "%ctaid.x": block,
            "%nctaid.x": blocks,
            "%smid": sms[block % len(sms)],
            **kernel.shared,
        }

    def value(self, operand: str) -> int:
        """Return an operand's bits; a register that was never written is a mistake."""
        if operand in self.registers:
            return self.registers[operand]
        if operand.startswith(("0f", "0d")):
            return int(operand[2:], 16)
        return int(operand, 0)

    def address(self, operand: str) -> int:
        """Return the address of [register+offset]."""
        base, _, offset = operand.strip("[]").partition("+")
        return self.value(base) + int(offset or 0)

    def run(self) -> Iterator[str]:
        """Run; yields at barriers."""
        at = 0
        while True:
            predicate, negated, operation, operands = self.kernel.code[at]
            at += 1
            if predicate and bool(self.registers[predicate]) == negated:
                continue
            if operation == "ret":
                return
            if operation == "bra":
                at = self.kernel.labels[operands[0]]
            elif operation == "bar.sync":
                yield "barrier"
            else:
                self.step(operation.split("."), operands)

    def step(self, operation: list[str], operands: list[str]) -> None:
        """Execute one instruction."""
        name, kind = operation[0], operation[-1]
        if name in ("ld", "st"):
            self.move(name, operation, operands)
        elif name == "atom":
            self.atomic(operation, operands)
        elif name == "setp":
            width = (1 << BITS[kind]) - 1
            a, b = (self.value(one) & width for one in operands[1:])
            self.registers[operands[0]] = int(COMPARE[operation[1]](a, b))
        elif name == "fma" or operation == ["mad", "lo", "s32"]:
            a, b, c = (number(self.value(one), kind) for one in operands[1:])
            self.registers[operands[0]] = bits(a * b + c, kind)
        elif kind == "f32" and name in ("add", "sub"):
            a, b = (number(self.value(one), kind) for one in operands[1:])
            self.registers[operands[0]] = bits(a + b if name == "add" else a - b, kind)
        elif operation == ["cvt", "rn", "f32", "u32"]:
            self.registers[operands[0]] = bits(float(self.value(operands[1])), "f32")
        else:
            self.registers[operands[0]] = self.integer(operation, operands[1:])

    def integer(self, operation: list[str], operands: list[str]) -> int:
        """Return the result of an integer instruction."""
        name, kind = operation[0], operation[-1]
        if kind == "pred":
            return int(all(self.value(one) for one in operands))
        width = (1 << (64 if "wide" in operation else BITS[kind])) - 1
        a, *rest = (self.value(one) for one in operands)
        if name in ("mov", "cvt", "cvta"):
            return a & width
        if name == "mad":
            return (a * rest[0] + rest[1]) & width
        results = {
            "mul": lambda b: a * b,
            "add": lambda b: a + b,
            "sub": lambda b: a - b,
            "and": lambda b: a & b,
            "xor": lambda b: a ^ b,
            "shl": lambda b: a << b,
            "div": lambda b: a // b,
            "rem": lambda b: a % b,
        }
        found: int = results[name](rest[0]) & width
        return found

    def move(self, name: str, operation: list[str], operands: list[str]) -> None:
        """Load or store, one word or two."""
        if "param" in operation:
            self.registers[operands[0]] = self.parameters[operands[1].strip("[]")]
            return
        size = BITS[operation[-1]] // 8
        places = [one for one in operands if one.startswith("[")]
        words = [one for one in operands if not one.startswith("[")]
        assert len(words) == (2 if "v2" in operation else 1)
        at = self.address(places[0])
        if "v2" in operation and at % (2 * size):
            raise Trap(f"a vector at {at:#x}")
        for position, word in enumerate(words):
            place = at + position * size
            if name == "st":
                content = self.value(word).to_bytes(size, "little")
                self._write(operation, place, content)
            else:
                self.registers[word] = int.from_bytes(self._read(operation, place, size), "little")

    def _read(self, operation: list[str], at: int, size: int) -> bytes:
        if "shared" not in operation:
            return self.memory.read(at, size)
        if at < SHARED or at + size > SHARED + len(self.shared) or at % size:
            raise Trap(f"shared memory at {at:#x}")
        return bytes(self.shared[at - SHARED : at - SHARED + size])

    def _write(self, operation: list[str], at: int, content: bytes) -> None:
        if "shared" not in operation:
            self.memory.write(at, content)
            return
        self._read(operation, at, len(content))
        self.shared[at - SHARED : at - SHARED + len(content)] = content

    def atomic(self, operation: list[str], operands: list[str]) -> None:
        """Change a word and return what it was."""
        size = BITS[operation[-1]] // 8
        at = self.address(operands[1])
        old = int.from_bytes(self.memory.read(at, size), "little")
        values = [self.value(one) for one in operands[2:]]
        new = {
            "add": lambda: old + values[0],
            "or": lambda: old | values[0],
            "cas": lambda: values[1] if old == values[0] else old,
        }[operation[2]]()
        self.memory.write(at, (new & ((1 << 8 * size) - 1)).to_bytes(size, "little"))
        self.registers[operands[0]] = old
