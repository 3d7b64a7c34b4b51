; From the boot loader's 32-bit protected mode to 64-bit C in the upper half. The 32-bit part runs wherever the loader
; put it: EBP holds the physical address of image_start, and symbols with the suffix _off (linker.ld) are distances
; from there. Another way in (64-bit EFI) has to bring its own tables or these, and then jump to entry64.

MULTIBOOT2_BOOTLOADER_MAGIC equ 0x36d76289
MBI_RESERVED        equ 4          ; a reserved dword in the boot information, lent as a stack

CPUID_EXT_MAX       equ 0x80000000
CPUID_EXT_FEATURES  equ 0x80000001
EXT_EDX_NX          equ 1 << 20
EXT_EDX_PAGE1GB     equ 1 << 26
EXT_EDX_LM          equ 1 << 29
FEATURES_ECX_RDRAND equ 1 << 30

PTE_P               equ 1
PTE_W               equ 2
PTE_PS              equ 1 << 7
PAGE_2M             equ 1 << 21
PHYSMAP_SLOT        equ 273        ; of PHYSMAP_BASE in the PML4 (arch/x86_64/paging.h)
IMAGE_SLOT_PML4     equ 511        ; of IMAGE_BASE
IMAGE_SLOT_PDPT     equ 510

EFLAGS_CLEAR        equ 1 << 1     ; bit 1 is always set
CR0_PG_WP_NE_ET_MP_PE equ 1 << 31 | 1 << 16 | 1 << 5 | 1 << 4 | 1 << 1 | 1 << 0
CR4_PAE             equ 1 << 5
MSR_EFER            equ 0xc0000080
EFER_SCE_LME_NXE    equ 1 << 0 | 1 << 8 | 1 << 11

SEL_CODE64          equ 0x08       ; as in arch/x86_64/gdt.h
SEL_DATA            equ 0x10

BOOT_STACK_SIZE     equ 32768

extern entry32_here_off, image_size_off, boot_stack_top_off
extern early_pml4_off, early_pdpt_low_off, early_pd_low_off, early_pdpt_high_off, early_pd_high_off
extern boot_start, image_phys, refuse, __stack_chk_guard
global entry32, entry32_here, entry64

section .text.entry progbits alloc exec nowrite align=16
bits 32
entry32:
	cli
	cld
	; The firmware's breakpoints: one may lie where the first lines write.
	xor ecx, ecx
	mov dr7, ecx
	mov esi, eax
	mov edi, ebx
	; There is no stack yet (ESP is undefined), and no address without one.
	mov esp, 0x7c00
	cmp esi, MULTIBOOT2_BOOTLOADER_MAGIC
	jne .locate
	lea esp, [edi + MBI_RESERVED + 4]
.locate:
	call entry32_here
entry32_here:
	pop ebp
	mov ebx, ebp
	cmp esi, MULTIBOOT2_BOOTLOADER_MAGIC
	jne .magic
	mov dword [edi + MBI_RESERVED], 0
.magic:
	sub ebp, entry32_here_off
	lea esp, [ebp + boot_stack_top_off]
	push dword EFLAGS_CLEAR
	popfd

	lea edx, [ebx + no_multiboot2 - entry32_here]
	cmp esi, MULTIBOOT2_BOOTLOADER_MAGIC
	jne refuse
	lea edx, [ebx + not_aligned - entry32_here]
	test ebp, PAGE_2M - 1
	jnz refuse

	; EBX is what CPUID destroys.
	push ebx
	mov eax, CPUID_EXT_MAX
	cpuid
	xor edx, edx
	cmp eax, CPUID_EXT_FEATURES
	jb .features
	mov eax, CPUID_EXT_FEATURES
	cpuid
.features:
	pop ebx
	mov ecx, edx
	lea edx, [ebx + no_long_mode - entry32_here]
	test ecx, EXT_EDX_LM
	jz refuse
	lea edx, [ebx + no_nx - entry32_here]
	test ecx, EXT_EDX_NX
	jz refuse

	; Physical memory, at its own address and again at PHYSMAP_BASE: 512 GiB with 1 GiB pages, else 4 GiB.
	lea eax, [ebp + early_pdpt_low_off + PTE_P + PTE_W]
	mov [ebp + early_pml4_off], eax
	mov [ebp + early_pml4_off + PHYSMAP_SLOT * 8], eax
	test ecx, EXT_EDX_PAGE1GB
	jz .small
	xor ecx, ecx
