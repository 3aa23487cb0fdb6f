#!/bin/sh
# The first process of a user-mode Linux: serves a disk over NFS to itself, mounts it, runs JOB.
#
# The root is the host's own file system, so it is mounted read-only; what has to be written
# goes to file systems in this machine's memory, laid over the host's folders in here alone.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
status=125

stop() {
  echo "mapred-nfs: status $status"
  sync
  halt -f -p
}
trap stop EXIT

mount -t proc proc /proc || exit
mount -t sysfs sys /sys
for folder in /run /mnt /var/lib/nfs; do
  mount -t tmpfs tmpfs "$folder" || exit
done
mkdir -p /dev/shm && mount -t tmpfs tmpfs /dev/shm
mkdir -p /mnt/tmp /mnt/server /mnt/nas /mnt/host/lib
mkdir -p /var/lib/nfs/rpc_pipefs /var/lib/nfs/v4recovery /var/lib/nfs/nfsdcltrack
touch /var/lib/nfs/etab /var/lib/nfs/rmtab
ip link set lo up || exit

# The modules of this kernel lie beside those of the host's, and the kernel itself asks for some.
ln -s /usr/lib/uml/modules /mnt/host/lib/modules
printf '#!/bin/sh\nexec /sbin/modprobe -d /mnt/host "$@"\n' >/mnt/host/modprobe
chmod +x /mnt/host/modprobe
echo /mnt/host/modprobe >/proc/sys/kernel/modprobe
for module in nfsd nfs nfsv4; do
  /mnt/host/modprobe "$module" || exit
done

mount -t ext4 /dev/ubdb /mnt/server || exit
mount -t nfsd nfsd /proc/fs/nfsd || exit
mount -t rpc_pipefs rpc_pipefs /var/lib/nfs/rpc_pipefs
exportfs -o rw,no_root_squash,no_subtree_check,fsid=0,insecure,sync 127.0.0.1:/mnt/server || exit
rpc.mountd --no-nfs-version 3 || exit
rpc.nfsd --no-nfs-version 3 --host 127.0.0.1 4 || exit
mount -t nfs4 -o vers=4.2,proto=tcp,sec=sys 127.0.0.1:/ /mnt/nas || exit

TMPDIR=/mnt/tmp HOME=/mnt/tmp sh "$JOB"
status=$?
umount /mnt/nas
