# Runs a command with the directory $1 as its root, in namespaces of its own: with a /dev and a /proc, with the
# directory $2 at /run/packages, and with nothing of it left mounted in the end. Arguments: ROOT PACKAGES COMMAND...
set -eu
root=$1
packages=$2
shift 2

# What scripts write of it is to be the same wherever the image is built.
hostname elfin
mount -t tmpfs -o mode=755 elfin "$root/dev"
for node in null zero full random urandom tty; do
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
ln -s /proc/self/fd "$root/dev/fd"
for number in 0:stdin 1:stdout 2:stderr; do
    ln -s "/proc/self/fd/${number%:*}" "$root/dev/${number#*:}"
done
# Where parts of the host's /proc are hidden, as in containers, a new one is refused.
mount -t proc elfin "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"
mount -t tmpfs -o mode=1777 elfin "$root/tmp"
mkdir -p "$root/run/packages"
mount --bind "$packages" "$root/run/packages"
exec chroot "$root" "$@"
