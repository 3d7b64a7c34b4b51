#!/usr/bin/env bash
# Fetches a Debian kernel package into the user's cache, unpacks it and prints the path of its vmlinuz, which is the
# package's, byte for byte; the package's list of checksums is kept beside it. Installs nothing, needs no root.
#   fetch-kernel.sh [METAPACKAGE]        default: linux-image-cloud-amd64; the plain kernel is linux-image-amd64
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/cache.sh
. "$here/cache.sh"

meta=${1:-linux-image-cloud-amd64}
kernels=$cache/kernels
mkdir -p "$kernels"
work=$(mktemp -d "$kernels/tmp.XXXXXX")
trap 'rm -rf "$work"' EXIT

apt_options=(-o APT::Sandbox::User=root)

# The machine's own package lists may be absent or out of date, and only root may update them: keep private ones.
private_lists() {
	mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial"
	apt_options+=(-o "Dir::State::Lists=$cache/apt/lists" -o "Dir::Cache=$cache/apt" -o Acquire::Languages=none)
	apt-get -qq "${apt_options[@]}" update >&2
}

# Sets package and version to the kernel that the metapackage depends on.
current() {
	package=$(apt-cache "${apt_options[@]}" depends "$meta" 2>/dev/null | awk '/ Depends: linux-image-/ { print $2; exit }')
	[[ $package ]] || return 1
	version=$(apt-cache "${apt_options[@]}" show --no-all-versions "$package" 2>/dev/null | awk '/^Version:/ { print $2; exit }')
	[[ $version ]]
}

have() { compgen -G "$kernels/$1/boot/vmlinuz-*"; }

fetch() {
	local package version id
	current || return 1
	id=${package}_$version
	if ! have "$id" >/dev/null; then
		echo "kernel: fetching $package $version" >&2
		(cd "$work" && apt-get -qq "${apt_options[@]}" download "$package=$version" >&2) || return 1
		{ dpkg-deb -x "$work"/*.deb "$work/tree" && dpkg-deb -I "$work"/*.deb md5sums >"$work/tree/md5sums"; } || return 1
		rm "$work"/*.deb
		# Two runs may race: the second finds the directory there, with the same contents.
		mv -T "$work/tree" "$kernels/$id" 2>/dev/null || true
	fi
	ln -sfn "$id" "$kernels/$meta"
	have "$id"
}

if ! fetch && ! { private_lists && fetch; }; then
	have "$meta" && { echo "kernel: no mirror answers; using the kernel fetched before" >&2; exit 0; }
	echo "kernel: cannot fetch $meta with apt" >&2
	exit 1
fi
