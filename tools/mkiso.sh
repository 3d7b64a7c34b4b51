#!/usr/bin/env bash
# Builds a bootable ISO (GRUB 2, BIOS).
#   mkiso.sh [options] OUTPUT trefoil ELF CONF [ARGUMENTS]        the hypervisor, trefoil.conf and the files it names
#   mkiso.sh [options] OUTPUT PROTOCOL KERNEL [ARGUMENTS [MODULE [ARGUMENTS]]...]
#                                                                 a kernel on the bare machine
# PROTOCOL: multiboot, multiboot2, or linux (whose one MODULE is the initrd)
#   -d DIR     where else to look for files that CONF names; its own directory is searched first
#   -m         files that CONF names and that are missing are left out; else they are an error
set -euo pipefail

usage() { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
fail() { echo "iso: $*" >&2; exit 1; }

grub=/usr/lib/grub/i386-pc
modules=(biosdisk iso9660 normal serial terminal multiboot multiboot2 linux)
dirs=()
allow_missing=
while getopts d:m option; do
	case $option in
	d) dirs+=("$OPTARG") ;;
	m) allow_missing=1 ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[[ $# -ge 3 ]] || usage
out=$1 protocol=$2 kernel=$3
shift 3
[[ -r $kernel ]] || fail "no file '$kernel'"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
boot=$work/iso/boot
mkdir -p "$boot/grub" "$boot/files"
commands=()

# place FILE: copies a file into the image; its path there comes back in $placed.
nplaced=0
place() {
	placed=/boot/files/$nplaced-$(basename "$1" | tr -c 'A-Za-z0-9._\n-' _)
	cp -L "$1" "$work/iso$placed"
	nplaced=$((nplaced + 1))
}

# quote WORDS: for GRUB's shell, whose quoting is that of sh.
quote() { printf "'%s'" "${1//\'/\'\\\'\'}"; }

# The boot modules a configuration names: the first word of each kernel, initrd and module value, as written there.
named_files() {
	sed -nE "s/^[[:space:]]*(kernel|initrd|module)[[:space:]]*=[[:space:]]*\"?([^[:space:]\"]+).*/\2/p" "$1" | awk '!seen[$0]++'
}

find_file() {
	local dir
	case $1 in
	/*) [[ -r $1 ]] && echo "$1"; return ;;
	esac
	for dir in "$(dirname "$conf")" ${dirs[@]+"${dirs[@]}"}; do
		[[ -r $dir/$1 ]] && { echo "$dir/$1"; return; }
	done
	return 1
}

case $protocol in
trefoil)
	[[ $# -ge 1 ]] || usage
	conf=$1
	[[ -r $conf ]] || fail "no configuration '$conf'"
	cp -L "$kernel" "$boot/trefoil.elf"
	cp -L "$conf" "$boot/trefoil.conf"
	commands+=("multiboot2 /boot/trefoil.elf ${2-}" "module2 /boot/trefoil.conf trefoil.conf")
	while read -r name; do
		if file=$(find_file "$name"); then
			place "$file"
			commands+=("module2 $placed $(quote "$name")")
		elif [[ ! $allow_missing ]]; then
			fail "$conf names '$name', which is not in $(dirname "$conf")${dirs[*]+ or ${dirs[*]}}"
		fi
	done < <(named_files "$conf")
	;;
multiboot | multiboot2 | linux)
	case $protocol in
	linux) module=initrd ;;
	*) module=${protocol/multiboot/module} ;;
	esac
	place "$kernel"
	commands+=("$protocol $placed ${1-}")
	[[ $# -eq 0 ]] || shift
	while [[ $# -gt 0 ]]; do
		[[ -r $1 ]] || fail "no file '$1'"
		place "$1"
		if [[ $module = initrd ]]; then
			commands+=("initrd $placed")
		else
			commands+=("$module $placed $(basename "$1") ${2-}")
		fi
		shift $(($# < 2 ? $# : 2))
	done
	;;
*) usage ;;
esac

here=$(cd "$(dirname "$0")" && pwd)
{
	cat "$here/../boot/grub/head.cfg"
	printf '%s\n' "${commands[@]}" boot
} >"$boot/grub/grub.cfg"

# A core image with exactly what grub.cfg uses starts faster than grub-mkrescue's, which loads module after module from
# the disc. The hybrid boot sector lets the same image start from a USB stick.
grub-mkimage -O i386-pc-eltorito -d "$grub" -p /boot/grub -o "$boot/grub/core.img" "${modules[@]}"

# Same input, same bytes: every date in the image is SOURCE_DATE_EPOCH.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0}
find "$work/iso" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$(dirname "$out")"
xorriso -as mkisofs -quiet -R -V TREFOIL -o "$out.new.$$" \
	-b boot/grub/core.img -no-emul-boot -boot-load-size 4 -boot-info-table \
	--grub2-boot-info --grub2-mbr "$grub/boot_hybrid.img" "$work/iso" 2>"$work/log" ||
	{ cat "$work/log" >&2; rm -f "$out.new.$$"; exit 1; }
mv "$out.new.$$" "$out"
