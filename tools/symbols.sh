#!/bin/sh
# Reads `nm` output, writes the symbol table for backtraces as NASM source. Empty input gives an empty table, for the first
# link. For each function, sorted by address: the distance from the one before, or from the start of the text, in 16 bits;
# how many characters its name shares with the name before; the others, and a 0. A distance of 0 ends the table.
set -eu
LC_ALL=C sort | LC_ALL=C awk '
	function hex(s,   i, n) { n = 0; for (i = 1; i <= length(s); i++) n = 16 * n + index("0123456789abcdef", substr(s, i, 1)) - 1; return n }
	$3 == "text_start" { at = hex(substr($1, 10)) - 1 }
	$2 !~ /^[Tt]$/ || length($1) != 16 || substr($1, 1, 8) != "ffffffff" { next }
	$3 ~ /^(image|text)_(start|end)$/ || $3 ~ /\./ && $3 !~ /\.(constprop|isra|part|cold)/ { next }
	substr($1, 9) != last { last = substr($1, 9); addr[n] = hex(substr(last, 2)); name[n++] = $3 }
	END {
		print "section .symbols progbits alloc noexec nowrite"
		print "global symbol_table"
		print "symbol_table:"
		before = ""
		for (i = 0; i < n; i++) {
			for (same = 0; same < length(before) && substr(before, same + 1, 1) == substr(name[i], same + 1, 1);)
				same++
			print "\tdw " addr[i] - at "\n\tdb " same ", \"" substr(name[i], same + 1) "\", 0"
			at = addr[i]
			before = name[i]
		}
		print "\tdw 0"
	}'
