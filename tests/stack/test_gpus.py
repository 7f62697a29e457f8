"""GPUs: what the catalogue says of them, the names they answer to, what they run, which suit."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudactl.contracts.errors import Exit, UsageError
from cudactl.contracts.spec import StackSpec
from cudactl.stack.facts.catalogue import Catalogue, assemble, load_catalogue
from cudactl.stack.facts.rows import Gpu
from cudactl.stack.gpus.coverage import cover
from cudactl.stack.gpus.find import find_gpus
from cudactl.stack.gpus.list import listed_from_models, listed_gpus
from cudactl.stack.gpus.memory import Geometry, inference_need, parameters_of, training_need
from cudactl.stack.gpus.ranking import Choice, Demand, choose, value_of
from cudactl.stack.gpus.support import support_of
from cudactl.stack.refusals import StackRefused
from cudactl.stack.versions import numbers

FIGURES = (
    *("sm_count", "memory_gb", "memory_gbs", "fp64", "fp32", "tf32", "bf16", "fp16", "fp8"),
    *("watts", "nvlink_gbs", "pcie_gen"),
)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


def named(name: str) -> Gpu:
    (gpu,) = find_gpus(load_catalogue(), name)
    return gpu


# --- what the catalogue says -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cc", "memory", "bandwidth", "bf16", "watts"),
    [
        ("H200 SXM", "9.0", 141, 4800, 989.5, 700),
        ("H100 SXM5 80GB", "9.0", 80, 3350, 989.5, 700),
        ("A100 SXM4 80GB", "8.0", 80, 2039, 312, 400),
        ("B200 SXM", "10.0", 180, 8000, 2250, 1000),
        ("L4", "8.9", 24, 300, 121, 72),
        ("RTX 5090", "12.0", 32, 1792, 209.5, 575),
        ("T4", "7.5", 16, 320, None, 70),
    ],
)
def test_data_sheet_figures(
    name: str, cc: str, memory: float, bandwidth: float, bf16: float | None, watts: float
) -> None:
    gpu = named(name)
    assert gpu.cc == cc
    figures = [value_of(gpu, f) for f in ("memory_gb", "memory_gbs", "bf16", "watts")]
    assert figures == [memory, bandwidth, bf16, watts]


@pytest.mark.parametrize(
    ("name", "open_module", "last_branch", "first_toolkit", "data_centre"),
    [
        ("K80", "unsupported", "470", "6.5", "yes"),
        ("GTX 980", "unsupported", "580", "6.5", "no"),
        ("P40", "unsupported", "580", "8.0", "yes"),
        ("V100 SXM2 32GB", "unsupported", "580", "9.0", "yes"),
        ("TITAN V", "unsupported", "580", "9.0", "no"),
        ("T4", "supported", None, "10.0", "yes"),
        ("A10", "supported", None, "11.1", "yes"),
        ("RTX 4090", "supported", None, "11.8", "no"),
        ("GH200 96GB", "required", None, "11.8", "yes"),
        ("B200 SXM", "required", None, "12.8", "yes"),
        ("B300 SXM", "required", None, "12.9", "yes"),
        ("RTX 5090", "required", None, "12.8", "no"),
        ("GB10", "required", None, "12.9", "no"),
        ("Rubin", "required", None, "13.4", "yes"),
    ],
)
def test_what_a_stack_depends_on(
    name: str, open_module: str, last_branch: str | None, first_toolkit: str, data_centre: str
) -> None:
    gpu = named(name)
    assert gpu.open_module == open_module
    assert gpu.last_branch == last_branch
    assert gpu.first_toolkit == first_toolkit
    assert gpu.data_centre == data_centre


def test_the_rules_of_the_field_hold_in_every_row(catalogue: Catalogue) -> None:
    for gpu in catalogue.gpus:
        before_turing = numbers(gpu.cc) < (7, 5)
        required = numbers(gpu.cc) >= (10,) or gpu.name.startswith("GH200")
        rule = "unsupported" if before_turing else "required" if required else "supported"
        assert gpu.open_module == rule, gpu.name
        assert (gpu.last_branch is not None) == before_turing, gpu.name


def test_a_first_toolkit_agrees_with_what_compilers_target(catalogue: Catalogue) -> None:
    oldest = min(numbers(row.minor) for row in catalogue.toolkits if row.sm)
    for gpu in catalogue.gpus:
        targeting = [row.minor for row in catalogue.toolkits if gpu.cc.replace(".", "") in row.sm]
        assert targeting, gpu.name
        if numbers(gpu.first_toolkit) > oldest:
            assert targeting[0] == gpu.first_toolkit, gpu.name
        else:
            assert numbers(targeting[0]) == oldest, gpu.name


def test_figures_are_dense_and_in_their_units(catalogue: Catalogue) -> None:
    for gpu in catalogue.gpus:
        values = {field: value_of(gpu, field) for field in FIGURES}
        assert all(value is None or value > 0 for value in values.values()), gpu.name
        fp16, bf16, fp8 = values["fp16"], values["bf16"], values["fp8"]
        # A sparse figure is twice the dense one: next to a dense neighbour it would stand out.
        if bf16 and fp16:
            assert bf16 == fp16, gpu.name
        if fp16 and fp8:
            assert fp8 / fp16 == pytest.approx(2, rel=0.03), gpu.name
        if values["tf32"] and fp16:
            assert fp16 / values["tf32"] == pytest.approx(2, rel=0.03), gpu.name


def test_what_is_contested_is_explained(catalogue: Catalogue) -> None:
    contested = {gpu.name: gpu.contested for gpu in catalogue.gpus if gpu.contested}
    assert set(contested["B300 SXM"]) >= {"sm_count", "fp32"}
    assert "fp32" in contested["B200 SXM"]
    for gpu in catalogue.gpus:
        assert set(gpu.contested) <= set(Gpu.model_fields)
        assert not gpu.contested or len(gpu.notes) > 20, gpu.name


def test_names_and_pci_ids_are_well_formed(catalogue: Catalogue) -> None:
    names = [gpu.name for gpu in catalogue.gpus]
    assert len(names) == len(set(names))
    for gpu in catalogue.gpus:
        assert all(re.fullmatch(r"[0-9a-f]{4}", one) for one in gpu.pci_ids), gpu.name


# --- the names they answer to ------------------------------------------------------------------


def test_every_name_alias_and_pci_id_finds_its_gpu(catalogue: Catalogue) -> None:
    for gpu in catalogue.gpus:
        for name in (gpu.name, *gpu.aliases, gpu.architecture, *gpu.pci_ids):
            assert gpu in find_gpus(catalogue, name), name
        assert find_gpus(catalogue, gpu.name)[0].name == gpu.name
        assert len(find_gpus(catalogue, gpu.name)) == 1, f"{gpu.name} is another one's alias too"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("H200 SXM", ["H200 SXM"]),
        ("h100-sxm5-80gb", ["H100 SXM5 80GB"]),
        ("H100 SXM", ["H100 SXM5 80GB"]),
        ("NVIDIA H100 80GB HBM3", ["H100 SXM5 80GB"]),
        ("NVIDIA A100-SXM4-80GB", ["A100 SXM4 80GB"]),
        ("NVIDIA A100 80GB PCIe", ["A100 PCIe 80GB"]),
        ("A100 PCIe 80 GB", ["A100 PCIe 80GB"]),
        ("A100 PCIe 80G", ["A100 PCIe 80GB"]),
        ("Tesla V100-PCIE-16GB", ["V100 PCIe 16GB"]),
        ("tesla t4", ["T4"]),
        ("GeForce RTX 5090", ["RTX 5090"]),
        ("rtx5090", ["RTX 5090"]),
        ("1080Ti", ["GTX 1080 Ti"]),
        ("10de:2335", ["H200 SXM"]),
        ("10DE:2335", ["H200 SXM"]),
        ("0x2335", ["H200 SXM"]),
        ("2335", ["H200 SXM"]),
        ("25b6", ["A16", "A2"]),
        ("DGX Spark", ["GB10"]),
        ("H100", ["H100 NVL", "H100 PCIe", "H100 SXM5 80GB"]),
        ("V100", ["V100 PCIe 16GB", "V100 PCIe 32GB", "V100 SXM2 16GB", "V100 SXM2 32GB"]),
        ("A100", ["A100 PCIe 40GB", "A100 PCIe 80GB", "A100 SXM4 40GB", "A100 SXM4 80GB"]),
        ("Grace Hopper", ["GH200 144GB", "GH200 96GB"]),
        ("RTX 50", ["RTX 5070", "RTX 5070 Ti", "RTX 5080", "RTX 5090"]),
        ("RTX 6000", ["Quadro RTX 6000", "RTX 6000 Ada"]),
        ("Maxwell", ["GTX 980", "M40", "M60"]),
    ],
)
def test_people_write_gpus_in_many_ways(
    catalogue: Catalogue, name: str, expected: list[str]
) -> None:
    assert [gpu.name for gpu in find_gpus(catalogue, name)] == expected


@pytest.mark.parametrize(
    ("name", "near"),
    [("H201", "H20"), ("A100 SXM4 8OGB", "A100 SXM4 80GB"), ("RTX 5091", "RTX 5090")],
)
def test_an_unknown_name_is_refused_with_the_nearest(
    catalogue: Catalogue, name: str, near: str
) -> None:
    with pytest.raises(StackRefused) as refused:
        find_gpus(catalogue, name)
    assert refused.value.code == "STACK-GPU-UNKNOWN"
    assert refused.value.exit_code == Exit.FAIL
    assert near in refused.value.remedy


@pytest.mark.parametrize(
    "name", ["", "  ", "NVIDIA", "GeForce", "10de:", "10de:fffe", "H100\x00\n"]
)
def test_a_name_that_says_nothing_covers_nothing(catalogue: Catalogue, name: str) -> None:
    if name.startswith("H100"):
        assert len(find_gpus(catalogue, name)) == 3
        return
    with pytest.raises(StackRefused, match="knows no GPU"):
        find_gpus(catalogue, name)


KNOWN = [known for gpu in load_catalogue().gpus for known in (gpu.name, *gpu.aliases)]


@given(st.one_of(st.text(max_size=60), st.text("ahlvrtxgbnp0123456789 -:", max_size=12)))
def test_any_text_finds_gpus_or_is_refused_with_the_code(name: str) -> None:
    refused: StackRefused | None = None
    try:
        assert find_gpus(load_catalogue(), name)
    except StackRefused as error:
        refused = error
    if refused is not None:
        assert refused.code == "STACK-GPU-UNKNOWN"
        assert len(refused.found) < 120
        assert "\n" not in refused.found


@given(st.sampled_from(KNOWN), st.sampled_from(["upper", "lower"]), st.sampled_from(["-", "_", ""]))
def test_case_and_separators_do_not_matter(name: str, case: str, separator: str) -> None:
    typed = getattr(name, case)().replace(" ", separator)
    assert find_gpus(load_catalogue(), typed) == find_gpus(load_catalogue(), name)


# --- what they run -----------------------------------------------------------------------------


def test_the_quick_list_says_what_the_models_say() -> None:
    quick = listed_gpus()
    assert quick == listed_from_models(assemble())
    assert len(quick) > 60


def test_an_overlay_reaches_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = dict.fromkeys(Gpu.model_fields, "") | {
        **{"name": "H300", "architecture": "Hopper", "cc": "9.0", "memory_gb": "200"},
        **{"data_centre": "yes", "nvswitch": "no", "open_module": "supported"},
        **{"first_toolkit": "11.8", "form": "SXM5"},
        **{"date": "2026-11-24", "source": "a board of our own"},
    }
    overlay = tmp_path / "ours.json"
    overlay.write_text(json.dumps({"gpus": [row]}))
    monkeypatch.setenv("CUDACTL_CATALOGUE", str(overlay))
    load_catalogue.cache_clear()
    try:
        listed = {gpu.name: gpu for gpu in listed_gpus()}
    finally:
        load_catalogue.cache_clear()
    assert listed["H300"].memory_gb == 200
    assert listed["H300"].cuda_first == "11.8"
    assert "H200 SXM" in listed


def test_a_v100_ends_with_cuda_12_and_driver_580(catalogue: Catalogue) -> None:
    support = support_of(catalogue, named("V100 SXM2 32GB"))
    assert support.cuda[-1] == "12.9"
    assert support.drivers[-1].last == "580"
    assert {span.flavours for span in support.drivers} == {("proprietary",)}
    assert support.until_branch == "580"
    assert support.until == "2028-08-04"
    assert not support.ended
    assert support.tensorrt.covers("10.4.0.26")
    assert support.tensorrt.covers("10.5.0.18") is False
    assert support.tensorrt.not_from == "10.5.0.18"
    assert support.cudnn.covers("9.10.2.21")
    assert support.cudnn.covers("9.17.0.29") is False


def test_a_kepler_is_past_its_end(catalogue: Catalogue) -> None:
    support = support_of(catalogue, named("K80"))
    assert support.until_branch == "470"
    assert support.ended
    assert support.cuda[-1] == "11.8"


def test_blackwell_takes_the_open_module_only_and_libraries_built_for_it(
    catalogue: Catalogue,
) -> None:
    support = support_of(catalogue, named("B200 SXM"))
    assert support.cuda[0] == "12.8"
    assert support.drivers[0].first == "570"
    assert {span.flavours for span in support.drivers} == {("open",)}
    assert support.tensorrt.first == "10.8.0.43"
    # Which cuDNN for CUDA 12 knows Blackwell is not recorded; for CUDA 13 every build must.
    assert support.cudnn.covers("9.9.0.52") is None
    assert support.cudnn.covers("9.12.0.46")


def test_an_ampere_has_the_choice_where_the_branch_offers_it(catalogue: Catalogue) -> None:
    support = support_of(catalogue, named("A30"))
    flavours = {span.first: span.flavours for span in support.drivers}
    assert flavours["470"] == ("proprietary",)
    assert flavours["515"] == ("open", "proprietary")
    assert support.drivers[-1].flavours == ("open",)


def test_what_is_not_known_of_rubin_stays_not_known(catalogue: Catalogue) -> None:
    support = support_of(catalogue, named("Rubin"))
    assert support.cuda[0] == "13.4"
    assert support.drivers == ()
    assert support.until is None
    assert support.until_branch is None
    assert "not known" in support.drivers_from


def test_a_library_without_its_builds_is_not_known(catalogue: Catalogue) -> None:
    other = copy.copy(catalogue)
    rows = tuple(row.model_copy(update={"built_for_cuda": ()}) for row in catalogue.tensorrt)
    other.tensorrt = rows
    support = support_of(other, named("H200 SXM"))
    assert support.tensorrt.first is None
    assert len(support.tensorrt.not_known) == len(rows)


def test_a_least_capability_never_falls_again(catalogue: Catalogue) -> None:
    other = copy.copy(catalogue)
    like = next(row for row in catalogue.cudnn if row.version == "9.10.2.21")
    other.cudnn = tuple(
        like.model_copy(update={"version": version, "cuda_majors": ("12",), "min_cc": least})
        for version, least in [("9.1", None), ("9.2", "7.5"), ("9.3", None)]
    )
    volta = support_of(other, named("V100 SXM2 32GB")).cudnn
    assert [volta.covers(v) for v in ("9.1", "9.2", "9.3")] == [None, False, False]
    turing = support_of(other, named("T4")).cudnn
    assert [turing.covers(v) for v in ("9.1", "9.2", "9.3")] == [True, True, None]


# --- the memory a model needs ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "count"),
    [("70B", 70e9), ("7b", 7e9), (" 350M ", 350e6), ("1.8T", 1.8e12), ("7000000000", 7e9)],
)
def test_model_sizes(text: str, count: float) -> None:
    assert parameters_of(text) == pytest.approx(count)


@pytest.mark.parametrize("text", ["", "70", "8x7B", "-7B", "0B", "7BB", "nan", "1e9", "9" * 400])
def test_what_is_no_model_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as wrong:
        parameters_of(text)
    assert wrong.value.code == "GPU-MODEL-SIZE"
    assert len(wrong.value.found) < 120


@pytest.mark.parametrize(
    ("precision", "gb"), [("bf16", 140), ("fp16", 140), ("fp8", 70), ("int8", 70), ("int4", 35)]
)
def test_weights_are_parameters_times_bytes(precision: str, gb: float) -> None:
    need = inference_need(70e9, precision)
    assert need.gb == pytest.approx(gb)
    assert any("key-value cache" in text for text in need.not_included)


def test_a_key_value_cache_by_hand() -> None:
    # 2 x 80 x 8 x 128 x 2 bytes = 327,680 bytes a token; x 8192 tokens x 16 = 42.949673 GB.
    need = inference_need(70e9, "fp8", Geometry(80, 8, 128, context=8192, batch=16))
    assert [term.gb for term in need.terms] == pytest.approx([70, 42.949673])
    assert "80 layers x 8 heads x 128 x 2 bytes x 8192 tokens x 16" in need.terms[1].formula
    assert not any("key-value" in text for text in need.not_included)
    small = inference_need(70e9, "fp8", Geometry(80, 8, 128, 8192, 16, precision="fp8"))
    assert small.terms[1].gb == pytest.approx(42.949673 / 2)


@pytest.mark.parametrize(
    ("optimizer", "bytes_each"),
    [("adam", 16), ("adamw", 16), ("adam-8bit", 10), ("sgd", 8), ("sgd-momentum", 12)],
)
def test_training_bytes_per_parameter(optimizer: str, bytes_each: float) -> None:
    need = training_need(7e9, "bf16", optimizer)
    assert need.gb == pytest.approx(7 * bytes_each)
    assert any("activations" in text for text in need.not_included)
    given_some = training_need(7e9, "bf16", optimizer, activations_gb=25)
    assert given_some.gb == pytest.approx(7 * bytes_each + 25)
    assert not any("activations" in text for text in given_some.not_included)


# --- which suit --------------------------------------------------------------------------------


def chosen(catalogue: Catalogue, demand: Demand) -> dict[str, Choice]:
    return {choice.gpu: choice for choice in choose(catalogue.gpus, demand)}


def test_the_number_of_gpus_by_hand(catalogue: Catalogue) -> None:
    # 140 GB over 90 %: of 141 GB 126.9 → 2; of 180 GB 162 → 1; of 80 GB 72 → 2; of 24 GB 21.6 → 7.
    choices = chosen(catalogue, Demand("inference", "bf16", 140))
    assert choices["H200 SXM"].count == 2
    assert choices["B200 SXM"].count == 1
    assert choices["H100 SXM5 80GB"].count == 2
    assert choices["RTX 4090"].count == 7
    assert choices["H200 SXM"].watts == 1400
    assert choices["H200 SXM"].rate_per_watt == pytest.approx(989.5 / 700)
    assert "2 hold 140 of 253.8 GB; 9600 GB/s" in choices["H200 SXM"].why
    all_of_it = chosen(catalogue, Demand("inference", "bf16", 140, usable=1.0))
    assert all_of_it["H200 SXM"].count == 1


def test_inference_ranks_by_gpus_needed_then_bandwidth(catalogue: Catalogue) -> None:
    fitting = [
        c for c in choose(catalogue.gpus, Demand("inference", "bf16", 140)) if c.verdict == "fits"
    ]
    keys = [(c.count or 0, -(c.count or 0) * (c.memory_gbs or 0)) for c in fitting]
    assert keys == sorted(keys)
    # Four have 8000 GB/s on one GPU: the one with the fewest watts comes first.
    assert fitting[0].gpu == "B200 SXM"


def test_training_ranks_by_rate_then_memory_then_nvlink(catalogue: Catalogue) -> None:
    order = [c.gpu for c in choose(catalogue.gpus, Demand("training", "bf16", 112))]
    assert order.index("GB200") < order.index("B200 SXM")  # 2500 against 2250 Tflop/s
    assert order.index("H200 SXM") < order.index("H100 SXM5 80GB")  # same rate, more memory
    h100 = named("H100 SXM5 80GB")
    linked, bare = (
        h100.model_copy(update={"name": name, "nvlink_gbs": link})
        for name, link in (("linked", "900"), ("bare", None))
    )
    assert [c.gpu for c in choose([bare, linked], Demand("training", "bf16", 112))] == [
        "linked",
        "bare",
    ]


def test_an_unknown_figure_is_set_apart_and_never_guessed(catalogue: Catalogue) -> None:
    choices = choose(catalogue.gpus, Demand("training", "bf16", 112))
    verdicts = [c.verdict for c in choices]
    assert verdicts == sorted(verdicts, key=["fits", "not known", "does not fit"].index)
    unknown = {c.gpu: c for c in choices if c.verdict == "not known"}
    assert unknown["GB10"].why == "memory and dense BF16 rate not known"
    assert unknown["GB10"].count is None
    assert unknown["RTX PRO 6000 Blackwell Max-Q"].why == "dense BF16 rate not known"
    with_watts = chosen(catalogue, Demand("inference", "bf16", 14, watts_max=1000))
    assert with_watts["A30"].why == "watts not known"


def test_limits_and_missing_arithmetic_say_why(catalogue: Catalogue) -> None:
    choices = chosen(catalogue, Demand("inference", "fp8", 70, gpus_max=2, watts_max=1300))
    assert choices["A100 SXM4 80GB"].why == (
        "compute capability 8.0 has no FP8 arithmetic (from 8.9)"
    )
    assert choices["L4"].why == "takes 4 GPUs, --gpus-max is 2"
    assert choices["GH200 96GB"].verdict == "fits"
    assert choices["GB300"].why == "1 take 1400 W, --watts is 1300"
    # Quantised weights are computed with in FP16, which a Volta has.
    assert chosen(catalogue, Demand("inference", "int4", 10))["V100 PCIe 16GB"].verdict == "fits"
    assert "no BF16" in chosen(catalogue, Demand("inference", "bf16", 10))["V100 PCIe 16GB"].why


def test_a_contested_figure_is_named_where_it_counts(catalogue: Catalogue) -> None:
    choices = chosen(catalogue, Demand("inference", "bf16", 140))
    assert choices["B300 SXM"].contested == ("memory_gb",)
    assert choices["B200 SXM"].contested == ()  # its FP32 is contested, and does not count here


# --- a fleet to certify on ---------------------------------------------------------------------


def test_a_test_fleet_shows_every_architecture_and_both_modules(catalogue: Catalogue) -> None:
    spec = StackSpec(os="ubuntu-24.04", cuda="13.0", driver={"branch": "580"})
    fleet = cover(catalogue, spec)
    shown = [what for pick in fleet.picks for what in pick.adds]
    assert sorted(shown) == [
        *(f"architecture {name}" for name in ("Ada", "Ampere", "Blackwell", "Hopper", "Turing")),
        "fabric manager",
        "open kernel module",
        "proprietary kernel module",
    ]
    assert len(fleet.picks) == 5
    # Of those that add the same, the one that takes the fewest watts, as far as they are known.
    assert {"T4", "L4"} <= {pick.gpu for pick in fleet.picks}
    assert fleet.open == ()
    assert "8.6" in fleet.other_ccs
    assert fleet.left_out["V100 SXM2 16GB"].startswith("CUDA 13.0")


def test_a_test_fleet_follows_the_spec(catalogue: Catalogue) -> None:
    only = StackSpec(os="ubuntu-24.04", cuda="13.0", gpus=["H200 SXM", "T4"])
    assert {pick.gpu for pick in cover(catalogue, only).picks} == {"H200 SXM", "T4"}
    closed = StackSpec(
        os="ubuntu-24.04", cuda="12.8", driver={"branch": "570", "flavour": "proprietary"}
    )
    fleet = cover(catalogue, closed)
    assert fleet.left_out["B200 SXM"] == "no driver of this stack drives it"
    assert not any("open" in what for pick in fleet.picks for what in pick.adds)
    old_trt = StackSpec(os="ubuntu-24.04", cuda="12.8", tensorrt="10.7", cudnn="9")
    left_out = cover(catalogue, old_trt).left_out
    assert left_out["RTX 5090"] == "TensorRT 10.7 does not serve it"


def test_a_smaller_fleet_says_what_it_does_not_show(catalogue: Catalogue) -> None:
    fleet = cover(catalogue, None, gpus_max=1)
    assert len(fleet.picks) == 1
    assert fleet.open
    assert all(what.startswith("architecture") for what in fleet.open)


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"cuda": "12.7"}, "STACK-UNKNOWN-VERSION"),
        ({"cuda": "13.0", "gpus": ["V100"]}, "GPU-NONE-SERVED"),
        ({"cuda": "13.0", "gpus": ["H1000"]}, "STACK-GPU-UNKNOWN"),
        ({"cuda": "13.0", "driver": {"branch": "535"}}, "GPU-NONE-SERVED"),
    ],
)
def test_a_stack_without_gpus_is_refused(
    catalogue: Catalogue, spec: dict[str, object], code: str
) -> None:
    with pytest.raises(StackRefused) as refused:
        cover(catalogue, StackSpec(os="ubuntu-24.04", **spec))
    assert refused.value.code == code
