"""`cudactl gpu`: which GPUs there are, what they can run, and which suit a purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cudactl.cli.app import emit_json, finish, json_option, note, say
from cudactl.contracts.errors import Exit

COUNT = click.IntRange(1, 10**9)
AMOUNT = click.FloatRange(0, 1e12, min_open=True)


@click.group()
def gpu() -> None:
    """Choose hardware: what each GPU is, and what it can run."""


@gpu.command("list")
@click.option("--architecture", metavar="NAME", help="Only this one, e.g. Hopper.")
@click.option("--min-memory", type=AMOUNT, metavar="GB", help="Only with at least this memory.")
@click.option("--cc", metavar="X.Y", help="Only with this compute capability.")
@json_option
def list_command(
    architecture: str | None, min_memory: float | None, cc: str | None, as_json: bool
) -> None:
    """List GPUs with the stacks they can run."""
    from cudactl.cli.show_gpu import gpu_table, listing_json
    from cudactl.workflow.gpus import list_gpus

    listing = list_gpus(architecture, min_memory, cc)
    if as_json:
        emit_json(listing_json(listing))
        return
    say(gpu_table(listing.gpus))
    if listing.memory_not_known:
        note(f"left out, their memory is not known: {', '.join(listing.memory_not_known)}")


@gpu.command("show")
@click.argument("name")
@json_option
def show_command(name: str, as_json: bool) -> None:
    """Show all that is known of a GPU.

    NAME may be an alias or a PCI id; one that covers several variants shows each of them.
    """
    from cudactl.cli.show_gpu import gpu_details, gpu_json
    from cudactl.workflow.gpus import show

    found = show(name)
    if as_json:
        emit_json({"name": name, "gpus": [gpu_json(gpu, support) for gpu, support in found]})
        return
    say("\n\n".join(gpu_details(gpu, support) for gpu, support in found))


@gpu.command("compare")
@click.argument("names", nargs=-1, required=True, metavar="NAME NAME…")
@json_option
def compare_command(names: tuple[str, ...], as_json: bool) -> None:
    """Put GPUs side by side.

    Each figure has its ratio to the first GPU's, and there are rates per watt.
    """
    from cudactl.cli.show_gpu import comparison_json, comparison_table
    from cudactl.workflow.gpus import compare

    gpus = compare(names)
    if as_json:
        emit_json(comparison_json(gpus))
        return
    say(comparison_table(gpus))


@gpu.command("recommend")
@click.option(
    "--purpose",
    type=click.Choice(["training", "inference", "certification"]),
    required=True,
    help="What the GPUs are for.",
)
@click.option("--model", metavar="SIZE", help="Parameters of the model, e.g. 70B.")
@click.option(
    "--precision",
    type=click.Choice(["bf16", "fp16", "fp8", "int8", "int4"]),
    help="Of the arithmetic, and of served weights.  [default: bf16]",
)
@click.option(
    "--optimizer",
    type=click.Choice(["adam", "adamw", "adam-8bit", "sgd", "sgd-momentum"]),
    help="For training.  [default: adam]",
)
@click.option("--activations", type=AMOUNT, metavar="GB", help="For training, where you know it.")
@click.option("--layers", type=COUNT, help="For the key-value cache: layers.")
@click.option("--kv-heads", type=COUNT, help="For the key-value cache: key and value heads.")
@click.option("--head-dim", type=COUNT, help="For the key-value cache: dimension of a head.")
@click.option("--context", type=COUNT, metavar="TOKENS", help="Length of a sequence.")
@click.option("--batch", type=COUNT, help="Sequences at a time.  [default: 1]")
@click.option(
    "--cache-precision",
    type=click.Choice(["bf16", "fp16", "fp8", "int8"]),
    help="Of the key-value cache.  [default: fp16]",
)
@click.option(
    "--usable",
    type=click.FloatRange(0, 100, min_open=True),
    metavar="PERCENT",
    help="Part of each GPU's memory that may be filled.  [default: 90]",
)
@click.option("--gpus-max", type=COUNT, metavar="N", help="Not more GPUs than this.")
@click.option("--watts", type=AMOUNT, metavar="W", help="Not more power than this in all.")
@click.option(
    "--spec",
    type=click.Path(path_type=Path, dir_okay=False),
    help="For certification: the stack to cover.  [default: the newest CUDA]",
)
@click.option("show_all", "--all", is_flag=True, help="Show every GPU, also those that do not fit.")
@json_option
def recommend_command(show_all: bool, as_json: bool, **options: Any) -> None:  # noqa: ANN401
    """Rank GPUs for a purpose.

    The memory that a model needs is computed and shown term by term.

    Exit code 0: at least one GPU fits; 3: none is known to.
    """
    from cudactl.cli.show_gpu_choice import answer_json, coverage_text, recommendation_text
    from cudactl.workflow.gpus import Recommendation, Request, recommend

    request = Request(**options)
    answer = recommend(request)
    if as_json:
        emit_json(answer_json(request, answer))
    elif isinstance(answer, Recommendation):
        say(recommendation_text(answer, show_all=show_all))
    else:
        say(coverage_text(answer, show_all=show_all))
    if isinstance(answer, Recommendation) and not any(c.verdict == "fits" for c in answer.choices):
        note("no GPU of the catalogue is known to fit")
        finish(Exit.FAIL)
