# `make bench [CPU=model] [ONLY=operations,linux,scale]`: what operations, Linux and many guests cost, in instructions on Bochs;
# with MACHINE=kvm, operations, in cycles on this machine's VT-x. A benchmark, no test: it passes no judgement. BUILD/bench.json
# has the figures, of which `make bench-report` makes docs/performance.md.
# `make bench-iso [MITIGATIONS=off]`: the operations for a bare machine, whose serial log bench.py --from-log reads.
BENCH := /usr/bin/python3 tests/bench/bench.py $(BUILD)
.PHONY: bench bench-iso bench-report
bench: $(BUILD)/boot/trefoil.elf payloads
	tools/setup.sh $(if $(filter kvm,$(MACHINE)),kvm,run)
	$(BENCH) $(MACHINE:%=--machine %) $(CPU:%=--cpu %) $(ONLY:%=--only %)
bench-iso: $(BUILD)/boot/trefoil.elf payloads
	$(BENCH) --iso $(or $(MITIGATIONS),auto)
bench-report:
	tools/setup.sh plot
	/usr/bin/python3 tests/bench/report.py $(BUILD) docs

# The contract, bench/contract.txt, is checked by `make test`; this rewrites the budgets that are not kept.
.PHONY: contract
contract: $(BUILD)/boot/trefoil.elf payloads
	tools/setup.sh run
	/usr/bin/python3 tests/bench/contract.py $(BUILD)

# `make profile OPS="cpuid in-40" [CPU=model]`: where the instructions of these operations go, by function.
.PHONY: profile
profile: $(BUILD)/boot/trefoil.elf payloads
	tools/setup.sh run
	/usr/bin/python3 tests/bench/profile.py $(BUILD) $(or $(CPU),corei7_skylake_x) \
		$(or $(OPS),$(error OPS="operation...", as bench/contract.txt calls them))
