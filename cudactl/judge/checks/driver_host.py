"""driver, as it is installed: its parts are one version, now and after the next boot."""

from __future__ import annotations

from typing import Any, List, Optional

from ..context import Answer, Context, entries, text
from .registry import Values, check, failed, no_reference, passed, unmeasured

CONTROL, UVM = "/dev/nvidiactl", "/dev/nvidia-uvm"
# Names that the kernel gives the majors in /proc/devices.
MAJORS = {UVM: ("nvidia-uvm",), CONTROL: ("nvidia-frontend", "nvidia")}
NO_KERNEL = "no kernel is installed here: what a container runs in is its host's matter"


def _left_out(context: Context, expect: Values, found: str = "") -> Optional[Answer]:
    """Return the declared skip of a machine without a GPU, where there is one."""
    without = expect.get("without_gpu")
    return ("SKIP", found, "", str(without)) if without and not context.gpus else None


@check(
    "driver.agreement",
    "driver",
    "Loaded module, module on disk, libraries and firmware are one driver's",
    needs=("on_disk",),
)
def driver_agreement(context: Context, values: Values, expect: Values) -> Answer:
    loaded = values.get("loaded")
    if loaded is None:
        return _left_out(context, expect, "no module loaded") or failed(
            "no module loaded", "", "no NVIDIA kernel module is loaded; reboot?"
        )
    loaded = text(values, "loaded")
    libcuda, nvml = text(values, "libcuda"), values.get("nvml")
    on_disk = [str(version) for version in entries(values, "on_disk")]
    found = "module %s, libcuda %s" % (loaded, libcuda)
    found += "".join(", on disk %s" % version for version in on_disk)
    if libcuda != loaded:
        reason = "the libraries are of another driver than the loaded module"
        if libcuda in on_disk:
            reason += "; their module lies on disk: reboot"
        return failed(found, loaded, reason)
    if nvml is not None and nvml != loaded:
        return failed("%s, NVML %s" % (found, nvml), loaded, "NVML is of another driver")
    if on_disk and loaded not in on_disk:
        reason = "the module on disk is another driver's, and the next load brings it: reboot"
        return failed(found, loaded, reason)
    firmware = values.get("firmware")
    # Open modules cannot start without the firmware of their own version.
    if values.get("flavour") == "open" and firmware and loaded not in firmware:
        told = "%s, firmware %s" % (found, ", ".join(firmware))
        return failed(told, loaded, "the GPU's firmware is of another driver")
    return passed(found, loaded, "all of one version")


@check(
    "driver.nodes",
    "driver",
    "The device files are there, lead to the driver, and open",
    needs=("files", "majors", "gpu_minors"),
)
def driver_nodes(context: Context, values: Values, expect: Values) -> Answer:
    files = {str(one["path"]): one for one in entries(values, "files")}
    left_out = _left_out(context, expect, "%d device files" % len(files))
    if left_out:
        return left_out
    wanted = [CONTROL, UVM]
    wanted += ["/dev/nvidia%s" % minor for minor in entries(values, "gpu_minors")]
    missing = [path for path in wanted if path not in files]
    if missing:
        reason = "%s is missing; nvidia-modprobe -u -c0 makes it" % ", ".join(missing)
        return failed("%d device files" % len(files), ", ".join(wanted), reason)
    for path in wanted:
        wrong = _wrong(files[path], dict(values["majors"]))
        if wrong:
            return failed(path, "", wrong)
    if len(wanted) - 2 < len(context.gpus):
        told = "%d of %d GPUs" % (len(wanted) - 2, len(context.gpus))
        return failed(told, "", "a GPU is on the bus that the driver has no device file for")
    return passed("%d device files" % len(files), ", ".join(wanted), "all lead to the driver")


def _wrong(node: Any, majors: Any) -> Optional[str]:  # noqa: ANN401 - evidence
    """Return what is wrong with one device file."""
    path = str(node["path"])
    if node["major"] is None:
        return "%s is no device file" % path
    names = MAJORS.get(path, MAJORS[CONTROL])
    known: List[int] = [int(majors[name]) for name in names if name in majors]
    if known and node["major"] not in known:
        return "%s has the major %s, and the driver's is %d" % (path, node["major"], known[0])
    if node["allowed"] is not True:
        return "%s may not be opened (mode %s)" % (path, node["mode"])
    if node["open_error"]:
        return "%s does not open: %s" % (path, node["open_error"])
    return None


