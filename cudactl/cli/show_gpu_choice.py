"""How a recommendation is shown: the memory term by term, the ranking, what was left out."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cudactl.cli.show_gpu import table
from cudactl.stack.gpus.memory import plain
from cudactl.stack.gpus.ranking import RATE_OF, Choice

if TYPE_CHECKING:
    from cudactl.stack.gpus.coverage import Coverage
    from cudactl.workflow.gpus import Recommendation, Request

FEW = 12
"""Choices that are shown without --all."""

ORDER = {
    "inference": "fewest GPUs, then their bandwidth in all, then fewer watts",
    "training": "dense rate of one GPU, then its memory, then NVLink, then fewer watts",
}
"""Purpose → how the ranking goes, in words."""


def recommendation_text(answer: Recommendation, *, show_all: bool) -> str:
    """Return the memory that is needed, with its formula, and the ranking."""
    demand, need = answer.demand, answer.need
    terms = [(f"  {t.what}", t.formula, f"{plain(t.gb, 4)} GB") for t in need.terms]
    lines = ["Memory needed (1 GB = 10^9 bytes)"]
    lines.append(table([*terms, ("  in all", "", f"{plain(need.gb, 4)} GB")], left=(0, 1)))
    lines.append(
        f"  GPUs = memory needed / ({demand.usable * 100:g} % of one GPU's memory), rounded up"
    )
    lines += [f"  assumed: {text}" for text in need.assumptions]
    lines += [f"  not included: {text}" for text in need.not_included]
    fitting = [c for c in answer.choices if c.verdict == "fits"]
    shown = fitting if show_all else fitting[:FEW]
    lines += ["", f"For {demand.purpose} in {demand.precision.upper()}: {ORDER[demand.purpose]}"]
    if shown:
        lines.append(_ranking(shown, demand.precision))
    more = len(fitting) - len(shown)
    if more:
        lines.append(f"  and {more} more: --all")
    for verdict in ("not known", "does not fit"):
        others = [c for c in answer.choices if c.verdict == verdict]
        if others and (show_all or not fitting):
            told = others if show_all else others[:FEW]
            lines += ["", f"{verdict.capitalize()}:"]
            lines += [f"  {choice.gpu}: {choice.why}" for choice in told]
            lines += [f"  and {len(others) - len(told)} more: --all"] if told != others else []
        elif others:
            names = ", ".join(c.gpu for c in others[:4])
            rest = f" and {len(others) - 4} more (--all)" if len(others) > 4 else ""
            lines += ["", f"{verdict.capitalize()}: {names}{rest}"]
    return "\n".join(lines)


def _ranking(choices: list[Choice], precision: str) -> str:
    rate = RATE_OF[precision].upper()
    heading = (
        "#",
        "GPU",
        "needed",
        "GB/s each",
        f"{rate} each",
        "W in all",
        "Tflop/s per W",
        "why",
    )
    rows = [heading]
    for place, choice in enumerate(choices, 1):
        rows.append(
            (
                str(place),
                choice.gpu + ("*" if choice.contested else ""),
                str(choice.count),
                _figure(choice.memory_gbs),
                _figure(choice.rate),
                _figure(choice.watts),
                _figure(choice.rate_per_watt, 3),
                choice.why,
            )
        )
    text = table(rows, left=(1, 7))
    if any(choice.contested for choice in choices):
        text += "\n*: sources disagree about a figure, see gpu show"
    return text


def coverage_text(answer: Coverage, *, show_all: bool) -> str:
    """Return the test fleet and what it leaves open."""
    rows = [("GPU", "cc", "W", "shows first")]
    rows += [(p.gpu, p.cc, _figure(p.watts), ", ".join(p.adds)) for p in answer.picks]
    lines = [f"A test fleet for {answer.stack}", table(rows, left=(0, 3))]
    if answer.open:
        lines.append(f"not shown within --gpus-max: {', '.join(answer.open)}")
    if answer.other_ccs:
        lines.append(
            "served too, with machine code of its own that this fleet does not run: compute "
            f"capability {', '.join(answer.other_ccs)}"
        )
    if answer.left_out and show_all:
        lines += ["", "Not served, or not known to be:"]
        lines += [f"  {name}: {why}" for name, why in answer.left_out.items()]
    elif answer.left_out:
        lines.append(f"not served, or not known to be: {len(answer.left_out)} GPUs (--all)")
    return "\n".join(lines)


def answer_json(request: Request, answer: Recommendation | Coverage) -> dict[str, Any]:
    """Return the answer for --json; null is "not known"."""
    from cudactl.workflow.gpus import Recommendation

    if not isinstance(answer, Recommendation):
        return {"purpose": request.purpose, **asdict(answer)}
    return {
        "purpose": request.purpose,
        "model": request.model,
        "demand": asdict(answer.demand),
        "memory": {**asdict(answer.need), "gb": answer.need.gb},
        "choices": [asdict(choice) for choice in answer.choices],
    }


def _figure(value: float | None, digits: int = 5) -> str:
    return "?" if value is None else plain(value, digits)
