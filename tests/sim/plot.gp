# gnuplot -e "data='DIRECTORY'; out='DIRECTORY'" plot.gp
set terminal pngcairo size 900,420 font "sans,11"
set grid lc rgb "#dddddd"
set key outside right

set output out."/scheduling-shares.png"
set xlabel "seconds"
set ylabel "slices ahead of what is due"
plot for [i=2:6] data."/shares" using 1:i with lines lw 1.5 title "weight ".word("400 200 100 100 100", i - 1)

set output out."/scheduling-latency.png"
set xlabel "percent of wake-ups"
set ylabel "a CPU within (microseconds)"
set logscale y
set yrange [1:*]
plot data."/latency" using 1:($2 < 1 ? 1 : $2) with lines lw 2 title "normal", \
     data."/latency" using 1:($3 < 1 ? 1 : $3) with lines lw 2 title "latency = low"
