; The board's DSDT as iasl compiled it (tools/dsdt.mk), for guest/acpi_tables.c. Position-independent data only, so that
; the host tests link the same object.
	section .rodata
	global guest_dsdt_aml, guest_dsdt_aml_end
guest_dsdt_aml:
	incbin "dsdt.aml"
guest_dsdt_aml_end:

	section .note.GNU-stack noalloc noexec nowrite progbits
