# What Linux loses as a guest, one workload on each line.
load here."/plot_style.gp"
set terminal pngcairo size 940,400 font "sans,11"
set output out."/performance-linux.png"
set title "Linux in a guest: percent more than on the bare machine (fewer is better)"
set format x "%g %%"
set xrange [*:13]
set yrange [rows("linux") - 0.4:-0.6]
set ytics scale 0
set key at screen 0.62, 0.03 center bottom horizontal samplen 1 width 2
set bmargin 4.5
set arrow from 0, graph 0 to 0, graph 1 nohead lc rgb "#999999"
plot data."/linux" using 2:0:($3 - $2):(0) with vectors nohead lw 3 lc rgb faint notitle, \
     "" using 2:0:ytic(1) with points pt 7 ps 1.4 lc rgb trefoil title "Trefoil", \
     "" using 3:0 with points pt 7 ps 1.4 lc rgb peer title "KVM, mitigations off", \
     "" using 4:0 with points pt 6 ps 1.9 lw 1.5 lc rgb goal title "mark"
