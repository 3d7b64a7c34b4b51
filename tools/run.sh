#!/usr/bin/env bash
# `make run`: sets up, builds the demonstration ISO and starts it with this terminal as its serial console.
#   run.sh BUILD_DIR [CONF]               FIRMWARE=uefi: on UEFI; CPUS=2: with so many
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1 conf=${2-}

[[ ${FIRMWARE-} != uefi ]] || "$here/setup.sh" nested
"$here/demo.sh" "$build" "$build/demo.iso" ${conf:+"$conf"}
exec /usr/bin/python3 "$here/run.py" --workdir "$build/run" --firmware "${FIRMWARE:-bios}" --cpus "${CPUS:-1}" "$build/demo.iso"
