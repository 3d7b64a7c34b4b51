# An EFI application that tests/system/test_efi_loader.py puts in front of the loader.
FUTURE_OBJS := $(BUILD)/efi/tests/efi/future.o $(BUILD)/efi/tests/efi/future.asm.o $(BUILD)/efi/lib/string.o

payloads: $(BUILD)/tests/FUTURE.EFI

$(BUILD)/efi/future.so: $(FUTURE_OBJS) boot/efi/loader.lds
	$(EFI_LINK)

$(BUILD)/tests/FUTURE.EFI: $(BUILD)/efi/future.so tools/seal-efi.py
	$(EFI_SEAL)

-include $(FUTURE_OBJS:.o=.d)
