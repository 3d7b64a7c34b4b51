# Links $(BUILD)/trefoil.elf in two passes: the first finds where the functions are, the second carries that table for
# backtraces. The table is in .rodata, behind .text, so that it moves no function; the last step checks that.
LINK = $(LD) $(LDFLAGS) --fatal-warnings --orphan-handling=error -T linker.ld

$(BUILD)/symbols0.asm: tools/symbols.sh
	@mkdir -p $(@D)
	$(Q)tools/symbols.sh </dev/null >$@

$(BUILD)/symbols.asm: $(BUILD)/trefoil0.elf tools/symbols.sh
	$(Q)nm $< | tools/symbols.sh >$@

# From inside its directory: NASM puts the name of its source into the object.
$(BUILD)/symbols0.o $(BUILD)/symbols.o: %.o: %.asm
	$(call say,NASM,$<)
	$(Q)cd $(@D) && $(NASM) -f elf64 -o $(@F) $(<F)

$(BUILD)/trefoil0.elf: $(OBJS) $(BUILD)/symbols0.o linker.ld
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $(OBJS) $(BUILD)/symbols0.o

$(BUILD)/trefoil.elf: $(BUILD)/trefoil0.elf $(BUILD)/symbols.o
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@.tmp $(OBJS) $(BUILD)/symbols.o
	$(Q)nm $@.tmp | tools/symbols.sh | cmp - $(BUILD)/symbols.asm
	$(Q)! readelf -lW $@.tmp | grep -q 'LOAD.* RWE '
	$(Q)mv $@.tmp $@

# What the boot loader gets: it would read every debug section into memory.
$(BUILD)/boot/trefoil.elf: $(BUILD)/trefoil.elf
	@mkdir -p $(@D)
	$(call say,STRIP,$@)
	$(Q)$(OBJCOPY) --strip-all $< $@
