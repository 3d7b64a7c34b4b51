# Tiny guests, each one behaviour; the same file boots under GRUB on a bare machine. `make payloads`: $(BUILD)/payload/*.elf
# What a guest must find as on the bare machine: the CPU, what exits do to it, devices
PAYLOADS   := hello cpu memory exec spec hidden contract random
PAYLOADS   += debug shadow nmi align deliver fpu paging64 fetch syscalls
PAYLOADS   += board mmio string access again lapic pc kvm
# Several CPUs
PAYLOADS_SMP := smp_ipi smp_tlb smp_timer smp_atomic smp_topology smp_hostile smp_lock smp_bench
PAYLOADS   += $(PAYLOADS_SMP)
# Attackers, and those beside them; measurements
PAYLOADS   += crash hang hostile hypercube probe neighbour
PAYLOADS   += echo spin latency switch bench turns idle busy counted
# 32-bit ones, for what long mode has not
PAYLOADS32 := tasks modes segments sensitive contract32 random32 random_real random_found access32 states hostile32

# Sources beside <name>.c
PAYLOAD_COMMON    := start.asm print.c boot.c trap.c irq.c
PAYLOAD_access    := access_faults.c
PAYLOAD_bench     := bench_apic.c bench_cpu.c bench_io.c bench_memory.c bench_report.c bench_timer.c
PAYLOAD_board     := board_apic.c
PAYLOAD_contract  := contract_registers.c contract_msrs.c
PAYLOAD_cpu       := cpu_faults.c cpu_state.c
PAYLOAD_debug     := steps.c
PAYLOAD_hostile   := hostile_faults.c hostile_exits.c hostile_interrupts.c hostile_long.c
PAYLOAD_hypercube := hypercube_io.c hypercube_cpu.c
PAYLOAD_nmi       := steps.c
PAYLOAD_pc        := pc_pit.c pc_rtc.c pc_uart.c
PAYLOAD_probe     := probe_search.c probe_devices.c
PAYLOAD_random    := random_box.c random_gen.c random_items.c random_system.c random_entry.asm
PAYLOAD_shadow    := steps.c
PAYLOAD_turns     := bench_report.c

PAYLOAD_SMP       := smp.c smp_entry.asm
$(foreach p,$(PAYLOADS_SMP),$(eval PAYLOAD_$(p) := $(PAYLOAD_SMP)))
PAYLOAD_smp_ipi   += smp_ipi_start.c
PAYLOAD_smp_atomic += smp_registers.c
PAYLOAD_smp_bench += bench_report.c
PAYLOAD_smp_hostile += smp_hostile_ipis.c smp_hostile_memory.c smp_hostile_devices.c

PAYLOAD_COMMON32  := legacy.asm legacy.c print.c boot.c
PAYLOAD_access32  := irq.c
PAYLOAD_modes     := modes_paging.c modes_entry.asm modes_long.asm
PAYLOAD_random32  := random32_box.c random_gen.c random_items.c random_system.c random32_entry.asm
PAYLOAD_random_real := random_gen.c random_items.c random_system.c random_real_entry.asm
PAYLOAD_states    := irq.c
PAYLOAD_tasks     := tasks_faults.c tasks_entry.asm

PAYLOAD_CFLAGS := -std=gnu17 -O2 -g -Wall -Wextra -Werror -Wno-clobbered -Wmissing-prototypes -ffreestanding -fno-pic -fno-pie \
                  -mno-red-zone -mgeneral-regs-only -fno-strict-aliasing -fno-stack-protector \
                  -fno-asynchronous-unwind-tables -fcf-protection=none \
                  -fno-tree-loop-distribute-patterns -ffile-prefix-map=$(CURDIR)=.
# What an instruction on device memory costs depends on whether its bytes could reach into the next page: none here does.
$(BUILD)/payload/obj/bench%: PAYLOAD_CFLAGS += -falign-functions=64

.PHONY: payloads
payloads: $(PAYLOADS:%=$(BUILD)/payload/%.elf) $(PAYLOADS32:%=$(BUILD)/payload/%.elf) $(BUILD)/payload/hello64.elf

$(BUILD)/payload/obj/%.c.o: tests/payload/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(PAYLOAD_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/payload/obj/%.asm.o: tests/payload/%.asm
	@mkdir -p $(@D)
	$(call say,NASM,$<)
	$(Q)$(NASM) -f elf64 -o $@ $<

define payload_rule
$(BUILD)/payload/obj/$(1).elf64: tests/payload/payload.ld \
		$$(addprefix $(BUILD)/payload/obj/,$$(addsuffix .o,$(PAYLOAD_COMMON) $(1).c $(PAYLOAD_$(1))))
	$$(call say,LINK,$$@)
	$$(Q)$$(LD) -m elf_x86_64 -nostdlib -static -z noexecstack -z max-page-size=4096 --no-warn-rwx-segments --build-id=none \
		-T $$< -o $$@ $$(filter %.o,$$^)
endef
$(foreach p,$(PAYLOADS),$(eval $(call payload_rule,$(p))))

$(BUILD)/payload/obj32/%.c.o: tests/payload/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) -m32 $(PAYLOAD_CFLAGS) -Wno-int-to-pointer-cast -Wno-pointer-to-int-cast -MMD -MP -c $< -o $@

$(BUILD)/payload/obj32/%.asm.o: tests/payload/%.asm
	@mkdir -p $(@D)
	$(call say,NASM,$<)
	$(Q)$(NASM) -f elf32 -o $@ $<

define payload32_rule
$(BUILD)/payload/$(1).elf: tests/payload/payload.ld $$(addprefix $(BUILD)/payload/obj32/,$$(addsuffix .o,$(PAYLOAD_COMMON32) $(1).c $(PAYLOAD_$(1))))
	$$(call say,LINK,$$@)
	$$(Q)$$(LD) -m elf_i386 -nostdlib -static -s -z noexecstack -z max-page-size=4096 --no-warn-rwx-segments --build-id=none \
		-T $$< -o $$@ $$(filter %.o,$$^)
endef
$(foreach p,$(PAYLOADS32),$(eval $(call payload32_rule,$(p))))

# The code is 64-bit, the file ELF32, which every Multiboot loader takes.
$(BUILD)/payload/%.elf: $(BUILD)/payload/obj/%.elf64
	$(Q)$(OBJCOPY) -g -O elf32-i386 $< $@

# One in ELF64 as it is.
$(BUILD)/payload/hello64.elf: $(BUILD)/payload/obj/hello.elf64
	$(Q)$(OBJCOPY) -g $< $@

.SECONDARY: $(PAYLOADS:%=$(BUILD)/payload/obj/%.elf64)
-include $(wildcard $(BUILD)/payload/obj/*.d $(BUILD)/payload/obj32/*.d)
