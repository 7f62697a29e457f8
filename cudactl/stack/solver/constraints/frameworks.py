"""Framework rules: PyTorch and TensorFlow bring their own CUDA; which, and what it needs."""

from __future__ import annotations

from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import Gpu, Tensorflow, Torch, TorchVariant
from cudactl.stack.solver.constraints.driver import newest_cuda
from cudactl.stack.solver.constraints.gpu import sm
from cudactl.stack.solver.constraints.rule import Rule, Said, fact
from cudactl.stack.solver.dimensions import Choice
from cudactl.stack.versions import admits, numbers

TITLES = {"torch": "PyTorch", "tensorflow": "TensorFlow"}


def title(choice: Choice) -> str:
    """Return what a build is called: "PyTorch 2.9.1", or "PyTorch 2.9.1+cu130"."""
    local = ""
    if isinstance(choice.row, TorchVariant):
        local = "+cu" + choice.row.cuda.replace(".", "")
    return f"{TITLES[choice.dim]} {choice.version}{local}"


def _pythons(framework: Choice) -> tuple[str, ...]:
    row = framework.base or framework.row
    found: tuple[str, ...] = row.pythons if row is not None else ()
    return found


def _python(framework: Choice, os: Choice) -> bool:
    tags = _pythons(framework)
    return bool(tags) and os.row.python not in tags


def _python_says(catalogue: Catalogue, framework: Choice, os: Choice) -> Said:
    tags = _pythons(framework)
    spelled = f"{tags[0]} to {tags[-1]}" if len(tags) > 1 else tags[0]
    name = f"{TITLES[framework.dim]} {framework.version}"
    return Said(
        f"{name} has wheels for Python {spelled}, and {os.version} has {os.row.python}",
        (
            fact(f"{name}: {' '.join(tags)}", framework.base or framework.row),
            fact(f"{os.version} has Python {os.row.python}", os.row),
        ),
        "choose another version of the framework, or another os",
    )


def _arch(torch: Choice, arch: Choice) -> bool:
    row = torch.row
    return arch.version == "sbsa" and isinstance(row, Torch) and row.sbsa == "cpu"


def _arch_says(catalogue: Catalogue, torch: Choice, arch: Choice) -> Said:
    cuda = [row.version for row in catalogue.torch if row.sbsa == "cuda"]
    first = min(cuda, key=numbers) if cuda else "none known"
    return Said(
        f"the aarch64 wheel of PyTorch {torch.version} on the package index is for the processor "
        "only",
        (fact(f"the first whose aarch64 wheel brings CUDA is {first}", torch.row),),
        f'write frameworks: {{torch: "{first}"}} or newer',
    )


def _arch_variant(torch: Choice, arch: Choice) -> bool:
    base = torch.base
    return arch.version == "sbsa" and base is not None and base.sbsa == "cpu" and _variant(torch)


def _arch_variant_says(catalogue: Catalogue, torch: Choice, arch: Choice) -> Said:
    assert torch.base is not None
    return Said(
        f"the package index has PyTorch {torch.version} for aarch64 without CUDA, and whether "
        f"{title(torch)} exists for aarch64 is not known",
        (fact(f"the aarch64 wheel of {torch.version} is for the processor only", torch.base),),
        "look whether PyTorch's own index has it, or take a newer PyTorch",
    )


def _wrong_gpu(gpu: Choice, torch: Choice) -> Gpu | None:
    for one in gpu.gpus if torch.sm else ():
        targets = [t for t in torch.sm if t[:-1] == sm(one)[:-1] and int(t) <= int(sm(one))]
        if not targets:
            return one
    return None


def _gpu(gpu: Choice, torch: Choice) -> bool:
    return _wrong_gpu(gpu, torch) is not None


def _gpu_says(catalogue: Catalogue, gpu: Choice, torch: Choice) -> Said:
    wrong = _wrong_gpu(gpu, torch)
    assert wrong is not None
    targets = ", ".join(f"{t[:-1]}.{t[-1]}" for t in torch.sm)
    brings = f"{title(torch)} (CUDA {torch.builds[0]})" if torch.builds else title(torch)
    return Said(
        f"{brings} has no code for {wrong.name} (compute capability {wrong.cc})",
        (
            fact(f"it can have code for {targets}", torch.row),
            fact(f"{wrong.name} has compute capability {wrong.cc}", wrong),
        ),
        "choose a build for an older CUDA, or another version",
    )


def _driver(torch: Choice, driver: Choice) -> bool:
    if not torch.least_driver:
        return False
    have, need = numbers(driver.version), numbers(torch.least_driver)
    return have < need if len(have) > 1 else have < need[:1]


