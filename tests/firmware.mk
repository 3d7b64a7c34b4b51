# The worst firmware, as a boot loader between GRUB and Trefoil: tests/firmware/shim.h, tests/system/test_firmware.py.
SHIM        := $(BUILD)/firmware/shim.elf
SHIM_OBJS   := $(patsubst tests/firmware/%,$(BUILD)/firmware/%.o,$(wildcard tests/firmware/*.c tests/firmware/*.asm))
SHIM_CFLAGS := -std=gnu17 -m32 -O1 -Wall -Wextra -Werror -Wmissing-prototypes -ffreestanding -fno-pic -fno-pie -mgeneral-regs-only \
               -fno-strict-aliasing -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none \
               -fno-tree-loop-distribute-patterns

payloads: $(SHIM)

$(BUILD)/firmware/%.c.o: tests/firmware/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(SHIM_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/firmware/%.asm.o: tests/firmware/%.asm
	@mkdir -p $(@D)
	$(call say,NASM,$<)
	$(Q)$(NASM) -f elf32 -o $@ $<

$(SHIM): tests/firmware/shim.ld $(SHIM_OBJS)
	$(call say,LINK,$@)
	$(Q)$(LD) -m elf_i386 -nostdlib -static -s -z noexecstack -z max-page-size=4096 --no-warn-rwx-segments --build-id=none \
		-T $< -o $@ $(SHIM_OBJS)

-include $(SHIM_OBJS:.o=.d)
