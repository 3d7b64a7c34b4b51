# `make bench`: what operations and a Linux boot cost, in instructions. A benchmark, no test: it passes no judgement.
.PHONY: bench bench-report
bench: $(BUILD)/boot/trefoil.elf payloads
	tools/setup.sh run
	/usr/bin/python3 tests/bench/bench.py $(BUILD) $(CPU)

# Writes the tables and charts of docs/performance.md from what `make bench` has left.
bench-report:
	tools/setup.sh plot
	/usr/bin/python3 tests/bench/report.py $(BUILD) docs
