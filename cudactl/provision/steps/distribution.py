"""What the distribution has to bring, and what its apt says that would be.

The lock holds the closure inside its own sources; what a locked package needs beyond them comes
from the host's own archive, which only the host's apt can resolve. So the host is asked, once,
without a change: `apt-get --simulate install` of exactly the missing names. Its answer is part of
the state, and the plan names every package that comes along.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Change
from cudactl.contracts.state import AptAnswer, HostState
from cudactl.provision.steps.apt import installed_version, locked_debs
from cudactl.provision.steps.driver_facts import headers_missing

HOST_COMPILER = ("g++", "build-essential")

# Runs on the host, as anybody: its arguments are the names; it prints one JSON document. Where the
# host's package lists do not know a name (a fresh image has none), lists are read into a folder of
# its own, which is gone afterwards: the host's stay as they are.
SCRIPT = """\
import json, os, re, shutil, subprocess, sys, tempfile
names = sys.argv[1:]
def apt(options, *words):
    command = ["apt-get", "-oDebug::NoLocking=1", "-oAcquire::http::Timeout=30"] + options
    done = subprocess.run(command + list(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=dict(os.environ, LC_ALL="C"), timeout=240)
    said = done.stderr.decode("utf-8", "replace").splitlines()
    errors = " ".join(x[3:] for x in said if x.startswith("E: "))
    error = (errors or "it ended with %d" % done.returncode) if done.returncode else None
    return done.stdout.decode("utf-8", "replace"), error
def simulate(options):
    return apt(options, "--simulate", "--no-install-recommends", "install", *names)
folder = None
try:
    out, error = simulate([])
    if error and re.search("Unable to locate|no installation candidate", error):
        folder = tempfile.mkdtemp(prefix="cudactl-apt-")
        os.makedirs(folder + "/lists/partial")
        os.makedirs(folder + "/cache/archives/partial")
        os.chmod(folder, 0o755)
        own = ["-oDir::State::lists=%s/lists" % folder, "-oDir::Cache=%s/cache" % folder,
               "-oAPT::Sandbox::User="]
        apt(own, "update")
        out, error = simulate(own)
except (OSError, subprocess.SubprocessError) as wrong:
    out, error = "", str(wrong)
finally:
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
brings = dict(re.findall(r"^Inst (\\S+)(?: \\[[^\\]]*\\])? \\((\\S+) ", out, re.M))
removes = re.findall(r"^(?:Remv|Purg) (\\S+)", out, re.M)
print(json.dumps(dict(asked=names, brings=brings, removes=removes, error=error)))
"""
DEADLINE_S = 300.0
"""Seconds that a host may take to answer: reading package lists takes most of them."""


def compiler_missing(lock: StackLock, state: HostState) -> bool:
    """Return True when nvcc comes as a wheel, which brings no C++ compiler, and there is none."""
    if lock.target.packages != "wheels" or lock.package("nvidia-cuda-nvcc") is None:
        return False
    return not any(name in state.packages for name in HOST_COMPILER)


def missing(lock: StackLock, state: HostState) -> list[str]:
    """Return the distribution's packages that the lock needs and the host has not, by name.

    Where every locked package is there, dpkg has seen that its needs are met, be it by another
    package that provides the name: then there is nothing to ask.
    """
    whole = all(installed_version(state, p) == p.version for p in locked_debs(lock))
    names = set() if whole else {e.name for e in lock.external if e.name not in state.packages}
    names |= set(headers_missing(lock, state))
    if compiler_missing(lock, state):
        names.add("g++")
    return sorted(names)


def with_answer(
    state: HostState, document: Mapping[str, Any] | None, asked: list[str]
) -> HostState:
    """Return the state with what the host's apt answered; no document: it did not answer."""
    if document is None:
        answer = AptAnswer(asked=asked, error="apt could not be asked")
    else:
        answer = AptAnswer.model_validate(document)
    return state.model_copy(update={"apt_answer": answer})


def answer_of(output: str) -> dict[str, Any] | None:
    """Return what `SCRIPT` printed, or None when it printed nothing of use."""
    try:
        document = json.loads(output.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return None
    return document if isinstance(document, dict) else None


def distribution_changes(lock: StackLock, state: HostState) -> list[Change]:
    """Return one change per package that comes from the distribution."""
    names = missing(lock, state)
    answer = state.apt_answer
    if not names:
        return []
    if answer is None or answer.error is not None or answer.asked != names:
        return [Change(kind="package", name=n, after="the distribution's") for n in names]
    locked = {p.name for p in lock.packages}
    return [
        Change(kind="package", name=name, before=state.packages.get(name), after=version)
        for name, version in sorted(answer.brings.items())
        if name not in locked
    ]
