# What the charts of docs/performance.md share. Set before: here, data, out (directories).
trefoil = "#1b7f5c"; peer = "#c8553d"; goal = "#333333"; faint = "#dddddd"
set datafile separator "\t"
set border lc rgb "#999999"
set grid lt 1 lc rgb "#e4e4e4"
rows(file) = int(system("wc -l <'".data."/".file."'"))
set tics nomirror textcolor rgb "#222222"