def _driver_says(catalogue: Catalogue, torch: Choice, driver: Choice) -> Said:
    return Said(
        f"{title(torch)} brings CUDA {torch.builds[0]}, which needs driver {torch.least_driver} or "
        f"later, not {driver.version}",
        (fact(f"{title(torch)} is built for CUDA {torch.builds[0]}", torch.row),),
        "choose a newer driver, or a build for an older CUDA",
    )


# --- flags --------------------------------------------------------------------------------------


def _brings_other(torch: Choice, cuda: Choice) -> bool:
    return bool(torch.builds) and torch.builds[0] != cuda.row.minor


def _brings_other_says(catalogue: Catalogue, torch: Choice, cuda: Choice) -> Said:
    same = [
        row
        for row in catalogue.torch_variants
        if row.version == torch.version and row.cuda == cuda.row.minor
    ]
    hint = (
        f"PyTorch {torch.version} for CUDA {cuda.row.minor} exists on PyTorch's own index only"
        if same
        else f"there is no PyTorch {torch.version} for CUDA {cuda.row.minor}"
    )
    return Said(
        f"{title(torch)} brings its own CUDA {torch.builds[0]}, not the {cuda.row.minor} of this "
        f"stack; {hint}",
        (fact(f"the default wheel of {torch.version} brings CUDA {torch.builds[0]}", torch.row),),
        "nothing if that is meant: both CUDAs live side by side",
    )


def _variant(torch: Choice) -> bool:
    return isinstance(torch.row, TorchVariant)


def _variant_says(catalogue: Catalogue, torch: Choice) -> Said:
    row: TorchVariant = torch.row
    default = torch.base
    brings = f"brings CUDA {default.cuda}" if default is not None and default.cuda else "is another"
    tried = " (its makers call it experimental)" if row.experimental else ""
    return Said(
        f"{title(torch)}{tried} comes from PyTorch's own index; the wheel of the package index "
        f"{brings}",
        (fact(f"{title(torch)} is a build of its own", row),),
        "keep it, and name that index wherever it is installed",
    )


def _cudnn(torch: Choice, cudnn: Choice) -> bool:
    own = torch.row.cudnn
    return own is not None and own != cudnn.version


def _cudnn_says(catalogue: Catalogue, torch: Choice, cudnn: Choice) -> Said:
    return Said(
        f"{title(torch)} brings and loads its own cuDNN {torch.row.cudnn}, not the "
        f"{cudnn.version} of this stack",
        (fact(f"{title(torch)} pins cuDNN {torch.row.cudnn}", torch.row),),
        "nothing if that is meant: certify the framework apart from the installed cuDNN",
    )


def _contested(framework: Choice) -> bool:
    return bool(getattr(framework.base or framework.row, "contested", ()))


def _contested_says(catalogue: Catalogue, framework: Choice) -> Said:
    row = framework.base or framework.row
    return Said(
        f"sources disagree about {title(framework)} ({', '.join(row.contested)}): {row.notes}",
        (fact(row.notes or "contested", row),),
        "look at what it really loaded: cudactl certify host",
    )


def _tensorflow_cuda(tensorflow: Choice, cuda: Choice) -> bool:
    row: Tensorflow = tensorflow.row
    return row.cuda_major is not None and row.cuda_major != cuda.row.major


def _tensorflow_cuda_says(catalogue: Catalogue, tensorflow: Choice, cuda: Choice) -> Said:
    row: Tensorflow = tensorflow.row
    return Said(
        f"TensorFlow {row.version} brings and loads CUDA {row.cuda_major}, not the "
        f"{cuda.row.minor} of this stack",
        (fact(f"tensorflow[and-cuda] {row.version} asks for CUDA {row.cuda_major}", row),),
        "nothing if that is meant: both CUDAs live side by side",
    )


def _untested(tensorflow: Choice) -> bool:
    row: Tensorflow = tensorflow.row
    if row.cudnn_least is None:
        return False
    if row.tested_cudnn is None:
        return True
    least = numbers(row.cudnn_least)
    tested = numbers(row.tested_cudnn)
    return not admits(row.tested_cudnn, row.cudnn_least) and least > tested


def _untested_says(catalogue: Catalogue, tensorflow: Choice) -> Said:
    row: Tensorflow = tensorflow.row
    tested = [r for r in catalogue.tensorflow if r.tested_cudnn]
    last = tested[-1] if tested else row
    told = (
        f"CUDA {last.tested_cuda} with cuDNN {last.tested_cudnn}"
        if last.tested_cudnn
        else "no combination"
    )
    return Said(
        f"TensorFlow {row.version} asks for cuDNN {row.cudnn_least} or later, while its makers "
        f"tested {told}",
        (
            fact(f"{row.version} asks for cuDNN >= {row.cudnn_least}", row),
            fact(f"tested: {told} (TensorFlow {last.version})", last),
        ),
        "certify it on the hosts it is for, or choose a tested version",
    )


