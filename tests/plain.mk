# `make test-plain`: Debian's plain kernel (linux-image-amd64) boots to its shell. Slow, so not part of `make test`.
.PHONY: test-plain
test-plain: $(BUILD)/boot/trefoil.elf
	tools/setup.sh run test
	TEST_ALL=1 tests/system/run.py $(BUILD) 1 -k plain_kernel
