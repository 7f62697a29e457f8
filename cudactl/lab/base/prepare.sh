#!/bin/sh
# Turn a root file system into a lab host. Runs once, while the image is built.
#   PACKAGES  what a host carries, as Debian package names
#   IDENTITY  folder beside this script with another distribution's identity, or empty
set -eu
here=$(dirname "$0")
export DEBIAN_FRONTEND=noninteractive

# A root file system made for the lab has everything; one from a registry has next to nothing.
installed=$(dpkg-query -W -f '${Package} ${Status}\n' | sed -n 's/ install ok installed$//p')
missing=
for package in $PACKAGES; do
    echo "$installed" | grep -qx "$package" || missing="$missing $package"
done
if [ -n "$missing" ]; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends $missing
    apt-get clean
    rm -rf /var/lib/apt/lists/*
fi

install -m 0755 "$here/entry.sh" /entry.sh

# Users: root and ops (sudo without a password) as on cloud machines, guest for "no sudo here".
# Keys come with each host: one file for all three, put there when the host is made.
useradd --create-home --shell /bin/bash ops
useradd --create-home --shell /bin/bash guest
printf 'ops ALL=(ALL) NOPASSWD: ALL\n' > /etc/sudoers.d/ops
chmod 0440 /etc/sudoers.d/ops
mkdir -p /etc/ssh/sshd_config.d
cat > /etc/ssh/sshd_config.d/lab.conf <<'CONF'
AuthorizedKeysFile /etc/ssh/lab_authorized_keys .ssh/authorized_keys
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100:30:200
CONF
rm -f /etc/ssh/ssh_host_*_key*

# Units that need a kernel of their own, and those that would use apt behind a test's back.
# (systemd-logind stays: without it `systemctl reboot` complains.)
for unit in systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket \
    systemd-modules-load.service systemd-remount-fs.service dev-hugepages.mount \
    sys-fs-fuse-connections.mount getty.target console-getty.service \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer \
    motd-news.timer systemd-networkd-wait-online.service systemd-resolved.service; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done
systemctl disable ssh.socket 2>/dev/null || true
systemctl enable ssh.service
: > /etc/machine-id

if [ -n "$IDENTITY" ]; then
    cp "$here/$IDENTITY/os-release" /usr/lib/os-release
    ln -sf ../usr/lib/os-release /etc/os-release
    cp "$here/$IDENTITY/lsb-release" /etc/lsb-release
    cp "$here/$IDENTITY/debian_version" /etc/debian_version
fi
