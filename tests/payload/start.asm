; Multiboot header, the way from 32-bit protected to long mode, interrupt stubs, and what C cannot say.
MB_MAGIC    equ 0x1badb002
MB_FLAGS    equ 3                       ; page-aligned modules, memory information
EFER        equ 0xc0000080
EFER_LME    equ 1 << 8
CR0_PE_PG   equ 0x80000001
CR4_PAE     equ 1 << 5
PTE_TABLE   equ 7                       ; present, writable, user
PTE_PAGE    equ 0x87                    ; the same, 2 MiB
SEL_CODE    equ 0x08
SEL_DATA    equ 0x10
SEL_UCODE   equ 0x23
SEL_UDATA   equ 0x2b
SEL_TSS     equ 0x30
SEL_LDT     equ 0x40
STACK       equ 16384

section .multiboot align=4
        dd MB_MAGIC, MB_FLAGS, -(MB_MAGIC + MB_FLAGS) & 0xffffffff

section .data align=16
global gdt, gdt_end
gdt:    dq 0
        dq 0x00af9b000000ffff           ; 08 code, 64-bit
        dq 0x00cf93000000ffff           ; 10 data
        dq 0x00cf13000000ffff           ; 18 data, not present
        dq 0x00affb000000ffff           ; 20 user code, 64-bit
        dq 0x00cff3000000ffff           ; 28 user data
.tss:   dq 0, 0                         ; 30 task state, filled below
.ldt:   dq 0, 0                         ; 40 local descriptor table
        dq 0x00af9f000000ffff           ; 50 conforming code
        dq 0x0040f30000001234           ; 58 user data, limit 1234h bytes
gdt_end:
gdtr:   dw gdt_end - gdt - 1
        dq gdt
ldt:    dq 0x00cf93000000ffff, 0x00cff3000000ffff
tss:    dd 0
        dq user_trap_stack.top          ; RSP0
        times 22 dd 0
        dw 0
.iomap: dw 104                          ; no I/O permission map: it begins behind the limit
TSS_LIMIT equ 103

section .bss align=4096
pml4:      resb 4096
pdpt:      resb 4096
global page_directory
page_directory:
pds:       resb 4 * 4096
global window_pd, window_pt
window_pd: resb 4096
window_pt: resb 4096
stack:     resb STACK
.top:
user_trap_stack: resb STACK
.top:
user_stack: resb STACK
.top:
catch_state: resq 8                     ; rbx rbp r12 r13 r14 r15 rsp rip
catch_flags: resq 1

section .text
bits 32
global _start
extern payload_start
_start:
        cli
        cld
        mov esp, stack.top
        mov esi, eax
        mov dword [pml4], pdpt + PTE_TABLE
        mov eax, pds + PTE_TABLE
        mov edi, pdpt
        mov ecx, 4
.pdpt:  mov [edi], eax
        add eax, 4096
        add edi, 8
        loop .pdpt
        mov dword [edi], window_pd + PTE_TABLE
        mov dword [window_pd], window_pt + PTE_TABLE
        mov eax, PTE_PAGE
        mov edi, pds
        mov ecx, 2048
.pd:    mov [edi], eax
        add eax, 0x200000
        add edi, 8
        loop .pd
        mov eax, cr4
        or eax, CR4_PAE
        mov cr4, eax
        mov eax, pml4
        mov cr3, eax
        mov ecx, EFER
        rdmsr
        or eax, EFER_LME
        wrmsr
        mov eax, cr0
        or eax, CR0_PE_PG
        mov cr0, eax
        lgdt [gdtr]
        jmp SEL_CODE:start64

; system_descriptor TABLE, BASE, LIMIT, ACCESS: bits 31..0 of a base below 4 GiB
%macro system_descriptor 4
        mov eax, %2
        mov word [%1], %3
        mov [%1 + 2], ax
        shr eax, 16
        mov [%1 + 4], al
        mov byte [%1 + 5], %4
        mov [%1 + 7], ah
%endmacro

bits 64
default rel
start64:
        mov eax, SEL_DATA
        mov ds, eax
        mov es, eax
        mov ss, eax
        xor eax, eax
        mov fs, eax
        mov gs, eax
        system_descriptor gdt.tss, tss, TSS_LIMIT, 0x89
        system_descriptor gdt.ldt, ldt, 15, 0x82
        mov eax, SEL_TSS
        ltr ax
        mov eax, SEL_LDT
        lldt ax
        mov esp, stack.top
        mov edi, esi                    ; magic
        mov esi, ebx                    ; information
        xor ebp, ebp
        call payload_start
.stop:  cli
        hlt
        jmp .stop

; Interrupt stubs: an equal number of bytes each, so that C computes their addresses.
global stub_table, STUB_SIZE
STUB_SIZE equ 16
align STUB_SIZE
stub_table:
%assign v 0
%rep 256
        align STUB_SIZE
%if !(v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21)
        push 0
%endif
        push v
        jmp near stub_common
%assign v v + 1
%endrep

extern trap_dispatch
stub_common:
        push rax
        push rcx
        push rdx
        push rbx
        push rbp
        push rsi
        push rdi
        push r8
        push r9
        push r10
        push r11
        push r12
        push r13
        push r14
        push r15
        cld
        mov rdi, rsp
        call trap_dispatch
        pop r15
        pop r14
        pop r13
        pop r12
        pop r11
        pop r10
        pop r9
        pop r8
        pop rdi
        pop rsi
        pop rbp
        pop rbx
        pop rdx
        pop rcx
        pop rax
        add rsp, 16
        iretq

; int trap_catch(void): 0 now, 1 when trap_return() comes back here.
global trap_catch, trap_return
extern trap_armed
trap_catch:
        mov [catch_state], rbx
        mov [catch_state + 8], rbp
        mov [catch_state + 16], r12
        mov [catch_state + 24], r13
        mov [catch_state + 32], r14
        mov [catch_state + 40], r15
        mov rax, [rsp]
        mov [catch_state + 56], rax
        lea rax, [rsp + 8]
        mov [catch_state + 48], rax
        pushfq
        pop qword [catch_flags]
        mov byte [trap_armed], 1
        xor eax, eax
        ret
trap_return:
        mov eax, SEL_DATA
        mov ss, eax
        mov rbx, [catch_state]
        mov rbp, [catch_state + 8]
        mov r12, [catch_state + 16]
        mov r13, [catch_state + 24]
        mov r14, [catch_state + 32]
        mov r15, [catch_state + 40]
        mov rsp, [catch_state + 48]
        push qword [catch_flags]
        popfq
        mov eax, SEL_DATA
        mov ds, eax
        mov es, eax
        mov eax, 1
        jmp [catch_state + 56]

; void user_enter(void (*fn)(void)): fn in ring 3, IOPL 0, interrupts off
global user_enter
user_enter:
        push SEL_UDATA
        push user_stack.top - 8
        push 2
        push SEL_UCODE
        push user_trampoline
        iretq
user_trampoline:
        call rdi
        int 0x80
        ud2
