#!/usr/bin/env bash
# Builds the initial file system of a demonstration guest: busybox and tools/guest/init.
#   mkinitrd.sh NAME OUTPUT [FILE...]       NAME: the guest's host name; every FILE is copied to /bin
# Not compressed: inflating it would cost an emulated guest more time than copying it costs the boot loader.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[[ $# -ge 2 ]] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
name=$1 out=$2
shift 2

busybox=$(command -v busybox) || { echo "initrd: busybox is missing; run tools/setup.sh run" >&2; exit 1; }
if readelf -lW "$busybox" | grep -q INTERP; then
	echo "initrd: $busybox is not static; install busybox-static" >&2
	exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{bin,dev,etc,proc,root,sys,tmp}
cp "$here/guest/init" "$root/init"
cp "$busybox" "$root/bin/busybox"
"$busybox" --list | while read -r applet; do
	[[ $applet = busybox ]] || ln -s busybox "$root/bin/$applet"
done
[[ $# -eq 0 ]] || cp -L "$@" "$root/bin/"
echo "$name" >"$root/etc/hostname"
echo "root:x:0:0:root:/root:/bin/sh" >"$root/etc/passwd"
chmod -R u=rwX,go=rX "$root"
chmod 755 "$root/init" "$root"/bin/busybox

# Same input, same bytes: sorted, owned by root, dated by the calendar of reproducible builds.
find "$root" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
mkdir -p "$(dirname "$out")"
(cd "$root" && find . -mindepth 1 -print0 | LC_ALL=C sort -z | cpio -0 -o -H newc --quiet --reproducible -R +0:+0) >"$out.new.$$"
mv "$out.new.$$" "$out"
