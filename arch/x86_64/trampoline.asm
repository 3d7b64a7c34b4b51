; Where a start-up IPI takes a further CPU: from real mode, at the start of a page below 1 MiB to which smp.c has copied
; this, to ap_start() in the upper half. On the way it stands on the tables of boot/entry.asm, which map the low memory to
; itself and the image where it is linked. One CPU at a time.

PTE_P               equ 1
CR0_PE              equ 1 << 0
CR0_PG_WP_NE_ET_MP_PE equ 1 << 31 | 1 << 16 | 1 << 5 | 1 << 4 | 1 << 1 | 1 << 0
CR4_PAE             equ 1 << 5
MSR_EFER            equ 0xc0000080
EFER_SCE_LME_NXE    equ 1 << 0 | 1 << 8 | 1 << 11
SEL_CODE64          equ 0x08       ; as in arch/x86_64/gdt.h
SEL_DATA            equ 0x10
SEL_CODE32          equ 0x18

extern ap_start, ap_boot_cr3, ap_boot_stack, ap_boot_cpu
global trampoline, trampoline_end, trampoline_cr3

%define AT(label) ((label) - trampoline)

section .rodata
align 16
bits 16
trampoline:
	cli
	cld
	mov ax, cs
	mov ds, ax
	xor ebp, ebp
	mov bp, ax
	shl ebp, 4                 ; the page's address
	lea eax, [ebp + AT(gdt)]
	mov [AT(gdtr) + 2], eax
	lea eax, [ebp + AT(protected)]
	mov [AT(to_protected)], eax
	lea eax, [ebp + AT(long_mode)]
	mov [AT(to_long)], eax
	o32 lgdt [AT(gdtr)]
	mov eax, CR0_PE            ; and caches on
	mov cr0, eax
	jmp dword far [AT(to_protected)]

bits 32
protected:
	mov eax, SEL_DATA
	mov ds, eax
	mov ss, eax                ; what is found through EBP
	mov eax, CR4_PAE
	mov cr4, eax
	mov eax, [ebp + AT(trampoline_cr3)]
	mov cr3, eax
	mov ecx, MSR_EFER
	mov eax, EFER_SCE_LME_NXE
	xor edx, edx
	wrmsr
	mov eax, CR0_PG_WP_NE_ET_MP_PE
	mov cr0, eax
	jmp far [ebp + AT(to_long)]

bits 64
long_mode:
	mov eax, SEL_DATA
	mov ds, eax
	mov es, eax
	mov ss, eax
	xor eax, eax
	mov fs, eax
	mov gs, eax
	mov rax, upper_half
	jmp rax

align 8, db 0
gdt:
	dq 0
	dq 0x00af9b000000ffff
	dq 0x00cf93000000ffff
	dq 0x00cf9b000000ffff
gdtr:
	dw 4 * 8 - 1
	dd 0
to_protected:
	dd 0
	dw SEL_CODE32
to_long:
	dd 0
	dw SEL_CODE64
align 4, db 0
trampoline_cr3:                    ; physical address of early_pml4, below 4 GiB
	dd 0
trampoline_end:

section .text
upper_half:
	mov rax, [rel ap_boot_cr3]
	mov cr3, rax
	mov rsp, [rel ap_boot_stack]
	mov rdi, [rel ap_boot_cpu]
	xor ebp, ebp
	call ap_start
	ud2
