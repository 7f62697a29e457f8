"""GPU rules: which toolkit compiles for it, which driver and module drive it."""

from __future__ import annotations

from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import Gpu, Toolkit
from cudactl.stack.solver.constraints.rule import Rule, Said, fact
from cudactl.stack.solver.dimensions import Choice
from cudactl.stack.versions import numbers


def sm(gpu: Gpu) -> str:
    """Return a GPU's compute capability as toolkits list it: "9.0" → "90"."""
    return gpu.cc.replace(".", "")


def lacking(gpu: Choice, least: str) -> list[Gpu]:
    """Return the variants whose compute capability is below `least`."""
    return [one for one in gpu.gpus if numbers(one.cc) < numbers(least)]


def _toolkit(gpu: Choice, cuda: Choice) -> bool:
    targets = cuda.row.sm if cuda.row else ()
    return bool(targets) and any(sm(one) not in targets for one in gpu.gpus)


def _toolkit_says(catalogue: Catalogue, gpu: Choice, cuda: Choice) -> Said:
    toolkit: Toolkit = cuda.row
    wrong = next(one for one in gpu.gpus if sm(one) not in toolkit.sm)
    serving = [row for row in catalogue.toolkits if sm(wrong) in row.sm]
    serving.sort(key=lambda row: numbers(row.version))
    if not serving:
        reach = "no CUDA toolkit of the catalogue targets it"
    elif numbers(serving[-1].version) < numbers(toolkit.version):
        reach = f"the last toolkit that targets it is {serving[-1].minor}"
    else:
        reach = f"the first toolkit that targets it is {serving[0].minor}"
    return Said(
        f"CUDA {toolkit.version} has no code for {wrong.name} (compute capability {wrong.cc}); "
        f"{reach}",
        (
            fact(f"CUDA {toolkit.minor} targets {_range(toolkit)}", toolkit),
            fact(f"{wrong.name} has compute capability {wrong.cc}", wrong),
        ),
        "choose a toolkit that targets every GPU, or lock these GPUs' hosts apart",
    )


def _range(toolkit: Toolkit) -> str:
    def dotted(target: str) -> str:
        return f"{target[:-1]}.{target[-1]}"

    return f"compute capability {dotted(toolkit.sm[0])} to {dotted(toolkit.sm[-1])}"


def _driver_too_new(gpu: Choice, driver: Choice) -> bool:
    branch = int(driver.branch.branch)
    return any(one.last_branch and branch > int(one.last_branch) for one in gpu.gpus)


def _driver_too_new_says(catalogue: Catalogue, gpu: Choice, driver: Choice) -> Said:
    branch = int(driver.branch.branch)
    wrong = next(o for o in gpu.gpus if o.last_branch and branch > int(o.last_branch))
    last = catalogue.branch(str(wrong.last_branch))
    supported = f", supported until {last.eol}" if last is not None and last.eol else ""
    return Said(
        f"driver {driver.branch.branch} no longer drives {wrong.name} ({wrong.architecture}); "
        f"{wrong.last_branch} is its last branch",
        (
            fact(
                f"{wrong.last_branch} is the last branch for {wrong.architecture}{supported}", wrong
            ),
        ),
        f'write driver: {{branch: "{wrong.last_branch}"}}',
    )


def _driver_too_old(gpu: Choice, driver: Choice) -> bool:
    have = numbers(driver.version)
    return any(chip and _before(have, numbers(chip)) for chip in gpu.chips_from)


def _before(have: tuple[int, ...], need: tuple[int, ...]) -> bool:
    """Compare; a branch alone ("580") counts as its newest version."""
    return have < need[:1] if len(have) == 1 else have < need


def _driver_too_old_says(catalogue: Catalogue, gpu: Choice, driver: Choice) -> Said:
    have = numbers(driver.version)
    wrong, chip = next(
        (one, chip)
        for one, chip in zip(gpu.gpus, gpu.chips_from, strict=True)
        if chip and _before(have, numbers(chip))
    )
    return Said(
        f"driver {driver.version} does not know {wrong.name}; {chip} is the first that drives "
        f"compute capability {wrong.cc}",
        (fact(f"the first driver known to drive compute capability {wrong.cc} is {chip}", wrong),),
        f'write driver: {{branch: "{chip.split(".")[0]}"}} or newer',
    )


def _board_unseen(gpu: Choice, driver: Choice) -> bool:
    have = numbers(driver.version)
    return not _driver_too_old(gpu, driver) and any(
        one.first_driver and _before(have, numbers(one.first_driver)) for one in gpu.gpus
    )


def _board_unseen_says(catalogue: Catalogue, gpu: Choice, driver: Choice) -> Said:
    have = numbers(driver.version)
    wrong = next(o for o in gpu.gpus if o.first_driver and _before(have, numbers(o.first_driver)))
    return Said(
        f"driver {driver.version} knows compute capability {wrong.cc}, and {wrong.name} itself is "
        f"listed from {wrong.first_driver} on: whether it drives this board is not known",
        (fact(f"{wrong.name} is listed from driver {wrong.first_driver} on", wrong),),
        f"choose {wrong.first_driver} or later, or certify one such host first",
    )


def _flavour(gpu: Choice, flavour: Choice) -> bool:
    bad = "unsupported" if flavour.version == "open" else "required"
    return any(one.open_module == bad for one in gpu.gpus)


def _flavour_says(catalogue: Catalogue, gpu: Choice, flavour: Choice) -> Said:
    opened = flavour.version == "open"
    wrong = next(o for o in gpu.gpus if o.open_module == ("unsupported" if opened else "required"))
    why = (
        "the open kernel module starts with Turing (compute capability 7.5)"
        if opened
        else f"{wrong.architecture} works with the open kernel module only"
    )
    return Said(
        f"the {flavour.version} kernel module does not drive {wrong.name} "
        f"({wrong.architecture}): {why}",
        (fact(why, wrong),),
        f"write flavour: {'proprietary' if opened else 'open'}, or auto",
    )


def _arm(gpu: Choice, arch: Choice) -> bool:
    return arch.version == "x86_64" and any(_with_processor(one) for one in gpu.gpus)


def _with_processor(gpu: Gpu) -> bool:
    """Return True for a GPU that comes on one module with NVIDIA's Arm processor."""
    return gpu.form in ("GH", "GB")


def _arm_says(catalogue: Catalogue, gpu: Choice, arch: Choice) -> Said:
    wrong = next(one for one in gpu.gpus if _with_processor(one))
    return Said(
        f"{wrong.name} sits beside NVIDIA's Arm processor, so its hosts are sbsa, not x86_64",
        (fact(f"{wrong.name} is a module with a Grace processor", wrong),),
        "write arch: sbsa",
    )


RULES = (
    Rule("STACK-GPU-ARCH", ("gpu", "arch"), _arm, _arm_says, "flagged"),
    Rule("STACK-GPU-TOOLKIT", ("gpu", "cuda"), _toolkit, _toolkit_says),
    Rule("STACK-GPU-DRIVER", ("gpu", "driver"), _driver_too_new, _driver_too_new_says),
    Rule("STACK-GPU-DRIVER-OLD", ("gpu", "driver"), _driver_too_old, _driver_too_old_says),
    Rule("STACK-GPU-UNSEEN", ("gpu", "driver"), _board_unseen, _board_unseen_says, "flagged"),
    Rule("STACK-GPU-FLAVOUR", ("gpu", "flavour"), _flavour, _flavour_says),
)
