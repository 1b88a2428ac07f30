#!/bin/sh
# Starts systemd with what it expects of whoever starts it in a container: a tree of control groups of its own, of version 2
# whatever the machine around has, since newer ones know no other; and mounts that reach the services.
set -eu
umount --recursive --lazy /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$HOSTNAME"
echo $$ >"/sys/fs/cgroup/$HOSTNAME/cgroup.procs"
export container=docker
exec unshare --cgroup sh -ec '
	umount /sys/fs/cgroup
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	mount --make-rshared /
	exec /lib/systemd/systemd'
