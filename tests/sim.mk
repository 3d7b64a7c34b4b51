# The scheduler on a machine that is only time, see tests/sim/sim.h.
#
#   make sim [SIM=test_fairness]   every tests/sim/test_*.c (cmocka)
SIM_CFLAGS := -std=gnu17 -O2 -g -Wall -Wextra -Werror -fno-strict-aliasing -fno-omit-frame-pointer -Itests/sim -Iinclude -I.
SIM_POLICY := $(RUNQ) lib/heap.c tests/host_stubs.c
SIM        ?= $(sort $(patsubst tests/sim/%.c,%,$(wildcard tests/sim/test_*.c)))

# What the decisions cost is counted in basic blocks; races are looked for by threads.
SIM_SAN                := $(HOST_SAN)
SIM_SRC                := tests/sim/sim.c
$(HOST)/sim/test_stress: SIM_SAN := -fsanitize=thread
$(HOST)/sim/test_stress: SIM_SRC :=
$(HOST)/sim/test_cost: SIM_SAN := -fsanitize-coverage=trace-pc-guard

.PHONY: sim
.SECONDARY: $(SIM:%=$(HOST)/sim/%)

$(HOST)/sim/%: tests/sim/%.c $(SIM_POLICY) tests/sim/sim.c $(wildcard core/runq*.h) lib/heap.h $(wildcard tests/sim/*.h tests/sim/arch/x86_64/*.h)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(HOST_CC) $(SIM_CFLAGS) $(SIM_SAN) $< $(SIM_SRC) $(SIM_POLICY) -lcmocka -lm -lpthread -o $@ || rm -f $@

$(HOST)/sim/%.result: $(HOST)/sim/% host-force
	@tests/host_run.sh unit $(HOST)/sim/$* $@

sim: $(SIM:%=$(HOST)/sim/%.result)
	@tests/host_run.sh sum sim "" $^

# Draws the plots of docs/scheduling.md.
.PHONY: sim-plot
sim-plot: $(HOST)/sim/plot
	tools/setup.sh plot
	@mkdir -p $(HOST)/sim/data
	$(HOST)/sim/plot shares >$(HOST)/sim/data/shares
	$(HOST)/sim/plot latency >$(HOST)/sim/data/latency
	gnuplot -e "data='$(HOST)/sim/data'; out='docs'" tests/sim/plot.gp
