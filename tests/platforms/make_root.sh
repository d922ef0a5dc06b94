#!/bin/sh
# Unpacks a release of Debian with Python into a folder: make_root.sh arm64|amd64 RELEASE FOLDER. Its usr/bin/python
# runs here with the root's own libraries, under qemu if it is for 64-bit Arm, and so does every Python that it
# starts: nothing is registered with the kernel, no chroot is needed. Needs debootstrap (and qemu-user-static), as root.
set -eu
architecture=$1 release=$2 root=$(realpath -m "$3")
rm -rf "$root"
mkdir -p "$root"
# The second stage would run the packages' own scripts, of which Python needs none. All releases have the script of sid.
debootstrap --arch="$architecture" --foreign --variant=minbase --include=python3-dev,python3-pip "$release" "$root" \
	http://deb.debian.org/debian sid >"$root.log" || { cat "$root.log"; exit 1; }
for package in "$root"/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
rm -r "$root"/var/cache/apt/archives "$root"/debootstrap
case $architecture in
arm64) start="qemu-aarch64-static -L $root -0 $root/usr/bin/python" ;;
amd64) start="$root/usr/lib64/ld-linux-x86-64.so.2 --argv0 $root/usr/bin/python
	--library-path $root/usr/lib/x86_64-linux-gnu" ;;
esac
# Python finds its own files from the name it was called by.
{
	echo "#!/bin/sh"
	echo exec $start "$root/usr/bin/python3" '"$@"'
} >"$root/usr/bin/python"
chmod +x "$root/usr/bin/python"
