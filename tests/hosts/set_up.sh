#!/bin/sh
# Puts real hosts where the tests find them. Debian 13 has them as packages, Debian 12 has Krita; for its GIMP a Debian 13
# userland is built in a folder, .hosts of the checkout or what HOSTS names: two minutes the first time, nothing afterwards.
# KRITA=userland in the environment puts Debian 13's Krita into it, which the tests then take instead of Debian 12's.
# What this machine cannot have is said in one line and fails nothing: the tests say so too.
set -eu
export DEBIAN_FRONTEND=noninteractive

checkout=$(cd "$(dirname "$0")/../.." && pwd)
userland=${HOSTS:-$checkout/.hosts}/trixie
marker=$userland/.complete

libraries="python3-zmq python3-msgpack"     # what the plug-in needs in a host's Python
gimp="gimp"
krita="krita python3-pyqt5"                 # Krita only recommends the latter
screen="xvfb openbox xdotool x11-utils"     # windows without a screen, and keys pressed in them
native_packages="$gimp $krita $libraries $screen dbus"
machine_packages="mmdebstrap $krita $libraries $screen dbus"  # where GIMP lives in the userland
userland_packages="$gimp $libraries dbus-bin dbus-daemon"
if [ "${KRITA:-}" = userland ]; then
    machine_packages="mmdebstrap $screen dbus"
    userland_packages="$userland_packages $krita"
fi

skip() {
    echo "Tests in real hosts: $1"
    exit 0
}

install() {
    if ! dpkg -s "$@" >/dev/null 2>&1; then
        apt-get update -qq
        apt-get install -qq -y --no-install-recommends "$@" >/dev/null
    fi
}

has_gimp_3() {
    for program in gimp-console-3.0 gimp-console-3 gimp-console; do
        if "$program" --version 2>/dev/null | grep -q ' 3\.'; then return 0; fi
    done
    return 1
}

# The mirror is the one that apt uses here, whatever the form of its sources; cloud images have a list of mirrors.
mirror() {
    apt-get update -qq >&2
    used=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' | sed -n 's/^Debian //p' | head -n 1)
    case $used in
        mirror+file:*) awk '{print $1; exit}' "${used#mirror+file:}" ;;
        *) echo "$used" ;;
    esac
}

build_userland() {
    from=$(mirror)
    if [ -z "$from" ]; then skip "skipped; apt has no mirror of Debian here that could be used for Debian 13."; fi
    echo "Building a Debian 13 userland with the hosts in $userland; this happens once."
    rm -rf --one-file-system "$userland.new"
    mkdir -p "$(dirname "$userland")"
    mmdebstrap --quiet --variant=apt --include="$userland_packages" \
        --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Retries "3"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        trixie "$userland.new" "$from"
    echo "$userland_packages" >"$userland.new/.complete"
    rm -rf --one-file-system "$userland"
    mv "$userland.new" "$userland"
}

version=0
if [ -r /etc/os-release ]; then
    . /etc/os-release
    if [ "${ID:-}" = debian ]; then version=${VERSION_ID:-13}; fi  # testing and unstable have no number
fi

if [ "$version" -lt 12 ] && has_gimp_3; then exit 0; fi
if [ "$version" -lt 12 ]; then skip "skipped; there is no GIMP 3 on PATH, and only on Debian 12 or later it is fetched."; fi
if [ "$(id -u)" != 0 ]; then skip "only those of installed hosts run; root could fetch the others."; fi
if [ "$version" -ge 13 ]; then
    # shellcheck disable=SC2086  # a list of words
    install $native_packages
    exit 0
fi
# shellcheck disable=SC2086
install $machine_packages
if [ "${KRITA:-}" != userland ] && has_gimp_3; then exit 0; fi
unshare --mount true 2>/dev/null || skip "skipped; Debian 12 has no GIMP 3, and no userland may be mounted here."
if [ "$(cat "$marker" 2>/dev/null)" != "$userland_packages" ]; then build_userland; fi
