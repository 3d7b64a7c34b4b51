# Trefoil. `make` builds the hypervisor and its ISO, `make run` starts the demonstration, `make test` proves it.
BUILD   ?= build
CC      := gcc
NASM    := nasm
OBJCOPY := objcopy

# `make V=1` shows the commands.
Q       := $(if $(V),,@)
say      = @$(if $(V),:,printf '  %-6s %s\n' $(1) $(2))

.DEFAULT_GOAL := all

CFLAGS := -std=gnu17 -g -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes -Wvla \
          -ffreestanding -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone -mgeneral-regs-only \
          -fno-strict-aliasing -fno-omit-frame-pointer -fno-asynchronous-unwind-tables \
          -fstack-protector-strong -mstack-protector-guard=global -fcf-protection=none \
          -fmacro-prefix-map=$(CURDIR)/= -ffile-prefix-map=$(CURDIR)=. -Iinclude -I. -I$(BUILD)/include
# `make TESTHOOKS=1 BUILD=directory`: the variant with faults at will (tests/hooks), which also checks the order of locks
CFLAGS += $(if $(TESTHOOKS),-DTF_TEST_HOOKS -DTF_LOCK_ORDER)
LDFLAGS := -nostdlib -static -z noexecstack -z max-page-size=4096 --nmagic --build-id=none

ROOMS := boot lib ept guest/dev arch/x86_64 drivers vmx guest core
C_SRC := $(sort $(foreach r,$(ROOMS),$(wildcard $(r)/*.c)) $(if $(TESTHOOKS),$(wildcard tests/hooks/*.c)))
A_SRC := $(sort $(foreach r,$(ROOMS),$(wildcard $(r)/*.asm)))
OBJS  := $(C_SRC:%.c=$(BUILD)/%.o) $(A_SRC:%.asm=$(BUILD)/%.asm.o)

# Pure files: the same source in the hypervisor and, with sanitizers, in the host tests.
PURE  := $(wildcard lib/*.c ept/*.c guest/dev/*.c) \
         boot/efi_tables.c boot/multiboot2.c boot/multiboot2_memory.c boot/multiboot2_screen.c \
         boot/efi/efi_map.c boot/efi/image.c boot/efi/names.c boot/efi/pixels.c boot/efi/tags.c \
         arch/x86_64/paging_audit.c \
         drivers/acpi.c drivers/acpi_madt.c drivers/acpi_serial.c drivers/acpi_sleep.c drivers/framebuffer.c \
         drivers/keymap.c drivers/pci_serial.c drivers/smbios.c drivers/uart.c \
         vmx/check.c vmx/check_controls.c vmx/check_guest.c vmx/check_host.c vmx/check_msr.c vmx/check_segments.c \
         vmx/feature_control.c vmx/features.c vmx/mitigation_policy.c \
         guest/acpi_tables.c guest/bus.c guest/insn.c guest/insn_alu.c guest/insn_exec.c guest/insn_rmw.c \
         guest/kvm_clock.c guest/stats.c \
         guest/load.c guest/load_elf.c guest/load_linux.c guest/load_multiboot.c guest/load_multiboot2.c guest/mtrr.c \
         core/config.c core/config_keys.c core/console.c core/console_keys.c core/console_screen.c core/plain.c \
         core/stats_table.c \
         core/vt.c core/vt_escape.c
# Pure as well, but for the locks: their host tests have locks of their own.
RUNQ  := core/runq.c core/runq_pick.c core/runq_wake.c core/runq_yield.c

.PHONY: all clean
all: $(BUILD)/trefoil.elf $(BUILD)/trefoil.iso

# What an exit, an interrupt or a switch runs is compiled for speed, the rest for size. There only functions with buffers have a
# stack canary, and only functions are aligned.
HOT := vmx/event.c $(addprefix guest/,run.c cpuid.c bus.c mmio.c mmio_again.c irq.c fpu.c switch.c timers.c) \
       $(addprefix guest/dev/,vacpi.c vuart.c vioapic.c) lib/heap.c lib/ring.c lib/string.c arch/x86_64/irq.c core/sched.c \
       $(filter-out guest/exit_cr.c guest/exit_event.c core/runq_yield.c, \
           $(wildcard guest/exit*.c guest/dev/vlapic*.c guest/dev/vpit*.c core/runq*.c))
$(foreach h,$(HOT),$(eval $(BUILD)/$(h:.c=.o): OPTIMISE := -O2 -fstack-protector -falign-jumps=1 -falign-loops=1 -falign-labels=1))
OPTIMISE = -Oz

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS) $(OPTIMISE) -MMD -MP -c $< -o $@

$(BUILD)/%.asm.o: %.asm
	@mkdir -p $(@D)
	$(call say,NASM,$<)
	$(Q)$(NASM) -f elf64 -g -F dwarf -I. -I$(BUILD)/include/ -MD $(@:.o=.d) -o $@ $<

include $(wildcard tools/*.mk) $(wildcard tests/*.mk)

clean:
	rm -rf $(BUILD)

-include $(OBJS:.o=.d)
