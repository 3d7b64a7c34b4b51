#!/usr/bin/env bash
# Builds the demonstration image: Debian's cloud kernel twice, or what a person's own configuration names.
#   demo.sh BUILD_DIR OUTPUT [CONF]         OUTPUT: *.iso, or *.img for a USB stick
# A file that CONF names is looked up beside CONF, then among the demonstration's own (vmlinuz, alpha.img, beta.img).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1 out=$2 conf=${3:-$here/demo/trefoil.conf}

files=$build/demo
mkdir -p "$files"
kernel=$("$here/fetch-kernel.sh")
ln -sfn "$kernel" "$files/vmlinuz"
for name in alpha beta; do
	[[ $files/$name.img -nt $here/guest/init && $files/$name.img -nt $here/mkinitrd.sh ]] ||
		"$here/mkinitrd.sh" "$name" "$files/$name.img"
done
case $out in
*.img) "$here/mkusb.sh" -d "$files" "$out" "$build/boot/trefoil.elf" "$build/BOOTX64.EFI" "$conf" ;;
*) "$here/mkiso.sh" -d "$files" "$out" trefoil "$build/boot/trefoil.elf" "$conf" ;;
esac
