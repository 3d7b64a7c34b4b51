# shellcheck shell=bash disable=SC2034
# The user's cache, for sourcing: $cache is the directory in which Trefoil keeps what it fetched or built.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/trefoil
