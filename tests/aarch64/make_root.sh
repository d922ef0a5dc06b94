#!/bin/sh
# Unpacks Debian with Python for 64-bit Arm into a folder: make_root.sh FOLDER. Its usr/bin/python runs under qemu,
# and so does every Python that this one starts; nothing is registered with the kernel, no chroot is needed.
# Needs debootstrap and qemu-user-static, and to be root.
set -eu
root=$(realpath -m "$1")
rm -rf "$root"
mkdir -p "$root"
# The second stage would run the packages' own scripts, of which Python needs none.
debootstrap --arch=arm64 --foreign --variant=minbase --include=python3-dev bookworm "$root" >"$root.log"
for package in "$root"/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
rm -r "$root"/var/cache/apt/archives "$root"/debootstrap
# Python finds its own files from the name it was called by.
cat >"$root/usr/bin/python" <<EOF
#!/bin/sh
exec qemu-aarch64-static -L $root -0 $root/usr/bin/python $root/usr/bin/python3 "\$@"
EOF
chmod +x "$root/usr/bin/python"
