# Many guests, much memory, several CPUs.
load here."/plot_style.gp"
set terminal pngcairo size 1200,400 font "sans,11"
set output out."/performance-scale.png"
set multiplot layout 1,3
set key top left
set style data linespoints

set title "One guest computes, the others are idle"
set xlabel "guests"
set ylabel "percent that it loses by them"
set xrange [0:135]
set xtics 32
set yrange [0:0.2<*]
plot data."/guests" using 1:2 lw 2 pt 7 lc rgb trefoil title "measured", \
     0.1 with lines lw 1.5 dt 2 lc rgb goal title "mark"

set title "One guest, by its memory"
set logscale xy
set xlabel "memory"
set ylabel "seconds to its first instruction"
set xrange [50:11000]
set xtics ("64 MiB" 64, "256 MiB" 256, "1 GiB" 1024, "4 GiB" 4096)
set yrange [0.05:50]
plot data."/sizes" using 1:3 lw 2 pt 7 lc rgb trefoil title "in all", \
     "" using 1:2 lw 2 pt 7 lc rgb peer title "without zeroing it"

set title "Four guests that compute"
unset logscale
set xlabel "CPUs"
set ylabel "times as fast as one CPU"
set xrange [0.8:4.2]
set yrange [0:4.2]
set xtics 1
plot data."/cpus" using 1:2 lw 2 pt 7 lc rgb trefoil title "measured", \
     x with lines lw 1.5 dt 2 lc rgb goal title "linear"
unset multiplot
