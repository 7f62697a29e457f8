"""The closure follows dependencies as apt does, and refuses what cannot be installed together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from cudactl.contracts.errors import CudactlError
from cudactl.contracts.lock import StackLock
from cudactl.stack.bundle.repository import Deb
from tests.stack.conftest import Repository

NAME = "nvidia-container-toolkit"


def deb(name: str, version: str = "1-1", *depends: str, **more: Any) -> Deb:
    return Deb(name=name, version=version, depends=depends, **more)


def lock(repository: Repository, *debs: Deb, depends: Sequence[str]) -> StackLock:
    top = deb(NAME, "1.0-1", *depends)
    return repository.write([top, *debs]).lock(container_toolkit="1")[0]


def versions(locked: StackLock) -> dict[str, str]:
    return {p.name: p.version for p in locked.packages if p.name != NAME}


def refused(repository: Repository, *debs: Deb, depends: Sequence[str]) -> CudactlError:
    with pytest.raises(CudactlError) as error:
        lock(repository, *debs, depends=depends)
    assert error.value.remedy
    return error.value


def test_the_first_alternative_that_is_there_is_taken(repository: Repository) -> None:
    found = lock(repository, deb("b"), deb("c"), depends=["a | b | c"])
    assert versions(found) == {"b": "1-1"}


def test_an_alternative_that_is_there_already_is_enough(repository: Repository) -> None:
    found = lock(repository, deb("a"), deb("b"), depends=["b", "a | b"])
    assert versions(found) == {"b": "1-1"}


def test_what_the_index_does_not_have_is_external(repository: Repository) -> None:
    found = lock(repository, deb("a", "1-1", "libc6"), depends=["a", "libc6 | libc6-dev"])
    assert [(e.name, e.needed_by) for e in found.external] == [("libc6", ["a", NAME])]


def test_a_provided_name_is_satisfied(repository: Repository) -> None:
    provider = deb("real", provides=["virtual (= 2)"])
    assert versions(lock(repository, provider, depends=["virtual (>= 2)"])) == {"real": "1-1"}


def test_a_provided_name_without_version_satisfies_no_version(repository: Repository) -> None:
    provider = deb("real", provides=["virtual"])
    found = lock(repository, provider, depends=["virtual (>= 2)"])
    assert versions(found) == {}
    assert [e.name for e in found.external] == ["virtual"]


def test_a_real_package_goes_before_a_provider(repository: Repository) -> None:
    found = lock(repository, deb("aaa", provides=["x"]), deb("x"), depends=["x"])
    assert versions(found) == {"x": "1-1"}


def test_pre_depends_count(repository: Repository) -> None:
    first = Deb(name="a", version="1-1", pre_depends=("b",))
    assert versions(lock(repository, first, deb("b"), depends=["a"])) == {"a": "1-1", "b": "1-1"}


def test_the_newest_version_that_everything_admits_is_taken(repository: Repository) -> None:
    found = lock(
        repository,
        *(deb("x", v) for v in ("1-1", "2-1", "10-1", "3-1")),
        deb("late", "1-1", "x (<< 10)"),
        depends=["x", "late"],
    )
    assert versions(found)["x"] == "3-1", "a bound that is found later still counts"


def test_a_version_that_falls_away_takes_its_dependencies_along(repository: Repository) -> None:
    found = lock(
        repository,
        deb("x", "1-1", "old"),
        deb("x", "2-1", "new"),
        deb("old"),
        deb("new"),
        deb("late", "1-1", "x (= 1-1)"),
        depends=["x", "late"],
    )
    assert versions(found) == {"x": "1-1", "old": "1-1", "late": "1-1"}


def test_circles_end(repository: Repository) -> None:
    found = lock(repository, deb("a", "1-1", "b"), deb("b", "1-1", "a"), depends=["a"])
    assert versions(found) == {"a": "1-1", "b": "1-1"}
    assert found.package("a").requires == ["b"]  # type: ignore[union-attr]


def test_bounds_that_contradict_each_other(repository: Repository) -> None:
    error = refused(
        repository,
        deb("x", "1-1"),
        deb("x", "2-1"),
        deb("late", "1-1", "x (= 1-1)"),
        depends=["x (= 2-1)", "late"],
    )
    assert error.code == "STACK-CLOSURE"
    assert "x (= 1-1)" in error.found
    assert "x (= 2-1)" in error.found


def test_packages_that_conflict(repository: Repository) -> None:
    error = refused(repository, deb("a", conflicts=["b"]), deb("b"), depends=["a", "b"])
    assert error.code == "STACK-CLOSURE"
    assert "conflicts with b" in error.found


def test_packages_that_conflict_by_a_provided_name(repository: Repository) -> None:
    one = {"provides": ["module"], "conflicts": ["module"]}
    error = refused(repository, deb("a", **one), deb("b", **one), depends=["a", "b"])
    assert error.code == "STACK-CLOSURE"
    assert versions(lock(repository, deb("a", **one), depends=["a"])) == {"a": "1-1"}


def test_a_package_in_other_versions_only_is_not_the_distributions(
    repository: Repository,
) -> None:
    error = refused(repository, deb("x", "1-1"), depends=["x (>= 2)"])
    assert error.code == "STACK-VERSION-NOT-IN-INDEX"
    assert "x (>= 2)" in error.found
    assert "1-1" in error.expected


def test_epochs_and_tildes_compare_as_dpkg_compares(repository: Repository) -> None:
    found = lock(
        repository,
        *(deb("x", v) for v in ("1:0.1-1", "9-1", "1:0.1~rc1-1")),
        depends=["x (<< 1:0.1-1)"],
    )
    assert versions(found)["x"] == "1:0.1~rc1-1"


def test_each_package_says_why(repository: Repository) -> None:
    found = lock(repository, deb("a", "1-1", "b (>= 1)"), deb("b", "2-1"), depends=["a"])
    assert "a needs b (>= 1)" in found.package("b").why  # type: ignore[union-attr]
    assert "container_toolkit 1" in found.package(NAME).why  # type: ignore[union-attr]
    assert [p.name for p in found.packages if p.top_level] == [NAME]


def test_the_same_wish_and_index_give_the_same_bytes(repository: Repository) -> None:
    from cudactl.stack.lock.file import render_lock

    debs = [deb("b"), deb("a", "1-1", "b", "z"), deb("c", provides=["z"]), deb("d", provides=["z"])]
    first = lock(repository, *debs, depends=["a", "b"])
    second = lock(repository, *reversed(debs), depends=["a", "b"])
    assert first.hash == second.hash
    again = repository.lock(container_toolkit="1")[0]
    assert render_lock(second) == render_lock(again)