.gigabyte:
	mov eax, ecx
	mov edx, ecx
	shl eax, 30
	shr edx, 2
	or eax, PTE_P | PTE_W | PTE_PS
	mov [ebp + early_pdpt_low_off + ecx * 8], eax
	mov [ebp + early_pdpt_low_off + ecx * 8 + 4], edx
	inc ecx
	cmp ecx, 512
	jne .gigabyte
	jmp .image
.small:
	lea eax, [ebp + early_pd_low_off + PTE_P + PTE_W]
	xor ecx, ecx
.directory:
	mov [ebp + early_pdpt_low_off + ecx * 8], eax
	add eax, 4096
	inc ecx
	cmp ecx, 4
	jne .directory
	mov eax, PTE_P | PTE_W | PTE_PS
	xor ecx, ecx
.megabytes:
	mov [ebp + early_pd_low_off + ecx * 8], eax
	add eax, PAGE_2M
	inc ecx
	cmp ecx, 4 * 512
	jne .megabytes

	; The image, writable and executable until paging_init().
.image:
	lea eax, [ebp + early_pdpt_high_off + PTE_P + PTE_W]
	mov [ebp + early_pml4_off + IMAGE_SLOT_PML4 * 8], eax
	lea eax, [ebp + early_pd_high_off + PTE_P + PTE_W]
	mov [ebp + early_pdpt_high_off + IMAGE_SLOT_PDPT * 8], eax
	lea eax, [ebp + PTE_P + PTE_W + PTE_PS]
	lea edx, [ebp + image_size_off]
	xor ecx, ecx
.page:
	mov [ebp + early_pd_high_off + ecx * 8], eax
	add eax, PAGE_2M
	inc ecx
	cmp eax, edx
	jb .page

	; Paging is off, as the contract says, so that PCIDE and LMA are, too: every bit can be cleared (LA57, CET, PKE...),
	; and CET before CR0.WP is touched. FPU and caches are put in order with CR0 here, PAT and CR4 in percpu_init_boot().
	mov eax, CR4_PAE
	mov cr4, eax
	lea eax, [ebp + early_pml4_off]
	mov cr3, eax
	mov ecx, MSR_EFER
	mov eax, EFER_SCE_LME_NXE
	xor edx, edx
	wrmsr
	mov eax, CR0_PG_WP_NE_ET_MP_PE
	mov cr0, eax

	sub esp, 8
	lea eax, [ebx + gdt - entry32_here]
	mov word [esp], gdt_end - gdt - 1
	mov [esp + 2], eax
	lgdt [esp]
	push dword SEL_CODE64
	lea eax, [ebx + long_mode - entry32_here]
	push eax
	retf

no_multiboot2: db "refused: not started by a multiboot2 loader", 0
not_aligned: db "refused: the boot loader did not load the image on a 2 MiB boundary", 0
no_long_mode: db "refused: this processor has no 64-bit long mode", 0
no_nx: db "refused: this processor has no execute-disable (NX), or the firmware set-up has switched it off", 0

	align 8, db 0
gdt:
	dq 0
	dq 0x00af9b000000ffff
	dq 0x00cf93000000ffff
gdt_end:

bits 64
long_mode:
	mov eax, SEL_DATA
	mov ds, eax
	mov es, eax
	mov fs, eax
	mov gs, eax
	mov ss, eax
	mov rax, entry64
	jmp rax

; In the upper half: EDI the boot information's physical address, ESI the magic, EBP the image's physical address.
entry64:
	lea rsp, [rel boot_stack_top]
	mov eax, ebp
	mov [rel image_phys], rax
	mov r12d, esi
	mov r13d, edi

	; The stack protector's canary: unpredictable where RDRAND is there, and different each time in any case.
	rdtsc
	shl rdx, 32
	or rax, rdx
	mov r14, 0x9e3779b97f4a7c15
	imul r14, rax
	mov eax, 1
	cpuid
	test ecx, FEATURES_ECX_RDRAND
	jz .canary
	rdrand rax
	xor r14, rax
.canary:
	mov [rel __stack_chk_guard], r14

	mov edi, r12d
	mov esi, r13d
	xor ebp, ebp
	call boot_start
	ud2

section .bss.page nobits alloc noexec write align=4096
global early_pml4, early_pdpt_low, early_pd_low, early_pdpt_high, early_pd_high
global boot_stack_guard, boot_stack, boot_stack_top
early_pml4:      resb 4096
early_pdpt_low:  resb 4096
early_pd_low:    resb 4 * 4096
early_pdpt_high: resb 4096
early_pd_high:   resb 4096
boot_stack_guard: resb 4096
boot_stack:      resb BOOT_STACK_SIZE
boot_stack_top:
