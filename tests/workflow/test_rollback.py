"""Where a way back leads: what a host's own history says, whatever interrupted it."""

from __future__ import annotations

import pytest

from cudactl.contracts.state_records import Records
from cudactl.workflow.rollback import rollback_target


@pytest.mark.parametrize(
    ("records", "leads_to"),
    [
        # Never certified: nowhere.
        ({}, None),
        ({"begun": "a", "purpose": "provision"}, None),
        # Certified at what it has now, and at nothing before.
        ({"begun": "a", "purpose": "provision", "certified": ["a"]}, None),
        # b failed its certificate, or was killed before it: back to a.
        ({"begun": "b", "purpose": "provision", "certified": ["a"]}, "a"),
        # b passed, and is regretted.
        ({"begun": "b", "purpose": "provision", "certified": ["b", "a"]}, "a"),
        # The way back to a was killed before it was certified: it goes on.
        ({"begun": "a", "purpose": "rollback", "certified": ["b", "a"]}, "a"),
        # It arrived: another one leads to b again.
        (
            {
                "begun": "a",
                "purpose": "rollback",
                "certified": ["a", "b"],
                "certified_since": True,
            },
            "b",
        ),
        # Uninstalled: back to what was there.
        ({"begun": "b", "purpose": "uninstall", "certified": ["b", "a"]}, "b"),
    ],
)
def test_the_way_back(records: dict[str, object], leads_to: str | None) -> None:
    assert rollback_target(Records.model_validate(records)) == leads_to
