# `make test-nested`: QEMU with KVM, in a Linux in Bochs where this machine has no VT-x; all rows of test_nested.py.
# `make test-all`: everything, also what is too slow for `make test`; ONLY=nested, as an example: system tests of that name.
.PHONY: test-nested test-all
test-nested: all payloads
	tools/setup.sh run test nested
	TEST_ALL=1 tests/system/run.py $(BUILD) 1 -k test_nested

test-all:
	TEST_ALL=1 tools/test.sh $(BUILD) $(if $(ONLY),'$(ONLY)')
