"""What each refusal of a plan means: `plan host --explain CODE`, and docs/preflight.md's table.

A case is *refused* (nothing changes before a person mends it), *taken over* (refused, unless
`--take-over` makes it a step) or *told* (a remark beside the plan). A test holds that every code
that a plan can carry is here, and that the table is this one.
"""

from __future__ import annotations

from cudactl.provision.preflight.explained_parts import OF_PARTS, Case

CASES: dict[str, Case] = {
    "PREFLIGHT-WRONG-OS": Case(
        "refused",
        "another distribution or release than the lock's",
        "Package names, versions and dependencies are a distribution's own. Lock a spec for the "
        "host's `os`; a lab base that carries another identity says so in a remark of its own.",
    ),
    "PREFLIGHT-WRONG-ARCH": Case(
        "refused",
        "another processor architecture than the lock's",
        "NVIDIA's archive has a folder for each: x86_64, and sbsa for 64-bit Arm servers.",
    ),
    "PREFLIGHT-WRONG-PYTHON": Case(
        "refused",
        "wheels that were chosen for another Python",
        "Compiled wheels load into one Python version only. Lock again for the host's.",
    ),
    "PREFLIGHT-WSL": Case(
        "refused",
        "a guest of the Windows Subsystem for Linux",
        "Its driver belongs to Windows, and a driver package breaks it.",
    ),
    "PREFLIGHT-KERNEL": Case(
        "refused",
        "a running or next kernel of another flavour or release than the spec's `kernel`",
        "Cloud kernels (aws, azure, gcp, oracle, ibm, gke, cloud-amd64) and Ubuntu's HWE kernels "
        "need modules and headers of their own names. The next boot's kernel is what the boot "
        "loader says, or else the newest that is installed.",
    ),
    "PREFLIGHT-KERNEL-FOREIGN": Case(
        "refused",
        "a kernel that no package brought, without headers, where DKMS must build",
        "No archive has headers for it. Its own may be put under /usr/src/linux-headers-RELEASE.",
    ),
    "PREFLIGHT-SECURE-BOOT": Case(
        "refused",
        "Secure Boot, a module that is built on the host, and no enrolled key",
        "The kernel loads only what a key in the firmware has signed. Enrolling one needs somebody "
        "at the console at the next boot, which cudactl cannot be; modules that the distribution "
        "built and signed need nobody.",
    ),
    "SECURE-BOOT-OWN-KEY": Case(
        "told", "Secure Boot with a key of this machine's own", "DKMS signs with it."
    ),
    "PREFLIGHT-VGPU": Case(
        "refused",
        "a vGPU guest that would get a stock driver",
        "It is told by the GPU's PCI capability (as root), by its profile's name, or by an "
        "installed GRID driver. Only the guest driver of the host's vGPU manager runs there.",
    ),
    "PREFLIGHT-DGX-OS": Case(
        "refused",
        "DGX OS that would get another driver",
        "Driver, kernel, firmware and services are released together there. With "
        "`driver: {branch: preinstalled}` the rest of a stack is provisioned.",
    ),
    "PREFLIGHT-DRIVER-CONTAINER": Case(
        "refused",
        "a driver that a container brings (GPU Operator)",
        "Two drivers cannot be loaded. Use the operator's, or turn it off there first.",
    ),
    "DRIVER-CONTAINER": Case(
        "told", "a container's driver under a lock without a driver", "Nothing touches it."
    ),
    "PREFLIGHT-DRIVER-RUNFILE": Case(
        "refused",
        "a driver from NVIDIA's runfile, or libcuda that no package owns",
        "Its libraries lie where the packages' do, and dpkg knows nothing of them.",
    ),
    "PREFLIGHT-DRIVER-ORIGIN": Case(
        "refused",
        "driver packages of Lambda Stack, a PPA, or another archive that would stay",
        "Half a driver from each of two origins does not load. What the plan itself replaces or "
        "removes is no case of this: a change from Ubuntu's packages to NVIDIA's is a step.",
    ),
    "PREFLIGHT-DRIVER-ABSENT": Case(
        "refused",
        "a lock with a preinstalled driver, and none is loaded",
        "`preinstalled` touches nothing; the host's owner brings the driver.",
    ),
    "PREFLIGHT-DRIVER-TOO-OLD": Case(
        "refused",
        "a preinstalled driver that is older than the toolkit needs",
        "A newer toolkit does not run on it. Update the driver, or lock an older toolkit.",
    ),
    "PREFLIGHT-GPU-OTHER": Case(
        "refused",
        "a GPU that is not among the spec's `gpus`",
        "What was solved for one GPU need not hold for another: branch, flavour, toolkit.",
    ),
    "PREFLIGHT-GPU-NO-FLAVOUR": Case(
        "refused",
        "GPUs with no kernel module flavour in common (V100 and B200)",
        "Blackwell and Grace run with the open module only; Volta and older with the proprietary "
        "one only. A host loads one of them.",
    ),
    "PREFLIGHT-GPU-NO-BRANCH": Case(
        "refused",
        "GPUs with no driver branch in common",
        "A branch ends for old GPUs before it begins for new ones.",
    ),
    "PREFLIGHT-GPU-FLAVOUR": Case(
        "refused",
        "a GPU that the lock's kernel module flavour does not drive",
        "The lock was made without this GPU's name. `flavour: auto` chooses rightly when the spec "
        "names the GPUs.",
    ),
    "PREFLIGHT-GPU-BRANCH": Case(
        "refused",
        "a GPU that the lock's driver branch does not drive",
        "Too old for it, or too new. Name the GPU in the spec and lock again.",
    ),
    "PREFLIGHT-GPU-TOOLKIT": Case(
        "refused",
        "a GPU that the lock's toolkit does not compile for (Volta and CUDA 13)",
        "Neither its compiler nor its libraries have code for that GPU.",
    ),
    "GPU-UNKNOWN": Case(
        "told",
        "a GPU that the catalogue does not know",
        "Nothing is checked for it; an overlay of the catalogue may add it.",
    ),
    "NO-GPU": Case("told", "no NVIDIA GPU where the lock names some", "It is provisioned anyhow."),
    "PREFLIGHT-GPU-BUSY": Case(
        "refused",
        "processes with GPU device files open, and the driver changes",
        "Programs that run on replaced libraries fail in ways of their own. As root all processes "
        "are seen, else only one's own.",
    ),
    "PREFLIGHT-MIG": Case(
        "refused",
        "MIG instances that a new driver would end, and that nothing makes again",
        "MIG mode stays, instances go. With nvidia-mig-manager enabled this is a remark.",
    ),
    "MIG-MADE-AGAIN": Case(
        "told", "MIG instances that nvidia-mig-manager makes again", "It keeps their layout."
    ),
    "PREFLIGHT-SCHEDULER-BUSY": Case(
        "refused",
        "jobs of Slurm, or pods with GPUs, on a host that would be disturbed",
        "`cudactl rollout` drains a node through its scheduler, waits until it is empty, changes "
        "and certifies it, and returns it.",
    ),
    "PREFLIGHT-SCHEDULER": Case(
        "told",
        "a scheduler that owns the host and runs nothing on it now",
        "Whether the node is drained only the scheduler knows.",
    ),
    "PREFLIGHT-MANAGED-FILE": Case(
        "refused",
        "a file that the plan changes and Puppet, Chef, Salt or Ansible writes",
        "Two writers undo each other's work for ever. --take-over does not help here.",
    ),
    "PREFLIGHT-MANAGED": Case(
        "told",
        "Puppet, Chef, Salt, CFEngine or ansible-pull on the host",
        "What it says of NVIDIA's packages must say the same as the lock, or nothing.",
    ),
    "PREFLIGHT-SOURCE-CONFLICT": Case(
        "taken over",
        "another apt source for the same address with another Signed-By",
        "apt then refuses to do anything at all, for every package.",
    ),
    "PREFLIGHT-SOURCE-FOLDER": Case(
        "taken over",
        "an NVIDIA source for another distribution or architecture",
        "NVIDIA's folders are ubuntu2404/x86_64, debian12/sbsa …: neither dpkg's amd64 nor arm64, "
        "no dots, and never another release's.",
    ),
    "PREFLIGHT-SOURCE-ENDED": Case(
        "taken over",
        "an NVIDIA repository that is no longer filled (machine-learning)",
        "Its old cuDNN and NCCL packages have the names of today's.",
    ),
    "PREFLIGHT-OTHER-SOURCE": Case(
        "told",
        "another source of NVIDIA's CUDA packages; --take-over moves it aside",
        "The lock's pins win over it, so it may stay.",
    ),
    "PREFLIGHT-OTHER-ORIGIN": Case(
        "told",
        "Lambda's archive, a graphics PPA or another repository of NVIDIA's",
        "The lock's pins win over it; packages outside the lock may still come from there.",
    ),
    "PREFLIGHT-PIN-FOREIGN": Case(
        "taken over",
        "other people's pins for packages that the lock holds",
        "Of two pins for one name apt takes the first that it reads.",
    ),
    "PREFLIGHT-PIN-OTHER": Case(
        "told",
        "other people's pins about NVIDIA's packages (cuda-repository-pin-600); --take-over moves "
        "them aside",
        "cuda-keyring ranks all of NVIDIA's archive above the distribution's.",
    ),
    "PREFLIGHT-OLD-KEY": Case(
        "told",
        "NVIDIA's key of before April 2022, trusted for every repository; --take-over moves it "
        "aside",
        "The lock's source names its own key and needs no other.",
    ),
    "PREFLIGHT-DPKG-BROKEN": Case(
        "refused",
        "packages of others that dpkg left in the middle of something",
        "What an interrupted run of cudactl left is mended by the plan itself.",
    ),
    "PREFLIGHT-DPKG-LOCKED": Case(
        "told", "another process holds dpkg's lock", "The run waits for it, up to ten minutes."
    ),
    "PREFLIGHT-DISK-FULL": Case(
        "refused",
        "too little room on /, /var, /opt or /boot",
        "/: what is unpacked; /var: what is fetched; /opt: wheel stacks; /boot: an initramfs "
        "beside the one it replaces. File systems that several of them share are counted once.",
    ),
    "PREFLIGHT-CLOCK": Case(
        "refused",
        "a clock that is more than five minutes off the controller's",
        "apt takes no list from the future and none past its Valid-Until; TLS fails as well.",
    ),
    "PREFLIGHT-APT-REMOVES": Case(
        "refused",
        "the host's apt would remove packages to install what the lock needs of the distribution",
        "cudactl removes nothing that nobody asked to remove.",
    ),
    "HOST-BUSY": Case(
        "refused", "another run of cudactl is changing the host", "One run at a time."
    ),
    "LOOK-ALIKE": Case("told", "a lab base that carries another identity", "For trials only."),
    **OF_PARTS,
}


def table() -> str:
    """Return the cases as the table of docs/preflight.md: what is refused first."""
    rank = ["refused", "taken over", "told"]
    rows = sorted(CASES.items(), key=lambda item: (rank.index(item[1].declared), item[0]))
    lines = ["| code | declared | what is met | why, and the way out |", "|---|---|---|---|"]
    lines += [f"| `{code}` | {case.declared} | {case.what} | {case.more} |" for code, case in rows]
    return "\n".join(lines) + "\n"
