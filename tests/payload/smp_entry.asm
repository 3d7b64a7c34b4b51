; Where another CPU starts: from real mode, in a page below 640 KiB, into long mode on the boot CPU's page tables.
PAGE_AT     equ 0x8000                  ; SMP_PAGE
SEL_CODE    equ 0x08                    ; as in start.asm, so that CS stays
SEL_DATA    equ 0x10
SEL_CODE32  equ 0x18
CR0_PE      equ 1
CR4_PAE     equ 1 << 5
EFER        equ 0xc0000080
EFER_LME    equ 1 << 8
CPU_STACK   equ 8                       ; offsets in struct smp_cpu
CPU_CAUGHT  equ 16
%define AT(x) (PAGE_AT + (x) - smp_trampoline)

section .rodata
global smp_trampoline, smp_trampoline_end, smp_cr0, smp_cr3, smp_cr4
align 16
bits 16
smp_trampoline:
        cli
        cld
        mov ax, cs
        mov ds, ax
        o32 lgdt [gdtr - smp_trampoline]
        mov eax, cr0
        or al, CR0_PE
        mov cr0, eax
        jmp dword SEL_CODE32:AT(protected_mode)
bits 32
protected_mode:
        mov ax, SEL_DATA
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov eax, CR4_PAE
        mov cr4, eax
        mov eax, [AT(smp_cr3)]
        mov cr3, eax
        mov ecx, EFER
        rdmsr
        or eax, EFER_LME
        wrmsr
        mov eax, [AT(smp_cr0)]
        mov cr0, eax
        mov eax, [AT(smp_cr4)]
        mov cr4, eax
        jmp SEL_CODE:AT(long_mode)
bits 64
long_mode:
        mov eax, 1
        cpuid
        shr ebx, 24
        mov rdi, [smp_slots + rbx * 8]
        test rdi, rdi
        jz .nobody
        mov rsp, [rdi + CPU_STACK]
        xor ebp, ebp
        mov eax, smp_main
        call rax
.nobody:
        cli
        hlt
        jmp .nobody
align 8
gdt:    dq 0
        dq 0x00af9b000000ffff           ; 08 code, 64-bit
        dq 0x00cf93000000ffff           ; 10 data
        dq 0x00cf9b000000ffff           ; 18 code, 32-bit
gdtr:   dw $ - gdt - 1
        dd AT(gdt)
align 8
smp_cr0: dd 0
smp_cr3: dd 0
smp_cr4: dd 0
smp_trampoline_end:
extern smp_slots, smp_main

; What a CPU finds at its start, for whoever wants to see it: copied to a page, leads to the trampoline.
global smp_probe, smp_probe_end, smp_probe_seen
%define SEEN(n) dword [cs:smp_probe_seen - smp_probe + 4 * (n)]
; save_msr MSR, INDEX of the low half
%macro save_msr 2
        mov ecx, %1
        rdmsr
        mov SEEN(%2), eax
        mov SEEN(%2 + 1), edx
%endmacro
bits 16
align 16
smp_probe:
        mov SEEN(0), eax
        mov SEEN(1), ecx
        mov SEEN(2), edx
        mov SEEN(3), ebx
        mov SEEN(4), esp
        mov SEEN(5), ebp
        mov SEEN(6), esi
        mov SEEN(7), edi
        pushfd
        pop SEEN(8)
        call .here
.here:  pop ax
        sub ax, .here - smp_probe
        movzx eax, ax
        mov SEEN(9), eax                ; IP
        xor eax, eax
        mov ax, cs
        mov SEEN(10), eax
        mov ax, ds
        mov SEEN(11), eax
        mov ax, es
        mov SEEN(12), eax
        mov ax, fs
        mov SEEN(13), eax
        mov ax, gs
        mov SEEN(14), eax
        mov ax, ss
        mov SEEN(15), eax
        mov eax, cr0
        mov SEEN(16), eax
        mov eax, cr2
        mov SEEN(17), eax
        mov eax, cr3
        mov SEEN(18), eax
        mov eax, cr4
        mov SEEN(19), eax
        mov eax, dr0
        mov SEEN(20), eax
        mov eax, dr3
        mov SEEN(21), eax
        mov eax, dr6
        mov SEEN(22), eax
        mov eax, dr7
        mov SEEN(23), eax
        o32 sgdt [cs:smp_probe_seen - smp_probe + 4 * 24]
        o32 sidt [cs:smp_probe_seen - smp_probe + 4 * 26]
        save_msr EFER, 28
        save_msr 0x1b, 30
        save_msr 0x10, 32
        jmp (PAGE_AT >> 4):0
align 8
smp_probe_seen: times 34 dd 0
smp_probe_end:

section .text
bits 64
default rel
; int smp_catch(void): 0 now, 1 when an exception comes back here.
global smp_catch
smp_catch:
        mov rdi, [gs:0]
        mov [rdi + CPU_CAUGHT], rbx
        mov [rdi + CPU_CAUGHT + 8], rbp
        mov [rdi + CPU_CAUGHT + 16], r12
        mov [rdi + CPU_CAUGHT + 24], r13
        mov [rdi + CPU_CAUGHT + 32], r14
        mov [rdi + CPU_CAUGHT + 40], r15
        lea rax, [rsp + 8]
        mov [rdi + CPU_CAUGHT + 48], rax
        mov rax, [rsp]
        mov [rdi + CPU_CAUGHT + 56], rax
        pushfq
        pop qword [rdi + CPU_CAUGHT + 64]
        xor eax, eax
        ret
