"""What is kept on a host for the way back, what is mended, and what a plan says of both."""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Plan, PlanStep
from cudactl.contracts.state import HostState
from cudactl.contracts.state_records import Interrupted, KeptPackages, Records
from cudactl.provision.plan import make_plan
from cudactl.provision.steps.apt import locked_debs
from cudactl.provision.steps.kept import deb_file
from tests.provision.conftest import package
from tests.provision.test_plan import bare_like, converged

FOLDER = "/var/lib/cudactl/packages"


def plan(lock: StackLock, state: HostState) -> Plan:
    return make_plan("h1", lock, state, now=2000.0)


def step(made: Plan, name: str) -> PlanStep:
    (found,) = [s for s in made.steps if s.id == name]
    return found


def with_records(state: HostState, **values: object) -> HostState:
    return state.model_copy(update={"records": Records.model_validate(values)})


def whole(lock: StackLock) -> KeptPackages:
    return KeptPackages(lock=lock.short_hash, files=[deb_file(p) for p in locked_debs(lock)])


def folders(made: Plan) -> set[tuple[str, str | None]]:
    changes = [c for s in made.steps for c in s.changes if c.kind == "folder"]
    return {(c.name, c.after) for c in changes}


def test_an_epoch_is_written_as_apt_writes_it_in_a_file_name() -> None:
    assert deb_file(package("libfoo", "1:2.0-1")) == "libfoo_1%3a2.0-1_amd64.deb"


def test_kept_packages_are_not_fetched_again(apt_lock: StackLock, state: HostState) -> None:
    made = plan(apt_lock, with_records(state, kept=[whole(apt_lock)]))
    packages = step(made, "packages.install")
    assert packages.download_bytes == 0
    assert packages.variables["from_kept"], "so the lists need not be read"
    assert folders(made) == set(), "the folder is there already"


def test_one_missing_file_is_fetched(apt_lock: StackLock, state: HostState) -> None:
    there = whole(apt_lock)
    some = there.model_copy(update={"files": there.files[1:]})
    packages = step(plan(apt_lock, with_records(state, kept=[some])), "packages.install")
    assert (packages.download_bytes, packages.variables["from_kept"]) == (1_000_000, False)
    (file,) = [c.name for c in packages.changes if c.kind == "file"]
    assert file == f"{FOLDER}/{apt_lock.short_hash}/{there.files[0]}", "and the plan says so"


def test_what_nobody_would_return_to_goes(apt_lock: StackLock, state: HostState) -> None:
    kept = [KeptPackages(lock=name * 12, files=[]) for name in "abc"]
    made = plan(
        apt_lock,
        with_records(state, kept=kept, certified=[apt_lock.hash, "b" * 64, "c" * 64]),
    )
    assert folders(made) == {
        (f"{FOLDER}/{apt_lock.short_hash}", apt_lock.short_hash),
        (f"{FOLDER}/{'a' * 12}", None),
        (f"{FOLDER}/{'c' * 12}", None),
    }, "the newest certified lock before this one stays"


def broken(lock: StackLock, name: str, status: str, **records: object) -> HostState:
    state = converged(lock)
    packages = {k: v for k, v in state.packages.items() if k != name}
    there = bare_like(state, packages=packages, broken=[{"name": name, "status": status}])
    return with_records(there, **records)


def test_a_half_configured_package_of_the_lock_is_mended(apt_lock: StackLock) -> None:
    state = broken(apt_lock, "libcudnn9-cuda-13", "install ok half-configured")
    made = plan(apt_lock, state)
    assert not made.refusals
    assert [s.id for s in made.steps] == ["packages.mend", "packages.install"]
    (change,) = made.steps[0].changes
    assert (change.name, change.before) == ("libcudnn9-cuda-13", "half-configured")


def test_somebody_elses_broken_package_stays_a_refusal(apt_lock: StackLock) -> None:
    made = plan(apt_lock, broken(apt_lock, "postgresql", "install ok half-configured"))
    # On a host that carries its lock there is nothing to do, and nothing is refused either.
    assert made.empty
    state = bare_like(
        converged(apt_lock), broken=[{"name": "dkms", "status": "install ok unpacked"}], holds=[]
    )
    assert [f.code for f in plan(apt_lock, state).refusals] == ["PREFLIGHT-DPKG-BROKEN"]


def test_what_an_interrupted_run_was_touching_is_mended(apt_lock: StackLock) -> None:
    run = Interrupted(run_id="run-1", lock="aa", since=1.0, packages=["dkms", "libfoo"])
    made = plan(apt_lock, broken(apt_lock, "dkms", "install ok unpacked", interrupted=run))
    assert not made.refusals
    assert [s.id for s in made.steps] == ["packages.mend"]
    assert "run-1" in made.steps[0].reason


def test_a_trigger_that_an_interrupted_run_pulled_is_finished(apt_lock: StackLock) -> None:
    pending = "install ok triggers-pending"
    run = Interrupted(run_id="run-1", lock="aa", since=1.0)
    made = plan(apt_lock, broken(apt_lock, "libc-bin", pending, interrupted=run))
    assert [s.id for s in made.steps] == ["packages.mend"]
    foreign = bare_like(broken(apt_lock, "libc-bin", pending), holds=[])
    assert [f.code for f in plan(apt_lock, foreign).refusals] == ["PREFLIGHT-DPKG-BROKEN"]


def test_records_that_dpkg_could_not_write_out_are_mended_after_a_run_of_ours(
    apt_lock: StackLock,
) -> None:
    stopped = bare_like(converged(apt_lock), dpkg_interrupted=True)
    run = Interrupted(run_id="run-1", lock="aa", since=1.0)
    assert [s.id for s in plan(apt_lock, with_records(stopped, interrupted=run)).steps] == [
        "packages.mend"
    ]
    foreign = bare_like(stopped, holds=[])
    assert [f.code for f in plan(apt_lock, foreign).refusals] == ["PREFLIGHT-DPKG-BROKEN"]


def test_the_kept_file_of_a_half_unpacked_package_is_at_hand(apt_lock: StackLock) -> None:
    state = broken(
        apt_lock,
        "libcudnn9-cuda-13",
        "install reinstreq half-installed",
        kept=[whole(apt_lock).model_dump()],
    )
    (file,) = step(plan(apt_lock, state), "packages.mend").variables["mend"]
    assert file == f"{FOLDER}/{apt_lock.short_hash}/libcudnn9-cuda-13_9.13.0.50-1_amd64.deb"
