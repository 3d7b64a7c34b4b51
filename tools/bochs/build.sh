#!/usr/bin/env bash
# Builds Bochs 3.0 from the source package of Debian 13 (trixie), without its debugger and with extint.patch: three to
# four times as fast as the packaged Bochs 2.7. Takes about 5 minutes, once. Prints the path of the program.
#   build.sh [OUTPUT]             default: trefoil/bochs-3.0/bochs in the user's cache
#   build.sh --profile [OUTPUT]   one that counts what is executed (profile.cc); default: bochs-profile beside it
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/cache.sh
. "$here/../cache.sh"

name=bochs instrumentation=--disable-instrumentation made_from=("$here/extint.patch")
if [[ ${1:-} == --profile ]]; then
	shift
	name=bochs-profile instrumentation=--enable-instrumentation=instrument/profile made_from+=("$here/profile.cc")
fi
out=${1:-$cache/bochs-3.0/$name}
pool=pool/main/b/bochs/bochs_3.0+dfsg.orig.tar.xz
sha256=78f6c73d4a6472d5130a87ab9dc306d02c7c71ed8e25b3a8ef642e2a7acd282b
apt_helper=/usr/lib/apt/apt-helper

# An executable of another patch is built again; tools/emulator.py looks at this stamp too.
stamp=$out.patch
[[ -x $out ]] && cat "${made_from[@]}" | cmp -s - "$stamp" && { echo "$out"; exit 0; }
"$here/../setup.sh" bochs

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# apt itself says which mirrors are configured, in whatever format and with whatever transport; the checksum decides.
# shellcheck disable=SC2016 # apt expands these
fetch() {
	local uri
	while read -r uri; do
		echo "bochs: source from $uri" >&2
		"$apt_helper" -q -o APT::Sandbox::User=root download-file "${uri%/}/$pool" "$work/bochs.tar.xz" "SHA256:$sha256" >&2 &&
			return 0
	done < <(apt-get indextargets --format '$(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
		awk '$1 == "main" && !seen[$2]++ { print $2 }')
	echo "bochs: no configured Debian mirror has $pool" >&2
	return 1
}
fetch

mkdir "$work/src"
tar -xf "$work/bochs.tar.xz" -C "$work/src" --strip-components=1
cd "$work/src"
patch -s -p1 <"$here/extint.patch"
if [[ $name == bochs-profile ]]; then # the callbacks that do nothing, but for those that are ours
	cp -r instrument/stubs instrument/profile
	mine=$(sed -n 's/^void \(bx_instr_[a-z_]*\)(.*/\1/p' "$here/profile.cc" | paste -sd'|')
	sed -Ei "/^void ($mine)\(/d; /^#endif/d" instrument/profile/instrument.cc
	{ cat "$here/profile.cc" && echo '#endif'; } >>instrument/profile/instrument.cc
fi

# --enable-show-ips is left out on purpose: together with the display "nogui" it can deadlock.
options=(
	--enable-cpu-level=6 --enable-x86-64 --enable-smp --enable-vmx=2 --enable-avx --enable-evex --enable-amx
	--enable-cet --enable-uintr --enable-svm --enable-protection-keys --enable-memtype
	--enable-all-optimizations --enable-handlers-chaining --enable-repeat-speedups --enable-fast-function-calls
	--enable-pci --enable-pnic --enable-ne2000 --enable-e1000 --enable-usb --enable-usb-ohci --enable-usb-ehci
	--enable-usb-xhci --enable-cdrom --enable-iodebug
	--disable-plugins --disable-debugger "$instrumentation" --disable-show-ips --disable-docbook
	--with-rfb --with-nogui
)
quietly() {
	"$@" >"$work/log" 2>&1 || { tail -n 30 "$work/log" >&2; echo "bochs: '$1' failed" >&2; exit 1; }
}
echo "bochs: building (about 5 minutes)" >&2
CFLAGS=-O3 CXXFLAGS=-O3 quietly ./configure "${options[@]}"
quietly make -j"$(nproc)"

mkdir -p "$(dirname "$out")"
strip -o "$out.new.$$" bochs
mv "$out.new.$$" "$out"
cat "${made_from[@]}" >"$stamp"
echo "$out"
