"""The zipapp's front door: one verb, one JSON document on standard output (doctor: text)."""

from __future__ import annotations

import json
import os
import sys
import time

TYPE_CHECKING = False  # see probe/__init__.py
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple

MAX_DOCUMENT_BYTES = 32 * 1024 * 1024


def fail(code: str, found: str, remedy: str = "", status: int = 2) -> None:
    """Print an error as a document and leave."""
    error = {"code": code, "found": found, "expected": "", "remedy": remedy}
    sys.stdout.write(json.dumps({"error": error}) + "\n")
    sys.exit(status)


def main(argv: "List[str] | None" = None) -> None:
    """Run a verb: state, measure, leg (measure's own), judge, gate or doctor."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    root = "/"
    if "--root" in arguments:
        at = arguments.index("--root")
        if at + 1 >= len(arguments) or not os.path.isdir(arguments[at + 1]):
            fail("PROBE-ROOT", "--root needs a folder that is there")
        root = arguments[at + 1]
        del arguments[at : at + 2]
    verb = arguments[0] if arguments else ""
    if verb not in VERBS:
        fail("PROBE-VERB", "no such verb: %r" % verb, "use one of: %s" % ", ".join(sorted(VERBS)))
    VERBS[verb](arguments[1:], root)


def say(document: Dict[str, Any]) -> None:
    """Print a document on one line."""
    sys.stdout.write(json.dumps(document, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def state(arguments: List[str], root: str) -> None:
    """Print the HostState document."""
    from cudactl.probe.files import Root
    from cudactl.probe.state import host_state

    say(host_state(Root(root)))


def measure(arguments: List[str], root: str) -> None:
    """Read a request from standard input, print the Evidence document."""
    import signal

    from cudactl.probe.measure import RequestError, evidence

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # As an exception, so that the legs, which have sessions of their own, are ended too.
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    try:
        request = json.loads(sys.stdin.read() or "{}")
        if not isinstance(request, dict):
            raise RequestError("the request is no JSON object")
        say(evidence(request, tell if request.get("progress") is True else None))
    except (RequestError, ValueError, RecursionError) as error:
        fail("PROBE-REQUEST", str(error), "send what certify compiled from a lock")


def tell(step: Dict[str, Any]) -> None:
    """Print how far measuring is: a line before the document's, whole whoever else writes."""
    try:  # noqa: SIM105 - contextlib is dear, and the gate reads this file too
        os.write(1, (json.dumps({"progress": step}) + "\n").encode())
    except OSError:
        pass  # nobody listens any more; the document's own line will find that out


def leg(arguments: List[str], root: str) -> None:
    """Run one leg as measure's child."""
    from cudactl.probe.leg_process import leg_main

    leg_main(arguments[0], int(arguments[1]))


def read(path: str) -> Dict[str, Any]:
    """Return a JSON object from a file, or leave with an error."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(MAX_DOCUMENT_BYTES + 1)
        if len(content) > MAX_DOCUMENT_BYTES:
            raise ValueError("it is larger than %d MiB" % (MAX_DOCUMENT_BYTES // 1024**2))
        value = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        fail("FILE-UNREADABLE", "%s: %s" % (path, error), "give a JSON file")
    if not isinstance(value, dict):
        fail("FILE-UNREADABLE", "%s holds no JSON object" % path, "give a JSON file")
    return dict(value)


def judge(arguments: List[str], root: str) -> None:
    """Judge EVIDENCE by POLICY, print the certificate, exit by its verdict."""
    from cudactl.judge import JudgeError, exit_code
    from cudactl.judge import judge as decide

    if len(arguments) != 2:
        fail("JUDGE-CALL", "judge takes two files", "judge EVIDENCE POLICY")
    evidence, policy = read(arguments[0]), read(arguments[1])
    state = evidence.get("state")
    host = str(state.get("hostname")) if isinstance(state, dict) else ""
    try:
        certificate = decide(evidence, policy, host, time.time())
    except JudgeError as error:
        fail("EVIDENCE-UNREADABLE", str(error), "give evidence and policy as cudactl writes them")
    say(certificate)
    sys.exit(exit_code(str(certificate["verdict"])))


def gate_answer(root: str, now: float) -> "Tuple[int, str]":
    """Return the gate's exit code and line from what the machine at `root` keeps."""
    from cudactl.judge.gate import gate as decide
    from cudactl.probe.files import Root
    from cudactl.probe.hardware import module

    tree = Root(root)
    bits = {
        "boot_id": tree.line("/proc/sys/kernel/random/boot_id"),
        "machine_id": tree.line("/etc/machine-id"),
        "driver": module(tree)["loaded"],
    }
    certificate = tree.json("/var/lib/cudactl/certificate.json")
    if certificate is None and tree.exists("/var/lib/cudactl/certificate.json"):
        certificate = {}  # there, and no certificate
    return decide(certificate, bits, now)


