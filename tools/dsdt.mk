# The emulated board's DSDT: ASL to AML to an object, which the hypervisor and the host tests link.
IASL     ?= iasl
DSDT_OBJ := $(BUILD)/guest/dsdt_aml.asm.o

$(BUILD)/include/dsdt.aml: guest/dsdt.asl
	@mkdir -p $(@D)
	$(call say,IASL,$<)
	$(Q)$(IASL) -vs -we -p $(BUILD)/include/dsdt $< >$@.log || { cat $@.log; rm -f $@; exit 1; }

$(DSDT_OBJ): $(BUILD)/include/dsdt.aml
