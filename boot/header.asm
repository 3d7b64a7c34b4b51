; The multiboot2 header (Multiboot2 Specification 2.0, "OS image format").

MULTIBOOT2_MAGIC     equ 0xe85250d6
ARCH_I386            equ 0
TAG_END              equ 0
TAG_INFORMATION      equ 1
TAG_FRAMEBUFFER      equ 5
TAG_MODULE_ALIGN     equ 6
TAG_RELOCATABLE      equ 10
TAG_OPTIONAL         equ 1

INFO_CMDLINE         equ 1
INFO_LOADER_NAME     equ 2
INFO_MODULE          equ 3
INFO_MEMORY_MAP      equ 6
INFO_FRAMEBUFFER     equ 8
INFO_EFI64           equ 12
INFO_EFI_MEMORY_MAP  equ 17
INFO_ACPI_OLD        equ 14
INFO_ACPI_NEW        equ 15
INFO_LOAD_BASE       equ 21

ANY                  equ 0
SCREEN_DEPTH         equ 32         ; where the loader has a choice

IMAGE_ALIGN          equ 0x200000
IMAGE_LOWEST         equ 0x200000
IMAGE_HIGHEST        equ 0xffffffff
PREFER_LOWEST        equ 1

section .multiboot progbits alloc noexec nowrite align=8
header:
	dd MULTIBOOT2_MAGIC
	dd ARCH_I386
	dd header_end - header
	dd -(MULTIBOOT2_MAGIC + ARCH_I386 + (header_end - header)) & 0xffffffff

	align 8, db 0
information:
	dw TAG_INFORMATION, TAG_OPTIONAL
	dd .end - information
	dd INFO_CMDLINE, INFO_LOADER_NAME, INFO_MODULE, INFO_MEMORY_MAP, INFO_ACPI_OLD, INFO_ACPI_NEW, INFO_LOAD_BASE
	dd INFO_FRAMEBUFFER, INFO_EFI64, INFO_EFI_MEMORY_MAP
.end:
	align 8, db 0
framebuffer:
	dw TAG_FRAMEBUFFER, TAG_OPTIONAL
	dd .end - framebuffer
	dd ANY, ANY, SCREEN_DEPTH
.end:
	align 8, db 0
module_align:
	dw TAG_MODULE_ALIGN, 0
	dd .end - module_align
.end:
	align 8, db 0
relocatable:
	dw TAG_RELOCATABLE, 0
	dd .end - relocatable
	dd IMAGE_LOWEST, IMAGE_HIGHEST, IMAGE_ALIGN, PREFER_LOWEST
.end:
	align 8, db 0
	dw TAG_END, 0
	dd 8
header_end:
