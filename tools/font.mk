# The screen's font: a Debian package's console font, made into the tables that lib/font.c includes.
FONT ?= /usr/share/consolefonts/spleen-8x16.psfu.gz

$(BUILD)/include/font.inc: $(FONT) tools/font.py
	@mkdir -p $(@D)
	$(call say,FONT,$@)
	$(Q)/usr/bin/python3 tools/font.py $(FONT) $@

$(BUILD)/lib/font.o $(BUILD)/host/unit-obj/lib/font.o $(BUILD)/host/fuzz-obj/lib/font.o: $(BUILD)/include/font.inc