def gate(arguments: List[str], root: str) -> None:
    """Say whether the kept certificate still stands, in one line."""
    from cudactl.judge.gate import NAGIOS

    code, line = gate_answer(root, time.time())
    style = " ".join(arguments).replace("=", " ")
    if style not in ("", "--exit-style nagios", "--exit-style cudactl"):
        fail("GATE-CALL", "gate does not know %r" % style, "gate [--exit-style nagios|cudactl]")
    sys.stdout.write(line + "\n")
    sys.exit(NAGIOS[code] if style.endswith("nagios") else code)


def doctor(arguments: List[str], root: str) -> None:
    """Say what is wrong here and what to do; changes nothing."""
    from cudactl.judge.doctor import diagnose, exit_code, explain
    from cudactl.judge.doctor.show import diagnosis_text, explanation_text
    from cudactl.probe.examination import examination
    from cudactl.probe.files import Root

    asked = _doctor_options(arguments)
    if asked["--explain"] is not None:
        told = explain(str(asked["--explain"]))
        if told is None:
            fail(
                "DOCTOR-CODE", "no such finding: %s" % asked["--explain"], "doctor names its codes"
            )
            return
        sys.stdout.write(explanation_text(told) + "\n")
        return
    document = examination(Root(root))
    if asked["--evidence"]:
        answer: Dict[str, Any] = {"examination": document}
        if asked["--with-bundle"]:
            import base64

            data = _bundle(document, diagnose(document), root, bool(asked["--keep-host-name"]))
            answer["bundle"] = base64.b64encode(data).decode()
        say(answer)
        return
    diagnosis = diagnose(document)
    if asked["--bundle"] is not None:
        data = _bundle(document, diagnosis, root, bool(asked["--keep-host-name"]))
        try:
            # Evidence is for whoever collected it, and never written over.
            handle = os.open(str(asked["--bundle"]), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as sink:
                sink.write(data)
        except OSError as error:
            fail("DOCTOR-BUNDLE", "%s: %s" % (asked["--bundle"], error.strerror), "a new file")
        sys.stderr.write("%s: %d bytes; read it first\n" % (asked["--bundle"], len(data)))
    if asked["--json"]:
        say(diagnosis)
    else:
        sys.stdout.write(diagnosis_text(str(diagnosis["hostname"]), diagnosis) + "\n")
    sys.exit(exit_code(diagnosis, bool(asked["--strict"])))


DOCTOR_FLAGS = ("--json", "--strict", "--evidence", "--with-bundle", "--keep-host-name")
DOCTOR_VALUES = ("--explain", "--bundle")


def _doctor_options(arguments: List[str]) -> "Dict[str, str | bool | None]":
    found: "Dict[str, str | bool | None]" = dict.fromkeys(DOCTOR_FLAGS, False)
    found.update(dict.fromkeys(DOCTOR_VALUES))
    left = [part for word in arguments for part in _split(word)]
    while left:
        word = left.pop(0)
        if word in DOCTOR_FLAGS:
            found[word] = True
        elif word in DOCTOR_VALUES and left:
            found[word] = left.pop(0)
        else:
            usage = "doctor [--json] [--strict] [--explain CODE] [--bundle FILE [--keep-host-name]]"
            fail("DOCTOR-CALL", "doctor does not know %r" % word, usage)
    return found


def _split(word: str) -> List[str]:
    return word.split("=", 1) if word.startswith("--") else [word]


def _bundle(document: Dict[str, Any], diagnosis: Dict[str, Any], root: str, keep: bool) -> bytes:
    from cudactl.judge.doctor.show import diagnosis_text
    from cudactl.probe.bundle import bundle
    from cudactl.probe.files import Root
    from cudactl.probe.kernel_log import read

    tree = Root(root)
    name = str(diagnosis["hostname"])
    texts = {"doctor.txt": diagnosis_text(name, diagnosis) + "\n"}
    log = read(tree, [], journal_s=10.0)
    if log is not None:
        texts["kernel-log.txt"] = "# from %s\n%s" % (log[0], log[2])
    documents = {"examination": document, "diagnosis": diagnosis}
    return bundle(tree, documents, texts, name, keep)


VERBS = {
    "state": state,
    "measure": measure,
    "leg": leg,
    "judge": judge,
    "gate": gate,
    "doctor": doctor,
}
