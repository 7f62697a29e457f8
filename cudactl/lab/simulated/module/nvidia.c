// A simulated nvidia.ko for machines that have a kernel and no GPU: it builds with DKMS, loads, tells
// its version where the real one does, and drives nothing. CUDACTL-SIMULATED-LIBRARY
#include <linux/init.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

static int NVreg_EnableGpuFirmware = 1;
module_param(NVreg_EnableGpuFirmware, int, 0444);

static struct proc_dir_entry *folder;

static int version(struct seq_file *file, void *unused)
{
	seq_printf(file, "NVRM version: NVIDIA UNIX %sx86_64 Kernel Module  %s  (simulated)\n",
		   CUDACTL_OPEN ? "Open Kernel Module for " : "", CUDACTL_VERSION);
	return 0;
}

static int parameters(struct seq_file *file, void *unused)
{
	seq_printf(file, "EnableGpuFirmware: %d\n", NVreg_EnableGpuFirmware);
	return 0;
}

static int __init start(void)
{
	folder = proc_mkdir("driver/nvidia", NULL);
	if (!folder)
		return -ENOMEM;
	proc_create_single("version", 0444, folder, version);
	proc_create_single("params", 0444, folder, parameters);
	return 0;
}

static void __exit stop(void)
{
	proc_remove(folder);
}

module_init(start);
module_exit(stop);
MODULE_LICENSE(CUDACTL_LICENCE);
MODULE_VERSION(CUDACTL_VERSION);
MODULE_DESCRIPTION("CUDACTL-SIMULATED-LIBRARY");
