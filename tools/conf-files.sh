# For the scripts that build images: what a trefoil.conf asks for.
# shellcheck shell=bash

# The boot modules a configuration names: the first word of each kernel, initrd and module value, as written there.
named_files() {
	sed -nE "s/^[[:space:]]*(kernel|initrd|module)[[:space:]]*=[[:space:]]*\"?([^[:space:]\"]+).*/\2/p" "$1" | awk '!seen[$0]++'
}
