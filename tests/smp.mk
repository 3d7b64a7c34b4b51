# `make test-smp`: several CPUs, of the machine and of guests: test kernels against the bare machine with as many, attackers,
# Debian's kernel. All of it, of which `make test` runs a part.
.PHONY: test-smp
test-smp: all payloads
	tools/setup.sh run test
	TEST_ALL=1 tests/system/run.py $(BUILD) 2 -k 'test_smp or test_kvm'
