"""Writes what one run says into files: FORMAT=FILE, as often as wanted.

`{host}` in a file's name gives a file for each host; otherwise one file speaks of all. A file is
replaced as a whole, so that a collector never reads half of one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cudactl.certify.formats import FORMATS, Judged, renderer
from cudactl.contracts.errors import UsageError

HOST = "{host}"


@dataclass(frozen=True)
class Output:
    """One file to write."""

    format: str
    file: str


def parse_outputs(texts: Sequence[str]) -> list[Output]:
    """Return what FORMAT=FILE texts mean; refused before anything is measured.

    Raises:
        UsageError: OUTPUT-FORMAT, OUTPUT-NOT-WRITTEN.
    """
    outputs = []
    for text in texts:
        name, separator, file = text.partition("=")
        if name not in FORMATS or not separator or not file:
            raise UsageError(
                "OUTPUT-FORMAT",
                f"{text!r} names no form and file",
                expected=f"FORMAT=FILE, FORMAT one of {', '.join(FORMATS)}",
                remedy="such as --output junit=report.xml",
            )
        folder = Path(file.replace(HOST, "host")).parent
        if file != "-" and not folder.is_dir():
            raise _not_written(file, f"there is no folder {folder}")
        outputs.append(Output(name, file))
    return outputs


def write_outputs(outputs: Sequence[Output], judged: Sequence[Judged]) -> list[str]:
    """Write every file and return the texts that are for standard output.

    Raises:
        UsageError: OUTPUT-NOT-WRITTEN, CERTIFICATE-NOT-SIGNED.
    """
    texts = []
    for output in outputs:
        if output.file == "-":
            texts.append(_text(output.format, judged, ""))
            continue
        groups = [[one] for one in judged] if HOST in output.file else [list(judged)]
        for group in groups:
            name = output.file
            if HOST in name:
                name = name.replace(HOST, group[0].host.replace("/", "_").lstrip("."))
            path = Path(name)
            _write(path, _text(output.format, group, _earlier(output.format, path)))
    return texts


def _text(name: str, judged: Sequence[Judged], earlier: str) -> str:
    if name == "prometheus":
        from cudactl.certify.formats import prometheus

        return prometheus.render(judged, earlier)
    return renderer(name)(judged)


def _earlier(name: str, path: Path) -> str:
    """Return what the file said before: a host that fails now keeps its last success."""
    if name != "prometheus":
        return ""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    if path.exists() and not path.is_file():  # /dev/stdout, a pipe
        path.write_text(text, encoding="utf-8", errors="replace")
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            partial.write_text(text, encoding="utf-8", errors="replace")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise _not_written(str(path), error.strerror or str(error)) from None


def _not_written(file: str, why: str) -> UsageError:
    return UsageError(
        "OUTPUT-NOT-WRITTEN",
        f"{file} cannot be written: {why}",
        expected="a file in a folder that is there and may be written to",
        remedy="make the folder, or name another file",
    )
