#!/usr/bin/env bash
# Builds the demonstration ISO: Debian's cloud kernel twice, or what a person's own configuration names.
#   demo.sh BUILD_DIR OUTPUT [CONF]
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
"$here/mkiso.sh" -d "$files" "$out" trefoil "$build/boot/trefoil.elf" "$conf"
