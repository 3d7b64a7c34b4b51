# `make test-hostile`: guests that attack the hypervisor and each other, beside an innocent neighbour; the audit, the watchdog,
# and faults in the hypervisor's own paths. All of it, of which `make test` runs a part.
.PHONY: test-hostile
test-hostile: all payloads
	tools/setup.sh run test
	TEST_ALL=1 tests/system/run.py $(BUILD) 2 -k 'hostile or test_audit or test_faults or test_watchdog or machine_check'
