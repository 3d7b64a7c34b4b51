#!/bin/sh
# Reads `nm` output, writes the symbol table for backtraces as NASM source: the low halves of the function addresses
# (all have the same upper half), sorted, and their names. Empty input gives an empty table, for the first link.
set -eu
LC_ALL=C sort | LC_ALL=C awk '
	$2 !~ /^[Tt]$/ || length($1) != 16 || substr($1, 1, 8) != "ffffffff" { next }
	$3 ~ /^(image|text)_(start|end)$/ || $3 ~ /\./ && $3 !~ /\.(constprop|isra|part|cold)/ { next }
	substr($1, 9) != last { last = substr($1, 9); addr[n] = last; name[n++] = $3 }
	END {
		print "section .symbols progbits alloc noexec nowrite align=4"
		print "global symbol_count, symbol_addrs, symbol_name_offsets, symbol_names"
		print "symbol_count: dd " n + 0
		print "symbol_addrs:"
		for (i = 0; i < n; i++) print "\tdd 0x" addr[i]
		print "symbol_name_offsets:"
		for (i = 0; i < n; i++) print "\tdd n" i " - symbol_names"
		print "symbol_names:"
		for (i = 0; i < n; i++) print "n" i ": db \"" name[i] "\", 0"
	}'
