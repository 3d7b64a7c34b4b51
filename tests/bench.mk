# `make bench`: what operations and a Linux boot cost, in instructions. A benchmark, no test: it passes no judgement.
.PHONY: bench
bench: $(BUILD)/boot/trefoil.elf payloads
	tools/setup.sh run
	/usr/bin/python3 tests/bench/bench.py $(BUILD) $(CPU)
