; From the firmware's 64-bit mode to the state that Multiboot2 asks for ("I386 machine state"): 32-bit protected mode,
; paging off. Runs in a copy below 4 GiB, where linear addresses are physical ones (UEFI Specification, "x64 Platforms").
; EDI: the entry point, ESI: the boot information, EDX: the top of a stack; all physical, below 4 GiB.

MULTIBOOT2_BOOTLOADER_MAGIC equ 0x36d76289

SEL_CODE32  equ 0x08
SEL_DATA    equ 0x10
CR0_PG      equ 1 << 31
CR4_PAE     equ 1 << 5
CR4_LA57    equ 1 << 12
MSR_EFER    equ 0xc0000080
EFER_LME    equ 1 << 8

global handover_code, handover_code_end

section .rodata
align 16
bits 64
handover_code:
	endbr64
	cli
	cld
	mov esp, edx
	mov ebx, esi

	; PCIDE and CET would forbid what follows, and nothing else is ours to leave on. LA57 cannot change in 64-bit mode.
	mov rax, cr4
	and eax, CR4_PAE | CR4_LA57
	mov cr4, rax

	sub rsp, 16
	lea rax, [rel gdt]
	mov word [rsp], gdt_end - gdt - 1
	mov [rsp + 2], rax
	lgdt [rsp]
	push SEL_CODE32
	lea rax, [rel compatibility]
	push rax
	retfq

bits 32
compatibility:
	mov eax, SEL_DATA
	mov ds, eax
	mov es, eax
	mov fs, eax
	mov gs, eax
	mov ss, eax
	mov eax, cr0
	and eax, ~CR0_PG
	mov cr0, eax
	jmp short .paging_off
.paging_off:
	mov ecx, MSR_EFER
	rdmsr
	and eax, ~EFER_LME
	wrmsr
	xor eax, eax
	mov cr4, eax
	mov eax, MULTIBOOT2_BOOTLOADER_MAGIC
	jmp edi

	align 8, db 0
gdt:
	dq 0
	dq 0x00cf9b000000ffff
	dq 0x00cf93000000ffff
gdt_end:
handover_code_end:

%if handover_code_end - handover_code > 4096
%error "it must fit in one page"
%endif
