# Which lines of the pure files the host tests run.
#
#   make coverage               unit tests, and the inputs of a bounded fuzzing run (tests/host.mk); HTML in $(BUILD)/coverage
#
# The fuzzers run with sanitizers as in `make fuzz-ci`; what they kept there, the seeds, and what `make fuzz` has found
# before, is given once more to programs that are built to count. Below the bounds in tests/host_coverage.py it fails.
COV        := $(HOST)/coverage
COV_FLAGS  := -fprofile-instr-generate -fcoverage-mapping
COV_OBJS   := $(HOST_SRC:%.c=$(COV)/obj/%.o)
COV_VTX    := $(HOST_VTX:%.c=$(COV)/obj/%.o)
COV_UNIT   := $(patsubst tests/unit/%.c,$(COV)/%.unit.profraw,$(wildcard tests/unit/test_*.c))
COV_FUZZ   := $(patsubst tests/fuzz/%.c,$(COV)/%.fuzz.profraw,$(wildcard tests/fuzz/fuzz_*.c))
# Shown, too, but not counted: the guest layer is tested in the emulator above all.
COV_BESIDES := $(filter-out tests/%,$(HOST_VTX))
COV_MORE    := -object $(COV)/fuzz_exits.fuzz

.PHONY: coverage coverage-report
.SECONDARY: $(COV_UNIT:%.profraw=%) $(COV_FUZZ:%.profraw=%)

$(COV)/obj/lib/string.o: HOST_RENAME := -DTF_HOST_RENAME -include tests/host_names.h

$(COV_VTX) $(VTX_PROGRAMS:%=$(COV)/%.unit) $(VTX_PROGRAMS:%=$(COV)/%.fuzz): HOST_FIRST := -Itests/vtx
$(VTX_PROGRAMS:%=$(COV)/%.unit) $(VTX_PROGRAMS:%=$(COV)/%.fuzz): HOST_VTX_LIB := $(COV)/vtx.a
$(VTX_PROGRAMS:%=$(COV)/%.unit) $(VTX_PROGRAMS:%=$(COV)/%.fuzz): $(COV)/vtx.a

$(COV)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(HOST_CC) $(HOST_FIRST) $(HOST_CFLAGS) $(COV_FLAGS) $(HOST_RENAME) -MMD -MP -c $< -o $@

$(COV)/pure.a: $(COV_OBJS) $(HOST_DATA)
$(COV)/vtx.a: $(COV_VTX)
$(COV)/%.a:
	@rm -f $@
	@ar rcs $@ $^

$(COV)/%.unit: tests/unit/%.c $(COV)/pure.a
	$(call say,CC,$@)
	$(Q)$(HOST_CC) $(HOST_FIRST) $(HOST_CFLAGS) $(COV_FLAGS) -MMD -MP -MF $@.d $< $(HOST_VTX_LIB) $(COV)/pure.a -lcmocka $(LIBS_$*) -o $@

$(COV)/%.fuzz: tests/fuzz/%.c $(COV)/pure.a
	$(call say,CC,$@)
	$(Q)$(HOST_CC) $(HOST_FIRST) $(HOST_CFLAGS) $(COV_FLAGS) -fsanitize=fuzzer -MMD -MP -MF $@.d $< $(HOST_VTX_LIB) $(COV)/pure.a $(LIBS_$*) -o $@

# All pure files in one program: what no test links counts as well.
$(COV)/all: $(COV)/pure.a
	$(Q)echo 'int main(void) { return 0; }' | $(HOST_CC) $(COV_FLAGS) -x c - -x none -Wl,--whole-archive $< -Wl,--no-whole-archive -o $@

$(COV)/%.unit.profraw: $(COV)/%.unit
	$(Q)LLVM_PROFILE_FILE=$@ $< >$<.log 2>&1 || { tail -n 20 $<.log; false; }

$(COV)/%.fuzz.profraw: $(COV)/%.fuzz fuzz-ci
	$(Q)LLVM_PROFILE_FILE=$@ $< -runs=0 -rss_limit_mb=2048 $(wildcard tests/fuzz/corpus/$(*:fuzz_%=%)) \
		$$(ls -d $(HOST)/corpus-ci/$(*:fuzz_%=%) $(HOST)/corpus/$(*:fuzz_%=%) 2>/dev/null) >$<.log 2>&1 || { tail -n 20 $<.log; false; }

coverage:
	tools/setup.sh build test
	@$(MAKE) --no-print-directory coverage-report

coverage-report: $(COV_UNIT) $(COV_FUZZ) $(COV)/all
	@llvm-profdata merge -o $(COV)/all.profdata $(COV_UNIT) $(COV_FUZZ)
	@llvm-cov show $(COV)/all $(COV_MORE) -instr-profile=$(COV)/all.profdata -format=html -output-dir=$(BUILD)/coverage $(HOST_PURE) $(COV_BESIDES)
	@llvm-cov export $(COV)/all $(COV_MORE) -instr-profile=$(COV)/all.profdata -summary-only $(HOST_PURE) $(COV_BESIDES) >$(COV)/summary.json
	@tests/host_coverage.py $(COV)/summary.json $(HOST_PURE)
	@echo "each line: $(BUILD)/coverage/index.html"

-include $(COV_OBJS:.o=.d) $(COV_VTX:.o=.d) $(wildcard $(COV)/*.d)
