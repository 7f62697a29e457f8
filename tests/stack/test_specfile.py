"""A spec file gives a wish, or one clear error with the line that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudactl.contracts.errors import Exit, UsageError
from cudactl.stack.spec.file import LARGEST, parse_spec, read_spec, spec_hash

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
KEYS = ["os", "arch", "cuda", "cudnn", "driver", "packages", "gpus", "mirror", "frameworks", "x"]


def refused(text: str) -> UsageError:
    with pytest.raises(UsageError) as error:
        parse_spec(text, "stack.yaml")
    assert error.value.exit_code is Exit.USAGE
    assert "stack.yaml" in error.value.found
    return error.value


def test_a_full_spec_is_read() -> None:
    spec = parse_spec(
        '$schema: spec.json\nos: ubuntu-24.04\narch: sbsa\ngpus: [H200 SXM]\ncuda: "13.0"\n'
        'driver: {branch: "580", flavour: open}\ncudnn: 9\npackages: apt\n',
        "stack.yaml",
    )
    assert spec.cuda == "13.0"
    assert spec.cudnn == "9", "a whole number loses nothing"
    assert spec.driver is not None
    assert spec.driver.branch == "580"
    assert spec.gpus == ["H200 SXM"]


@pytest.mark.parametrize(
    ("text", "code", "found", "help_"),
    [
        ("os: debian-12\ncuda: 13.0\n", "SPEC-WRONG-TYPE", "line 2", 'quotes: cuda: "13.0"'),
        ("os: debian-12\ncuda: 12.10", "SPEC-WRONG-TYPE", "number 12.10", 'cuda: "12.10"'),
        ("os: debian-12\ncudn: '9'", "SPEC-UNKNOWN-KEY", "'cudn'", "did you mean 'cudnn'?"),
        (
            "os: debian-12\ndriver: {brunch: '580'}",
            "SPEC-UNKNOWN-KEY",
            "'driver.brunch'",
            "'branch'",
        ),
        ("os: Ubuntu 24.04\n", "SPEC-BAD-VALUE", "'Ubuntu 24.04'", ""),
        ("os: debian-12\npackages: wheel", "SPEC-BAD-VALUE", "'wheel'", "'wheels'"),
        ("os: debian-12\ncuda: newest", "SPEC-BAD-VALUE", "'newest'", ""),
        ("os: debian-12\ndriver: 580", "SPEC-WRONG-TYPE", "line 2", '{branch: "580"}'),
        ("os: debian-12\ndriver: {branch: x}", "SPEC-BAD-VALUE", "driver.branch", ""),
        ("os: debian-12\ngpus: H200", "SPEC-WRONG-TYPE", "gpus", "[H200]"),
        ("os: debian-12\ncuda:", "SPEC-WRONG-TYPE", "has no value", "remove the key"),
        ("os: debian-12\nos: debian-13", "SPEC-DUPLICATE-KEY", "line 2", ""),
        ("os: debian-12\nframeworks: {jax: '1'}", "SPEC-UNKNOWN-KEY", "frameworks.jax", ""),
        ("os: debian-12\nmirror: {url: 'ftp://x'}", "SPEC-BAD-VALUE", "mirror.url", ""),
        ("os: yes", "SPEC-WRONG-TYPE", "os", ""),
        ("cuda: '13.0'", "SPEC-MISSING-KEY", "'os'", "os:"),
        ("- os: debian-12", "SPEC-WRONG-TYPE", "a list", ""),
        ("just words", "SPEC-WRONG-TYPE", "text", ""),
        ("", "SPEC-UNREADABLE", "empty", ""),
        ("os: [", "SPEC-UNREADABLE", "line", ""),
        ("os: &a debian-12\ncuda: *a", "SPEC-UNREADABLE", "alias", ""),
        ("[" * 50, "SPEC-UNREADABLE", "nested", ""),
        ("a: \x00", "SPEC-UNREADABLE", "not YAML", ""),
        ("os: debian-12\n---\nos: debian-13", "SPEC-UNREADABLE", "single document", ""),
        ("? [a]\n: b", "SPEC-WRONG-TYPE", "a key", ""),
    ],
)
def test_each_mistake_is_told_once(text: str, code: str, found: str, help_: str) -> None:
    error = refused(text)
    assert error.code == code
    assert found in error.found
    assert help_ in error.remedy
    assert error.expected


def test_several_mistakes_are_counted() -> None:
    error = refused("os: debian-12\ncudnn: x\nfoo: 1\n")
    assert "line 2" in error.found
    assert "and 1 more" in error.found


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("os: debian-12\n# für".encode("latin-1"))
    large = tmp_path / "large.yaml"
    large.write_text("#" * (LARGEST + 1))
    for path, code in (
        (tmp_path / "none.yaml", "SPEC-MISSING"),
        (tmp_path, "SPEC-UNREADABLE"),
        (latin, "SPEC-UNREADABLE"),
        (large, "SPEC-UNREADABLE"),
    ):
        with pytest.raises(UsageError) as error:
            read_spec(path)
        assert error.value.code == code
        assert str(path) in error.value.found


def test_saying_a_default_does_not_change_the_hash() -> None:
    short = parse_spec("os: debian-12\ncuda: '13.0'", "a")
    long = parse_spec("cuda: '13.0'\npackages: apt\nos: debian-12\narch: x86_64", "b")
    assert spec_hash(short) == spec_hash(long)
    assert spec_hash(short) != spec_hash(parse_spec("os: debian-12\ncuda: '13'", "c"))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.name)
def test_the_examples_are_specs(path: Path) -> None:
    assert read_spec(path).os


def test_there_are_examples() -> None:
    assert len(list(EXAMPLES.glob("*.yaml"))) >= 2


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.text(max_size=12)
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=5))
def test_any_yaml_is_a_spec_or_a_usage_error(content: dict[str, object]) -> None:
    import yaml

    _spec_or_error(yaml.safe_dump(content))


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.binary().map(lambda b: b.decode("latin-1"))))
def test_any_text_is_a_spec_or_a_usage_error(text: str) -> None:
    _spec_or_error(text)
    _spec_or_error(f"os: debian-12\n{text}")


def _spec_or_error(text: str) -> None:
    error = None
    try:
        spec = parse_spec(text, "stack.yaml")
    except UsageError as wrong:
        error = wrong
    if error is None:
        assert spec.os
    else:
        assert error.code.startswith("SPEC-")
        assert error.expected
