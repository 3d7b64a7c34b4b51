; Long mode from 32-bit code and back: compatibility mode of both sizes, 64-bit mode, and their faults. It logs doublewords
; in long_log.
SEL_CODE    equ 0x08
SEL_DATA    equ 0x10
SEL_CODE64  equ 0x50
SEL_COMPAT16 equ 0x60                   ; begins at long_run
SCRATCH     equ 0x3ff                   ; the UART's scratch register
EFER        equ 0xc0000080
EFER_LME    equ 1 << 8
CR0_PG      equ 0x80000000
CR4_PAE     equ 1 << 5
MARK        equ 0xfeed0000

section .data align=8
global long_log_end, long_cr3
long_log_end: dd long_log
long_cr3:    dd 0
long_resume: dd 0

section .bss align=16
global long_log
long_log:    resd 1024
long_stack:  resb 4096
.top:

section .text
extern saved_esp, saved_idtr, far_idtr, back32
%macro log32 1                          ; a 32-bit register or constant
        push edi
        mov edi, [long_log_end]
        mov dword [edi], %1
        lea edi, [edi + 4]
        mov [long_log_end], edi
        pop edi
%endmacro
%macro log64 1
        push rdi
        mov edi, [abs long_log_end]
        mov dword [rdi], %1
        lea edi, [edi + 4]
        mov [abs long_log_end], edi
        pop rdi
%endmacro
%macro try32 1+
        mov dword [long_resume], %%after
        %1
%%after:
%endmacro
%macro try64 1+
        mov dword [abs long_resume], %%after
        %1
%%after:
%endmacro

bits 32
global long_run
long_run:
        pushad
        mov [saved_esp], esp
        sidt [saved_idtr]
        mov eax, cr4
        or eax, CR4_PAE
        mov cr4, eax
        mov eax, [long_cr3]
        mov cr3, eax
        mov ecx, EFER
        rdmsr
        or eax, EFER_LME
        wrmsr
        mov eax, cr0
        or eax, CR0_PG
        mov cr0, eax
        lidt [far_idtr]
        log32 MARK + 0                  ; compatibility mode
        mov ecx, EFER
        rdmsr
        and eax, 0x500
        log32 eax
        xor eax, eax
        cpuid
        log32 ebx
        mov edx, SCRATCH
        mov al, 0xa5
        out dx, al
        xor eax, eax
        in al, dx
        log32 eax
        try32 ud2
        mov eax, 0x1234
        try32 mov ds, eax
        try32 call 0x28:0               ; a task switch
        int 0x40
        inc eax                         ; 40h is INC here, REX in 64-bit mode
        log32 eax
        log32 MARK + 1
        jmp SEL_CODE64:.long
bits 64
.long:  mov esp, long_stack.top
        mov r8, 0x1122334455667788
        mov r15, -1
        mov rax, 0x123456789abcdef0
        mov eax, eax
        mov rbx, 0x1111111122222222
        log64 eax
        try64 ud2
        mov rcx, 0x800000000000
        try64 mov rax, [rcx]
        try64 mov rax, [rcx - 1]
        mov eax, SEL_COMPAT16
        mov ds, eax
        try64 mov eax, [0x12345]        ; DS has no limit here
        mov eax, SEL_DATA
        mov ds, eax
        mov ss, eax
        xor eax, eax
        cpuid
        mov rax, cr0
        shr rax, 32
        log64 eax
        mov rax, cr3
        mov cr3, rax
        int 0x40
        mov rax, cr4
        mov ecx, 1
        try64 mov cr4, rcx              ; PAE must stay
        mov rax, cr0
        mov rcx, rax
        btr rcx, 31
        try64 mov cr0, rcx              ; not in 64-bit mode
        jmp dword far [abs .to16]
.to16:  dd .compat16 - long_run
        dw SEL_COMPAT16
bits 16
.compat16:
        mov eax, MARK + 2
        mov ebx, eax
        cpuid
        mov ax, 0x5a
        mov dx, SCRATCH
        out dx, al
        jmp dword SEL_CODE:.compat
bits 32
.compat:
        log32 MARK + 3
        mov ecx, EFER
        rdmsr
        and eax, 0x500
        log32 eax
        jmp SEL_CODE64:.again
bits 64
.again: mov rax, r8                     ; what compatibility mode leaves alone
        log64 eax
        shr rax, 32
        log64 eax
        log64 r15d
        push SEL_CODE
        push .leave
        retfq
bits 32
.leave: mov eax, cr0
        and eax, ~CR0_PG
        mov cr0, eax
        mov ecx, EFER
        rdmsr
        mov ebx, eax
        and eax, 0x500
        log32 eax
        mov eax, ebx
        and eax, ~EFER_LME
        wrmsr
        mov eax, cr4
        and eax, ~CR4_PAE
        mov cr4, eax
        jmp back32

; Handlers: vector, error code, RIP from long_run, CS, flags, the difference of RSP; on at long_resume (but for INT n).
bits 64
%macro handler64 2
%if !%2
        push 0
%endif
        push rax
        log64 %1
        mov rax, [rsp + 8]
        log64 eax
        mov rax, [rsp + 16]
        sub eax, long_run
        log64 eax
        mov rax, [rsp + 24]
        log64 eax
        mov rax, [rsp + 32]
        and eax, 0x17700
        log64 eax
        mov rax, [rsp + 48]
        log64 eax
%if %1 != 0x40
        mov eax, [abs long_resume]
        mov [rsp + 16], rax
%endif
        pop rax
        add rsp, 8
        iretq
%endmacro
long_ud: handler64 6, 0
long_ts: handler64 10, 1
long_ss: handler64 12, 1
long_gp: handler64 13, 1
long_pf: handler64 14, 1
long_int: handler64 0x40, 0

section .rodata
global long_handlers
long_handlers:
        dd 6, long_ud, 10, long_ts, 12, long_ss, 13, long_gp, 14, long_pf, 0x40, long_int, 0, 0
