#!/usr/bin/env bash
# Installs the Debian packages that a task needs, if they are missing.
#   setup.sh [--check] [build|run|kvm|usb|bochs|test|nested|plot]...      default: build run
# --check installs nothing: it prints the line that would, and fails, if a package is missing.
set -euo pipefail

declare -A lists=(
	[build]="gcc libc6-dev binutils make nasm python3 acpica-tools grub-common grub-pc-bin grub-efi-amd64-bin mtools xorriso gnu-efi fonts-spleen"
	[run]="bochs bochsbios vgabios busybox-static cpio"
	[kvm]="qemu-system-x86"
	[nested]="qemu-system-x86 seabios ipxe-qemu ovmf lz4 xz-utils bochs bochsbios vgabios busybox-static cpio nasm binutils"
	[usb]="gdisk mtools"
	[bochs]="g++ make patch xz-utils bochsbios vgabios"
	[plot]="gnuplot-nox"
	[test]="clang libclang-rt-dev llvm libcmocka-dev libzydis-dev libcapstone-dev python3-pytest python3-pytest-xdist qemu-system-x86 ovmf osslsigncode python3-pefile python3-pil gdisk"
)

check=
tasks=()
for arg; do
	case $arg in
	--check) check=1 ;;
	*)
		[[ ${lists[$arg]+x} ]] || { echo "setup: unknown task '$arg' (expected: ${!lists[*]})" >&2; exit 2; }
		tasks+=("$arg")
		;;
	esac
done
[[ ${#tasks[@]} -gt 0 ]] || tasks=(build run)

command -v dpkg-query >/dev/null || { echo "setup: this is no Debian system; install by hand what tools/setup.sh lists" >&2; exit 1; }

wanted=()
for task in "${tasks[@]}"; do
	read -ra words <<<"${lists[$task]}"
	wanted+=("${words[@]}")
done

installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null | awk '$1 == "installed" { print $2 }' || true)
missing=()
for package in "${wanted[@]}"; do
	grep -qxF "$package" <<<"$installed" || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

# The lock timeout: a machine that has just started often runs its own update.
apt=(apt-get -o DPkg::Lock::Timeout=300)
line="apt-get install -y --no-install-recommends ${missing[*]}"
if [[ $check ]]; then
	echo "missing packages; as root: $line"
	exit 1
elif [[ $EUID -eq 0 ]]; then
	root=()
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; then
	root=(sudo)
else
	echo "setup: packages are missing and this user cannot install them. As root:" >&2
	echo "    apt-get update && $line" >&2
	exit 1
fi

echo "setup: installing ${missing[*]}" >&2
run() {
	"${root[@]}" env DEBIAN_FRONTEND=noninteractive "${apt[@]}" "$@" >&2
}
run -qq update || echo "setup: apt-get update failed; going on with the package lists there are" >&2
run -qq install -y --no-install-recommends "${missing[@]}"
