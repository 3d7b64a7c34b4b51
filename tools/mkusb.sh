#!/usr/bin/env bash
# Builds the image of a USB stick that starts on BIOS (GRUB 2) and on UEFI (our own loader). To be written as it is.
#   mkusb.sh [options] OUTPUT ELF LOADER CONF [FILE]...
# The stick's directory \trefoil gets ELF as trefoil.elf, CONF as trefoil.conf, the files that CONF names and FILEs;
# LOADER is BOOTX64.EFI.
#   -d DIR     where else to look for files that CONF names; its own directory is searched first
#   -m         files that CONF names and that are missing are left out; else they are an error
#   -f MIB     how much stays free, for kernels that are copied to the stick later (default 64)
set -euo pipefail

usage() { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
fail() { echo "usb: $*" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/conf-files.sh
source "$here/conf-files.sh"

grub=/usr/lib/grub/i386-pc
modules=(biosdisk part_gpt fat normal terminal multiboot2 regexp test echo sleep)

sector=512
cylinder=$((16 * 63))       # sectors; emulators and some BIOSes want whole ones
core_first=34               # behind the partition table: the BIOS boot partition, with GRUB's core image
esp_first=2048
backup_table=33             # sectors at the end of the disk
fat32_clusters=65600        # below 65525 it would be FAT16
cluster_max=8               # sectors

dirs=() allow_missing='' free=64
while getopts d:mf: option; do
	case $option in
	d) dirs+=("$OPTARG") ;;
	m) allow_missing=1 ;;
	f) free=$OPTARG ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[[ $# -ge 4 && $free =~ ^[0-9]+$ ]] || usage
out=$(realpath -m "$1") elf=$2 loader=$3 conf=$4
shift 4
for file in "$elf" "$loader" "$conf" "$@"; do
	[[ -f $file && -r $file ]] || fail "no file '$file'"
done
for tool in sgdisk mformat grub-mkimage; do
	command -v "$tool" >/dev/null || fail "$tool is missing: tools/setup.sh usb"
done

work=$(mktemp -d)
trap 'rm -rf "$work" "$out.new.$$"' EXIT
tree=$work/tree
mkdir -p "$tree"/{EFI/BOOT,boot/grub,trefoil}
cp -L "$loader" "$tree/EFI/BOOT/BOOTX64.EFI"
cp -L "$here/../boot/grub/usb.cfg" "$tree/boot/grub/grub.cfg"
cp -L "$elf" "$tree/trefoil/trefoil.elf"
cp -L "$conf" "$tree/trefoil/trefoil.conf"

# place FILE NAME: FAT does not tell upper from lower case.
place() {
	local there
	there=$(find "$tree/trefoil" -ipath "$tree/trefoil/$2" -print -quit)
	[[ ! $there ]] || fail "'$2' is there twice"
	mkdir -p "$(dirname "$tree/trefoil/$2")"
	cp -L "$1" "$tree/trefoil/$2" || fail "cannot copy '$1'"
}

# GRUB takes a name that is all in capitals for a short one of DOS, and reads it in small letters.
shouts() { [[ ! $1 =~ [a-z] && $1 =~ ^[^.]{1,8}(\.[^.]{1,3})?$ && $1 =~ [A-Z] ]]; }

find_file() {
	local dir
	for dir in "$(dirname "$conf")" ${dirs[@]+"${dirs[@]}"}; do
		[[ -f $dir/$1 && -r $dir/$1 ]] && { echo "$dir/$1"; return; }
	done
	return 1
}

while read -r name; do
	[[ ! $name =~ ^/|(^|/)\.\.?(/|$)|/.*/|[\\:*?\<\>\|] ]] ||
		fail "$conf names '$name': on the stick a name is one in \\trefoil, or in a directory of it"
	! shouts "$(basename "$name")" || fail "$conf names '$name': give the file a name with a small letter in it"
	if file=$(find_file "$name"); then
		place "$file" "$name"
	elif [[ ! $allow_missing ]]; then
		fail "$conf names '$name', which is not in $(dirname "$conf")${dirs[*]+ or ${dirs[*]}}"
	fi
done < <(named_files "$conf")
for file; do
	place "$file" "$(basename "$file")"
done

# Same input, same bytes: every date is SOURCE_DATE_EPOCH or FAT's first day, every identifier a hash of the contents.
epoch=${SOURCE_DATE_EPOCH:-0}
export SOURCE_DATE_EPOCH=$((epoch > 315532800 ? epoch : 315532800)) TZ=UTC LC_ALL=C MTOOLS_SKIP_CHECK=1
find "$tree" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
hash=$(cd "$tree" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum)
uuid() { echo "${hash:$1:8}-${hash:$1+8:4}-4${hash:$1+13:3}-8${hash:$1+17:3}-${hash:$1+20:12}"; }

# Room for the files in clusters, the two FATs and the directories, and what stays free.
bytes=$(find "$tree" -type f -printf '%s\n' | awk '{ n += int(($1 + 4095) / 4096) * 4096 } END { print n + 0 }')
esp=$(((bytes + bytes / 64) / sector + (free + 2) * 2048))
least=$((fat32_clusters + fat32_clusters * 2 * 4 / sector + 64))
((esp >= least)) || esp=$least
total=$(((esp_first + esp + backup_table + cylinder - 1) / cylinder * cylinder))
esp=$((total - backup_table - esp_first))
cluster=1
while ((cluster < cluster_max && esp / (cluster * 2) > fat32_clusters + fat32_clusters / 32)); do
	cluster=$((cluster * 2))
done

quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "$1 failed"; }; }

