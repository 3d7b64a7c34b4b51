# Images, and what a person runs: setup, bochs, demo, run, test.
.PHONY: setup bochs demo run test layers compile_commands.json

setup:
	tools/setup.sh build run

bochs:
	tools/bochs/build.sh

MKISO := tools/mkiso.sh tools/conf-files.sh boot/grub/head.cfg

# The hypervisor with two guests that need nothing fetched.
$(BUILD)/trefoil.iso: $(BUILD)/boot/trefoil.elf $(BUILD)/payload/echo.elf tools/demo/echo.conf $(MKISO)
	$(call say,ISO,$@)
	$(Q)tools/mkiso.sh -d $(BUILD)/payload $@ trefoil $< tools/demo/echo.conf

demo: $(BUILD)/boot/trefoil.elf
	tools/setup.sh run
	tools/demo.sh $(BUILD) $(BUILD)/demo.iso $(GUESTS)

# The packages come first: without them not even the hypervisor can be built.
run:
	tools/setup.sh build run
	$(MAKE) --no-print-directory $(BUILD)/boot/trefoil.elf
	tools/run.sh $(BUILD) $(GUESTS)

layers: all
	$(Q)/usr/bin/python3 tools/check-layers.py $(BUILD) $(PURE) $(RUNQ)

test:
	tools/test.sh $(BUILD)

compile_commands.json:
	/usr/bin/python3 tools/compile-commands.py '$(CC) $(CFLAGS)' $(C_SRC) >$@
