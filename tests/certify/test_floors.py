"""Speed floors: none that a healthy GPU cannot reach, none that a sick one passes."""

from __future__ import annotations

import pytest

from cudactl.certify.floors import FLOORS, LEAST, MOST, Floor, floor
from cudactl.judge.checks import CHECKS

DCGM_H200 = 2333 / 4_800_000  # GB/s written into a field of MB/s


@pytest.mark.parametrize("row", FLOORS, ids=lambda row: f"{row.check} {row.kind}".rstrip())
def test_a_floor_lies_where_a_speed_can_lie_and_says_why(row: Floor) -> None:
    assert LEAST <= row.share <= MOST
    assert not LEAST <= row.share / 1000 <= MOST, "and a slip of a thousand is noticed"
    assert len(row.source) > 20


def test_the_limits_would_have_caught_what_others_shipped() -> None:
    assert not LEAST <= DCGM_H200 <= MOST
    assert not LEAST <= 49050 / 864_000 <= MOST, "L40"
    assert not LEAST <= 137_500 / 1_555_000 <= MOST, "A100 SXM4 40GB"


def test_every_check_of_speed_has_a_floor_and_every_floor_a_check() -> None:
    speed = {check.id for check in CHECKS.values() if check.level == "performance"}
    assert speed == {row.check for row in FLOORS}


def test_no_floor_is_declared_twice_and_an_undeclared_one_is_no_zero() -> None:
    assert len({(row.check, row.kind) for row in FLOORS}) == len(FLOORS)
    with pytest.raises(KeyError, match=r"no floor is declared for toolkit\.teapot"):
        floor("toolkit.teapot")
