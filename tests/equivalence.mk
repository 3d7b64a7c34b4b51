# `make test-equivalence`: test kernels on the bare machine and as guests, on all CPU models; SEQUENCES=n: so many random
# instruction sequences, of which `make test` runs a sample.
SEQUENCES ?= 100000

.PHONY: test-equivalence
test-equivalence: all payloads
	tools/setup.sh run test
	TEST_ALL=1 SEQUENCES=$(SEQUENCES) tests/system/run.py $(BUILD) 2 -k equivalence
