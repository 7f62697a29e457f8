"""What the driver's error codes mean: NVIDIA's actions, who is to act, and a site's own say."""

from __future__ import annotations

from pathlib import Path

import pytest

from cudactl.stack.facts.catalogue import assemble, load_catalogue
from cudactl.stack.facts.xids import Xid
from cudactl.workflow.references import xid_meanings


@pytest.fixture(scope="module")
def rows() -> dict[str, Xid]:
    return {row.code: row for row in load_catalogue().xids}


def test_every_code_up_to_172_is_there_once_and_in_order(rows: dict[str, Xid]) -> None:
    codes = [int(row.code) for row in load_catalogue().xids]
    assert codes == sorted(set(codes))
    assert len(codes) == 172
    assert codes[-1] == 172


def test_whoever_keeps_the_gpu_acts_on_every_reset_and_restart(rows: dict[str, Xid]) -> None:
    for row in rows.values():
        if row.action in ("RESET_GPU", "RESTART_BM", "CHECK_MECHANICALS"):
            assert row.severity == "gpu", row
        if row.action == "IGNORE":
            assert row.severity == "none", row
        if row.action == "RESTART_APP":
            assert row.severity == "application", row
        assert (row.action is None) == (row.severity == ""), row


@pytest.mark.parametrize("code", ["48", "64", "74", "79", "95", "119", "120", "140", "143"])
def test_what_fleets_take_a_machine_out_for_is_the_gpus(rows: dict[str, Xid], code: str) -> None:
    """Crusoe's Degraded and Unhealthy, but for 32, for which NVIDIA restarts the application."""
    assert rows[code].severity == "gpu"


def test_lists_that_disagree_are_marked_and_named(rows: dict[str, Xid]) -> None:
    contested = {code for code, row in rows.items() if row.contested}
    assert contested == {"63", "94", "109", "142", "151"}
    for code in contested:
        assert rows[code].notes
        assert "other lists" in rows[code].source


def test_a_site_weighs_a_code_by_an_overlay(tmp_path: Path) -> None:
    overlay = tmp_path / "site.yaml"
    overlay.write_text(
        "xids:\n  - code: '94'\n    name: CONTAINED\n    description: Contained memory error\n"
        "    severity: gpu\n    action: RESTART_APP\n    investigation: ''\n    contested: ''\n"
        "    notes: we drain for it\n    date: 2026-11-24\n    source: our own experience\n"
    )
    rows = {row.code: row for row in assemble([overlay]).xids}
    assert rows["94"].severity == "gpu"
    assert len(rows) == 172


def test_the_judge_gets_severity_action_and_name() -> None:
    meanings = xid_meanings()
    assert meanings["31"] == ("application", "RESTART_APP", "ROBUST_CHANNEL_FIFO_ERROR_MMU_ERR_FLT")
    assert meanings["171"] == ("", "", "UNCORRECTABLE_DRAM_ERROR")