@check(
    "driver.roots",
    "driver",
    "One driver is installed, not a containerised one beside the host's",
    needs=("roots",),
)
def driver_roots(context: Context, values: Values, expect: Values) -> Answer:
    roots = [(str(one["root"]), str(one["version"])) for one in entries(values, "roots")]
    found = ", ".join("%s in %s" % (version, root) for root, version in roots)
    if not roots:
        return _left_out(context, expect) or no_reference(
            "no libcuda", "libcuda lies in none of the usual places"
        )
    if len({root for root, _ in roots}) > 1:
        return failed(found, "one driver", "a containerised driver lies beside the host's own")
    if len({version for _, version in roots}) > 1:
        return failed(found, "one driver", "files of several drivers lie in one place")
    return passed(found, "one driver", "there is no other")


@check(
    "driver.next_kernel",
    "driver",
    "The kernel of the next boot has the same driver's module",
    needs=("running", "modules"),
)
def driver_next_kernel(context: Context, values: Values, expect: Values) -> Answer:
    left_out = _left_out(context, expect)
    if left_out:
        return left_out
    if values.get("next") is None:
        return no_reference("none", NO_KERNEL)
    following = text(values, "next")
    versions = [one.get("version") for one in entries(values, "modules")]
    wanted = str(expect.get("version") or context.state["module"].get("loaded"))
    if not versions:
        reason = "there is no NVIDIA module for %s, which boots next" % following
        if values.get("headers") is False:
            reason += "; its headers are missing, so none could be built"
        return failed("none for %s" % following, wanted, reason)
    known = [str(version) for version in versions if version]
    if not known:
        return unmeasured("which driver the module for %s is of could not be read" % following)
    # modprobe takes the first: the probe lists them in its order.
    if known[0] != wanted:
        reason = "%s boots next, and its module is another driver's" % following
        return failed("%s for %s" % (known[0], following), wanted, reason)
    return passed("%s for %s" % (known[0], following), wanted, "it is there")


@check(
    "driver.nouveau",
    "driver",
    "nouveau neither holds a GPU nor can take one at the next boot",
    needs=("loaded", "holds", "forbidden_by"),
)
def driver_nouveau(context: Context, values: Values, expect: Values) -> Answer:
    left_out = _left_out(context, expect)
    if left_out:
        return left_out
    holds = [str(address) for address in entries(values, "holds")]
    if holds:
        reason = "nouveau drives it; forbid it, rebuild the initramfs and reboot"
        return failed(", ".join(holds), "", reason)
    if values["loaded"] is not False:
        return failed("loaded", "", "nouveau is loaded; forbid it and reboot")
    forbidden = [str(where) for where in entries(values, "forbidden_by")]
    if forbidden:
        return passed("forbidden", "", "by %s" % ", ".join(sorted(set(forbidden))))
    if values.get("loadable") is None:
        return no_reference("not loaded", NO_KERNEL)
    if values["loadable"] is not False:
        reason = "nouveau is on disk and nothing forbids it: it may take the GPU at the next boot"
        return failed("can be loaded", "", reason)
    return passed("not on disk", "", "the kernel of the next boot has none")


@check(
    "driver.secure_boot",
    "driver",
    "Secure Boot lets the driver's modules load, now and at the next boot",
    needs=("efi", "signed"),
)
def driver_secure_boot(context: Context, values: Values, expect: Values) -> Answer:
    left_out = _left_out(context, expect)
    if left_out:
        return left_out
    if values["efi"] is False:
        return passed("no EFI", "", "there is no Secure Boot without EFI")
    state = values.get("secure_boot")
    if state is None:
        return unmeasured("whether Secure Boot is on could not be read")
    if state is False:
        return passed("off", "", "Secure Boot is off")
    following = str(values.get("next") or values.get("running"))
    signed = dict(values["signed"]).get(following)
    if not signed or signed[0] is None:
        return unmeasured("whether the module for %s is signed could not be read" % following)
    if signed[0] is not True:
        reason = "Secure Boot is on and the module for %s is not signed: it will not load"
        return failed("not signed", "signed", reason % following)
    if values.get("loaded"):
        return passed("on, signed", "signed", "the kernel took such a module in this boot")
    enrolled = values.get("key_enrolled")
    if enrolled is None:
        return unmeasured("whether the firmware knows the key of the modules could not be read")
    if enrolled is not True:
        reason = "the firmware was not told of the key that signs the modules (mokutil --import)"
        return failed("key not enrolled", "enrolled", reason)
    return passed("on, signed, key enrolled", "signed", "the firmware knows the key")
