# What an operation costs, one on each line: how far apart the two are, and where the mark stands.
load here."/plot_style.gp"
set terminal pngcairo size 940,780 font "sans,11" noenhanced
set output out."/performance-operations.png"
set title "Instructions for an operation in a guest (logarithmic, fewer is better)"
set logscale x
set xrange [0.7:1000000]
set xtics ("1" 1, "10" 10, "100" 100, "1 000" 1000, "10 000" 10000, "100 000" 100000, "1 000 000" 1000000)
set yrange [rows("operations") - 0.4:-0.6]
set ytics scale 0
set key at screen 0.62, 0.03 center bottom horizontal samplen 1 width 2
set bmargin 4.5
plot data."/operations" using 2:0:($3 - $2):(0) with vectors nohead lw 3 lc rgb faint notitle, \
     "" using 2:0:ytic(1) with points pt 7 ps 1.4 lc rgb trefoil title "Trefoil", \
     "" using 3:0 with points pt 7 ps 1.4 lc rgb peer title "KVM, mitigations off", \
     "" using 4:0 with points pt 6 ps 1.9 lw 1.5 lc rgb goal title "mark"
