"""A machine with a kernel of its own (QEMU), for what no container shows: modules and reboots."""
