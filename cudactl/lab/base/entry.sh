#!/bin/sh
# Every start of the container is a boot, so it gets a boot id of its own (as a kernel would give it):
# whoever waits for a reboot compares exactly this file. Needs CAP_SYS_ADMIN.
cat /proc/sys/kernel/random/uuid > /run/.boot_id
mount --bind /run/.boot_id /proc/sys/kernel/random/boot_id
# Where the engine uses cgroup v2, the container's own tree comes read-only and systemd must write it.
[ ! -e /sys/fs/cgroup/cgroup.controllers ] || mount -o remount,rw /sys/fs/cgroup
exec /sbin/init "$@"
