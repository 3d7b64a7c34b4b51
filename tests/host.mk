# Host tests of the pure files, all with ASan and UBSan.
#
#   make unit [UNIT=test_ini]               every tests/unit/test_*.c (cmocka)
#   make fuzz-ci [FUZZ=fuzz_ini]            every tests/fuzz/fuzz_*.c (libFuzzer), bounded and with a fixed seed
#   make fuzz [MINUTES=5] [FUZZ=fuzz_ini]   the same for MINUTES each; new inputs are kept in $(BUILD)/host/corpus
#
# A file that does not compile costs only the programs that need it, and counts as failed; so does a program that does
# not link, crashes, or reports no test at all. Logs and crashing inputs are in $(BUILD)/host.
HOST_CC     ?= clang
HOST_SAN    := -fsanitize=address,undefined -fno-sanitize-recover=all
HOST_CFLAGS := -std=gnu17 -O1 -g -Wall -Wextra -Werror -fno-strict-aliasing -fno-omit-frame-pointer \
               -Iinclude -I. -I$(BUILD)/include
HOST        := $(BUILD)/host
HOST_PURE   ?= $(wildcard $(PURE))
HOST_SRC    := $(HOST_PURE) tests/host_stubs.c
# Data objects that pure files refer to; the hypervisor's own are good for the host too.
HOST_DATA   := $(patsubst %.asm,$(BUILD)/%.asm.o,$(wildcard guest/dsdt_aml.asm))

# What VM exits do, over a CPU and a VMCS that are data (tests/vtx): linked by the programs that say so.
HOST_VTX := $(filter-out $(PURE) guest/vm.c guest/mem.c guest/fpu.c guest/entry_failure.c,$(wildcard guest/*.c)) \
            vmx/event.c vmx/bitmap.c vmx/vcpu.c vmx/names.c arch/x86_64/lock.c arch/x86_64/trace_event.c $(wildcard tests/vtx/*.c)
VTX_PROGRAMS := test_cpuid test_kvm_pv test_switch test_vcpu_start test_vtx test_vtx_control test_vtx_events fuzz_exits fuzz_walk

# Libraries that one program needs besides cmocka: LIBS_<program>.
LIBS_test_insn_zydis := -lZydis

FUZZ_RUNS    ?= 20000
FUZZ_SECONDS ?= 8
MINUTES      ?= 5

UNIT ?= $(sort $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c)))
FUZZ ?= $(sort $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c)))

HOST_UNIT_OBJS := $(HOST_SRC:%.c=$(HOST)/unit-obj/%.o)
HOST_FUZZ_OBJS := $(HOST_SRC:%.c=$(HOST)/fuzz-obj/%.o)
VTX_UNIT_OBJS  := $(HOST_VTX:%.c=$(HOST)/unit-obj/%.o)
VTX_FUZZ_OBJS  := $(HOST_VTX:%.c=$(HOST)/fuzz-obj/%.o)

.PHONY: unit fuzz-ci fuzz host-force
.SECONDARY: $(UNIT:%=$(HOST)/unit/%) $(FUZZ:%=$(HOST)/fuzz/%)

$(HOST)/%/lib/string.o: HOST_RENAME := -DTF_HOST_RENAME -include tests/host_names.h
# The headers of tests/vtx stand before the real ones.
$(VTX_UNIT_OBJS) $(VTX_FUZZ_OBJS) $(VTX_PROGRAMS:%=$(HOST)/unit/%) $(VTX_PROGRAMS:%=$(HOST)/fuzz/%): HOST_FIRST := -Itests/vtx
$(HOST)/unit/test_runq: HOST_FIRST := -Itests/sim
$(VTX_PROGRAMS:%=$(HOST)/unit/%): $(HOST)/unit-vtx.a
$(VTX_PROGRAMS:%=$(HOST)/fuzz/%): $(HOST)/fuzz-vtx.a
$(VTX_PROGRAMS:%=$(HOST)/unit/%): HOST_VTX_LIB := $(HOST)/unit-vtx.a
$(VTX_PROGRAMS:%=$(HOST)/fuzz/%): HOST_VTX_LIB := $(HOST)/fuzz-vtx.a

$(HOST)/unit-obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(HOST_CC) $(HOST_FIRST) $(HOST_CFLAGS) $(HOST_SAN) $(HOST_RENAME) -MMD -MP -c $< -o $@ || rm -f $@

$(HOST)/fuzz-obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(HOST_CC) $(HOST_FIRST) $(HOST_CFLAGS) $(HOST_SAN) -fsanitize=fuzzer-no-link $(HOST_RENAME) -MMD -MP -c $< -o $@ || rm -f $@

$(HOST)/unit.a: $(HOST_UNIT_OBJS) $(HOST_DATA)
$(HOST)/fuzz.a: $(HOST_FUZZ_OBJS) $(HOST_DATA)
$(HOST)/unit-vtx.a: $(VTX_UNIT_OBJS)
$(HOST)/fuzz-vtx.a: $(VTX_FUZZ_OBJS)
$(HOST)/%.a:
	@rm -f $@
	@ar rcs $@ $$(ls $^ 2>/dev/null)

$(HOST)/unit/%: tests/unit/%.c $(HOST)/unit.a
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(HOST_CC) $(HOST_FIRST) $(HOST_CFLAGS) $(HOST_SAN) -MMD -MP -MF $@.d \
		$< $(HOST_VTX_LIB) $(HOST)/unit.a -lcmocka $(LIBS_$*) -o $@ || rm -f $@

$(HOST)/fuzz/%: tests/fuzz/%.c $(HOST)/fuzz.a
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(HOST_CC) $(HOST_FIRST) $(HOST_CFLAGS) $(HOST_SAN) -fsanitize=fuzzer -MMD -MP -MF $@.d \
		$< $(HOST_VTX_LIB) $(HOST)/fuzz.a $(LIBS_$*) -o $@ || rm -f $@

$(HOST)/unit/%.result: $(HOST)/unit/% host-force
	@tests/host_run.sh unit $(HOST)/unit/$* $@

$(HOST)/fuzz/%.ci: $(HOST)/fuzz/% host-force
	@tests/host_run.sh fuzz $(HOST)/fuzz/$* $@ ci -runs=$(FUZZ_RUNS) -max_total_time=$(FUZZ_SECONDS) -seed=1

$(HOST)/fuzz/%.long: $(HOST)/fuzz/% host-force
	@tests/host_run.sh fuzz $(HOST)/fuzz/$* $@ keep -max_total_time=$$(( $(MINUTES) * 60 ))

unit: $(UNIT:%=$(HOST)/unit/%.result)
	@tests/host_run.sh sum unit "$(HOST_UNIT_OBJS)" $^

fuzz-ci: $(FUZZ:%=$(HOST)/fuzz/%.ci)
	@tests/host_run.sh sum fuzz "$(HOST_FUZZ_OBJS)" $^

fuzz: $(FUZZ:%=$(HOST)/fuzz/%.long)
	@tests/host_run.sh sum fuzz "$(HOST_FUZZ_OBJS)" $^

-include $(HOST_UNIT_OBJS:.o=.d) $(HOST_FUZZ_OBJS:.o=.d) $(VTX_UNIT_OBJS:.o=.d) $(VTX_FUZZ_OBJS:.o=.d) $(wildcard $(HOST)/unit/*.d $(HOST)/fuzz/*.d)
