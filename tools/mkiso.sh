#!/usr/bin/env bash
# Builds a bootable ISO (GRUB 2): BIOS and UEFI, from a CD or, written as it is, from a USB stick.
#   mkiso.sh [options] OUTPUT trefoil ELF CONF [ARGUMENTS]        the hypervisor, trefoil.conf and the files it names
#   mkiso.sh [options] OUTPUT PROTOCOL KERNEL [ARGUMENTS [MODULE [ARGUMENTS]]...]
#                                                                 a kernel on the bare machine
# PROTOCOL: multiboot, multiboot2, or linux (whose one MODULE is the initrd)
#   -d DIR     where else to look for files that CONF names; its own directory is searched first
#   -m         files that CONF names and that are missing are left out; else they are an error
#   -v         on BIOS, too, the screen is in a graphics mode (VBE, or $GFXPAYLOAD); else it is in text mode
set -euo pipefail

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
fail() { echo "iso: $*" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/conf-files.sh
source "$here/conf-files.sh"

grub=/usr/lib/grub
modules=(iso9660 normal test multiboot multiboot2 linux)
bios_modules=(biosdisk)
# A stick is a disk to UEFI; the EFI image is a FAT file system of its own, from where the ISO 9660 one must be found.
efi_modules=(part_gpt part_msdos fat search search_fs_file configfile efi_gop efi_uga video)
dirs=()
allow_missing=
graphics=
while getopts d:mv option; do
	case $option in
	d) dirs+=("$OPTARG") ;;
	m) allow_missing=1 ;;
	v)
		graphics=1
		bios_modules+=(vbe video)
		;;
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

{
	cat "$here/../boot/grub/head.cfg"
	printf '%s\n' "${commands[@]}"
	# After `multiboot2`, which sets it from the kernel's header. Without it a BIOS would get a graphics mode as well.
	if [[ $graphics ]]; then
		# Not "auto": GRUB 2.06 falls over a screen of 256 colours, where there is nothing better.
		echo "set gfxpayload=${GFXPAYLOAD:-1024x768x32,800x600x32,640x480x32,text}"
	else
		# shellcheck disable=SC2016  # GRUB's variable
		echo 'if [ $grub_platform = pc ]; then set gfxpayload=text; fi'
	fi
	echo boot
} >"$boot/grub/grub.cfg"

# Same input, same bytes: every date in the image is SOURCE_DATE_EPOCH.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0} TZ=UTC

# A core image with exactly what grub.cfg uses starts faster than grub-mkrescue's, which loads module after module from
# the disc. The hybrid boot sector lets the same image start from a USB stick.
grub-mkimage -O i386-pc-eltorito -d "$grub/i386-pc" -p /boot/grub -o "$boot/grub/core.img" "${modules[@]}" "${bios_modules[@]}"
layout=(-b boot/grub/core.img -no-emul-boot -boot-load-size 4 -boot-info-table
	--grub2-boot-info --grub2-mbr "$grub/i386-pc/boot_hybrid.img")

# On a machine with several disks that look alike, GRUB shall find the one it came from.
id=$(find "$boot" -type f -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum | cut -c 1-16)
: >"$boot/grub/$id.id"
cat >"$work/find.cfg" <<END
search --no-floppy --file --set=root /boot/grub/$id.id
set prefix=(\$root)/boot/grub
END
grub-mkimage -O x86_64-efi -d "$grub/x86_64-efi" -p /boot/grub -c "$work/find.cfg" -o "$work/BOOTX64.EFI" \
	"${modules[@]}" "${efi_modules[@]}"
touch -d "@$SOURCE_DATE_EPOCH" "$work/BOOTX64.EFI"
efi=$boot/grub/efi.img
mformat -i "$efi" -C -T $(($(stat -c %s "$work/BOOTX64.EFI") / 512 + 64)) -h 2 -s 32 -N 0 -v EFI ::
mmd -i "$efi" ::/EFI ::/EFI/BOOT
mcopy -m -i "$efi" "$work/BOOTX64.EFI" ::/EFI/BOOT/
layout+=(--efi-boot boot/grub/efi.img -efi-boot-part --efi-boot-image --protective-msdos-label --mbr-force-bootable)

find "$work/iso" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$(dirname "$out")"
xorriso -as mkisofs -quiet -R -V TREFOIL -o "$out.new.$$" "${layout[@]}" "$work/iso" 2>"$work/log" ||
	{ cat "$work/log" >&2; rm -f "$out.new.$$"; exit 1; }
mv "$out.new.$$" "$out"
