# The EFI loader: a GNU-EFI application, from an ELF shared object to a PE32+ file.
EFI_FLAGS := -std=gnu17 -O2 -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes -Wvla -ffreestanding -fpic \
             -fvisibility=hidden -mno-red-zone -mgeneral-regs-only -fshort-wchar -fno-strict-aliasing -fno-stack-protector \
             -fno-asynchronous-unwind-tables -fcf-protection=branch -ffile-prefix-map=$(CURDIR)=. \
             -DGNU_EFI_USE_MS_ABI -Iinclude -I. -isystem /usr/include/efi
EFI_C    := $(sort $(wildcard boot/efi/*.c)) core/config.c core/config_keys.c lib/ini.c lib/parse.c lib/printf.c lib/string.c
EFI_OBJS := $(EFI_C:%.c=$(BUILD)/efi/%.o) $(BUILD)/efi/boot/efi/handover.asm.o
EFI_LIB  ?= /usr/lib

.PHONY: efi
efi: $(BUILD)/BOOTX64.EFI
all: $(BUILD)/BOOTX64.EFI

$(BUILD)/efi/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(EFI_FLAGS) -MMD -MP -c $< -o $@

$(BUILD)/efi/%.asm.o: %.asm
	@mkdir -p $(@D)
	$(call say,NASM,$<)
	$(Q)$(NASM) -f elf64 -MD $(@:.o=.d) -o $@ $<

# _relocate knows one kind of relocation.
define EFI_LINK
	$(call say,LINK,$@)
	$(Q)$(LD) -nostdlib -shared -Bsymbolic -z noexecstack -z max-page-size=4096 --build-id=none --no-undefined --fatal-warnings \
		-T boot/efi/loader.lds -o $@ $(EFI_LIB)/crt0-efi-x86_64.o $(filter %.o,$^) $(EFI_LIB)/libgnuefi.a
	$(Q)! readelf -rW $@ | grep R_X86_64 | grep -v R_X86_64_RELATIVE
endef

define EFI_SEAL
	@mkdir -p $(@D)
	$(call say,EFI,$@)
	$(Q)$(OBJCOPY) -j .text -j .reloc -j .data -j .dynamic -j .rodata -j .rela -j .dynsym --target=efi-app-x86_64 \
		--file-alignment=512 --section-alignment=4096 $< $@.tmp
	$(Q)/usr/bin/python3 tools/seal-efi.py $@.tmp
	$(Q)mv $@.tmp $@
endef

$(BUILD)/efi/loader.so: $(EFI_OBJS) boot/efi/loader.lds
	$(EFI_LINK)

$(BUILD)/BOOTX64.EFI: $(BUILD)/efi/loader.so tools/seal-efi.py
	$(EFI_SEAL)

-include $(EFI_OBJS:.o=.d)
