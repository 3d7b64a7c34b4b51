# `make usb [GUESTS=trefoil.conf]`: the image of a USB stick, for BIOS and UEFI, with the demonstration or a person's own
# configuration. Written with dd as it is.
.PHONY: usb
usb:
	tools/setup.sh build run usb
	$(MAKE) --no-print-directory $(BUILD)/boot/trefoil.elf $(BUILD)/BOOTX64.EFI
	tools/demo.sh $(BUILD) $(BUILD)/trefoil-usb.img $(GUESTS)
	@echo "write it to a stick: dd if=$(BUILD)/trefoil-usb.img of=/dev/sdX bs=4M conv=fsync; see docs/real-hardware.md"