mkdir -p "$(dirname "$out")"
image=$out.new.$$
truncate -s $((total * sector)) "$image" || fail "no room for an image of $((total * sector / 1048576)) MiB"
quietly sgdisk --set-alignment=1 --disk-guid="$(uuid 0)" \
	--new=1:$esp_first:$((esp_first + esp - 1)) --typecode=1:ef00 --change-name=1:TREFOIL --partition-guid=1:"$(uuid 8)" \
	--new=2:$core_first:$((esp_first - 1)) --typecode=2:ef02 --change-name=2:GRUB --partition-guid=2:"$(uuid 16)" "$image"

# put OFFSET HEX: bytes into the image; le BYTES NUMBER: little-endian, as put takes them.
# shellcheck disable=SC2001  # in ${...//} the & depends on bash's version
put() { printf "%b" "$(sed 's/../\\x&/g' <<<"$2")" | dd of="$image" bs=1 seek="$1" conv=notrunc status=none; }
le() {
	local i text=
	for ((i = 0; i < $1; i++)); do
		text+=$(printf '%02x' $((($2 >> (8 * i)) & 255)))
	done
	echo "$text"
}

# What grub-bios-setup does, which needs root and a block device (GRUB, include/grub/i386/pc/boot.h): the boot sector
# with the place of the core image, and in the core image's own first sector the list of what to load behind it.
quietly grub-mkimage -O i386-pc -d "$grub" -p '(,gpt1)/boot/grub' -o "$work/core.img" "${modules[@]}"
core_sectors=$((($(stat -c %s "$work/core.img") + sector - 1) / sector))
((core_sectors <= esp_first - core_first)) || fail "GRUB's core image does not fit in front of the first partition"
dd if="$grub/boot.img" of="$image" bs=440 count=1 conv=notrunc status=none
put $((0x5c)) "$(le 8 $core_first)"      # where the core image is
put $((0x64)) ff                         # boot drive: the one that the BIOS says
put $((0x66)) 9090                       # and that is a hard disk, whatever a wrong BIOS says
dd if="$work/core.img" of="$image" bs=$sector seek=$core_first conv=notrunc status=none
put $((core_first * sector + 0x1f4)) "$(le 8 $((core_first + 1)))$(le 2 $((core_sectors - 1)))$(le 2 $((0x820)))"
# Some BIOSes start no disk without an active partition, and an active protective one is no GPT to UEFI: an empty
# fourth entry bears the flag, as on hybrid ISOs.
put $((0x1be + 3 * 16)) 80

quietly mformat -i "$image@@$((esp_first * sector))" -F -T $esp -h 16 -s 63 -H $esp_first -c $cluster -N "${hash:0:8}" -v TREFOIL ::
(cd "$tree" && quietly mcopy -i "$image@@$((esp_first * sector))" -s -m -Q EFI boot trefoil ::)
mv "$image" "$out"
