# Links $(BUILD)/trefoil.elf in two passes: the first finds where the functions are, the second carries that table for
# backtraces. The table is in .rodata, behind .text, so that it moves no function; the last step checks that.
LINK = $(LD) $(LDFLAGS) --fatal-warnings --orphan-handling=error -T linker.ld

$(BUILD)/symbols0.asm: tools/symbols.sh
	@mkdir -p $(@D)
	tools/symbols.sh </dev/null >$@

$(BUILD)/symbols.asm: $(BUILD)/trefoil0.elf tools/symbols.sh
	nm $< | tools/symbols.sh >$@

$(BUILD)/symbols%.o: $(BUILD)/symbols%.asm
	$(NASM) -f elf64 -o $@ $<

$(BUILD)/symbols.o: $(BUILD)/symbols.asm
	$(NASM) -f elf64 -o $@ $<

$(BUILD)/trefoil0.elf: $(OBJS) $(BUILD)/symbols0.o linker.ld
	$(LINK) -o $@ $(OBJS) $(BUILD)/symbols0.o

$(BUILD)/trefoil.elf: $(BUILD)/trefoil0.elf $(BUILD)/symbols.o
	$(LINK) -o $@.tmp $(OBJS) $(BUILD)/symbols.o
	nm $@.tmp | tools/symbols.sh | cmp - $(BUILD)/symbols.asm
	! readelf -lW $@.tmp | grep -q 'LOAD.* RWE '
	mv $@.tmp $@

# What the boot loader gets: it would read every debug section into memory.
$(BUILD)/boot/trefoil.elf: $(BUILD)/trefoil.elf
	@mkdir -p $(@D)
	$(OBJCOPY) --strip-all $< $@
