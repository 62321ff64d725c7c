#!/bin/sh
# enter.sh USERLAND COMMAND...: runs a command in a userland, with the environment that this script got.
#
# The root is a file system in memory, mounted for this command alone: it holds the userland's programs, read-only, and this
# machine's /dev, /proc and folders of temporary files. Nothing stays mounted, and the userland stays as it was built.
set -eu
exec unshare --mount sh -euc '
    userland=$1
    shift
    root=$userland/mnt
    mount -t tmpfs tmpfs "$root"
    for entry in bin sbin lib lib64; do cp -P "$userland/$entry" "$root"; done
    for entry in usr etc var; do
        mkdir "$root/$entry"
        mount --bind -o ro "$userland/$entry" "$root/$entry"
    done
    for entry in /dev /proc /sys /tmp "${TMPDIR:-/tmp}"; do
        mkdir -p "$root$entry"
        mount --rbind "$entry" "$root$entry"
    done
    mkdir "$root/run" "$root/root"
    exec chroot "$root" "$@"
' sh "$@"