def _tensorflow_gpu(gpu: Choice, tensorflow: Choice) -> bool:
    return any(sm(one) not in tensorflow.sm for one in gpu.gpus) if tensorflow.sm else False


def _tensorflow_gpu_says(catalogue: Catalogue, gpu: Choice, tensorflow: Choice) -> Said:
    row: Tensorflow = tensorflow.row
    wrong = next(one for one in gpu.gpus if sm(one) not in tensorflow.sm)
    return Said(
        f"TensorFlow {row.version} was tested with CUDA {row.tested_cuda}, which has no code for "
        f"{wrong.name} (compute capability {wrong.cc}): at best it is compiled at every start",
        (
            fact(f"tested with CUDA {row.tested_cuda}", row),
            fact(f"{wrong.name} has compute capability {wrong.cc}", wrong),
        ),
        "certify it on that GPU before relying on it",
    )


def _preview(framework: Choice) -> bool:
    row: Tensorflow = framework.row
    return row.prerelease == "yes"


def _preview_says(catalogue: Catalogue, framework: Choice) -> Said:
    return Said(
        f"{title(framework)} is a release candidate",
        (fact(f"{framework.version} is the newest of its minor seen", framework.row),),
        "choose a release",
    )


def _ptx(torch: Choice, driver: Choice, known: Choice) -> bool:
    """The driver runs the wheel's CUDA by minor-version compatibility only."""
    return bool(torch.builds) and numbers(known.version) < numbers(torch.builds[0])


def driver_cuda(catalogue: Catalogue, driver: Choice) -> Choice:
    """Return the newest CUDA that a driver serves fully, as a value for `_ptx`."""
    return Choice("driver_cuda", newest_cuda(driver.version, catalogue) or "99")


def _ptx_says(catalogue: Catalogue, torch: Choice, driver: Choice, known: Choice) -> Said:
    return Said(
        f"{title(torch)} brings CUDA {torch.builds[0]}, and driver {driver.version} knows CUDA "
        f"{known.version}: its machine code runs, PTX that it compiles at run time may not",
        (fact(f"driver {driver.version} is complete up to CUDA {known.version}", torch.row),),
        "choose a newer driver where kernels are compiled at run time",
    )


RULES = (
    *(
        Rule("STACK-FRAMEWORK-PYTHON", (dim, "os"), _python, _python_says)
        for dim in ("torch", "tensorflow")
    ),
    Rule("STACK-FRAMEWORK-ARCH", ("torch", "arch"), _arch, _arch_says),
    Rule("STACK-FRAMEWORK-ARCH", ("torch", "arch"), _arch_variant, _arch_variant_says, "flagged"),
    Rule("STACK-FRAMEWORK-GPU", ("gpu", "torch"), _gpu, _gpu_says),
    Rule("STACK-FRAMEWORK-DRIVER", ("torch", "driver"), _driver, _driver_says),
    Rule("STACK-FRAMEWORK-CUDA", ("torch", "cuda"), _brings_other, _brings_other_says, "flagged"),
    Rule("STACK-FRAMEWORK-VARIANT", ("torch",), _variant, _variant_says, "flagged"),
    Rule("STACK-FRAMEWORK-CUDNN", ("torch", "cudnn"), _cudnn, _cudnn_says, "flagged"),
    *(
        Rule("STACK-CONTESTED", (dim,), _contested, _contested_says, "flagged")
        for dim in ("torch", "tensorflow")
    ),
    Rule(
        "STACK-FRAMEWORK-CUDA",
        ("tensorflow", "cuda"),
        _tensorflow_cuda,
        _tensorflow_cuda_says,
        "flagged",
    ),
    Rule(
        "STACK-FRAMEWORK-GPU",
        ("gpu", "tensorflow"),
        _tensorflow_gpu,
        _tensorflow_gpu_says,
        "flagged",
    ),
    Rule("STACK-PRE-RELEASE", ("tensorflow",), _preview, _preview_says, "flagged"),
    Rule("STACK-FRAMEWORK-UNTESTED", ("tensorflow",), _untested, _untested_says, "flagged"),
    Rule("STACK-FRAMEWORK-PTX", ("torch", "driver", "driver_cuda"), _ptx, _ptx_says, "flagged"),
)
