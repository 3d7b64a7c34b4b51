; What C cannot say for tests/efi/future.c. Runs below 4 GiB, where linear addresses are physical ones.

SEL_CODE32 equ 0x08
SEL_DATA   equ 0x10
SEL_CODE64 equ 0x18
CR0_PG     equ 1 << 31
CR4_LA57   equ 1 << 12

global paging5_on, cr3_read, cr4_read, cr4_write, cpuid7_ecx, cpuid1_ecx

section .text
bits 64
cr3_read:
	mov rax, cr3
	ret
cr4_read:
	mov rax, cr4
	ret
cr4_write:
	mov cr4, rdi
	ret
cpuid7_ecx:
	mov eax, 7
	jmp cpuid_ecx
cpuid1_ecx:
	mov eax, 1
cpuid_ecx:
	push rbx
	xor ecx, ecx
	cpuid
	mov eax, ecx
	pop rbx
	ret

; EDI: the PML5 table. CR4.LA57 changes only while paging is off, so by way of 32-bit mode, where only the lower
; halves of eight registers are sure to survive.
paging5_on:
	push rbx
	push rbp
	push r12
	push r13
	push r14
	push r15
	pushfq
	cli
	mov eax, cs
	push rax
	mov eax, ds
	push rax
	mov eax, ss
	push rax
	sub rsp, 32
	sgdt [rsp]
	lea rax, [rel gdt]
	mov word [rsp + 16], gdt_end - gdt - 1
	mov [rsp + 18], rax
	lgdt [rsp + 16]
	lea rbx, [rel .long]
	push SEL_CODE32
	lea rax, [rel .compatibility]
	push rax
	retfq
bits 32
.compatibility:
	mov eax, SEL_DATA
	mov ds, eax
	mov es, eax
	mov ss, eax
	mov eax, cr0
	and eax, ~CR0_PG
	mov cr0, eax
	jmp short .off
.off:
	mov eax, cr4
	or eax, CR4_LA57
	mov cr4, eax
	mov cr3, edi
	mov eax, cr0
	or eax, CR0_PG
	mov cr0, eax
	push dword SEL_CODE64
	push ebx
	retf
bits 64
.long:
	mov esp, esp
	lgdt [rsp]
	add rsp, 32
	pop rax
	mov ss, eax
	pop rax
	mov ds, eax
	mov es, eax
	pop rax
	push rax
	lea rbx, [rel .back]
	push rbx
	retfq
.back:
	popfq
	pop r15
	pop r14
	pop r13
	pop r12
	pop rbp
	pop rbx
	ret

section .rodata
align 8
gdt:
	dq 0
	dq 0x00cf9b000000ffff
	dq 0x00cf93000000ffff
	dq 0x00af9b000000ffff
gdt_end:
