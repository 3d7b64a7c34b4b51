; 16-bit code: real mode, protected mode, virtual-8086 mode, and the ways there. It logs doublewords where DS:[0] says,
; which C prints.
SEL_CODE    equ 0x08
SEL_DATA    equ 0x10
SEL_CODE16  equ 0x30
SEL_DATA16  equ 0x38
SEL_STACK16 equ 0x40
SEL_REAL16  equ 0x48
SEL_CALL16  equ 0x58
REAL_CODE   equ 0x800
REAL_DATA   equ 0x900
REAL_STACK  equ 0xa00
STACK_TOP   equ 0x1000
SCRATCH     equ 0x3ff                   ; the UART's scratch register
LAPIC_EOI   equ 0xfee000b0
LAPIC_ICR   equ 0xfee00300
ICR_SELF    equ 0x40000
VECTOR      equ 0x71
FLAGS_SEEN  equ 0x7701                  ; CF TF IF DF IOPL NT
LOG_NEXT    equ 0                       ; in the 16-bit data segment: where the log goes on, where a fault does
RESUME      equ 2
TEXT        equ 0x40                    ; for string instructions
MARK        equ 0xfeed0000

section .data align=8
saved_esp:   dd 0
saved_idtr:  dw 0
             dd 0
real_idtr:   dw 0x3ff
             dd 0
global far_idtr, saved_esp, saved_idtr
far_idtr:    dw 0
             dd 0

; ---------------------------------------------------------------- 16-bit code
section .text
%define AT(label) ((label) - code16)

%macro log_eax 0                        ; keeps the flags
        push bx
        mov bx, [LOG_NEXT]
        mov [bx], eax
        lea bx, [bx + 4]
        mov [LOG_NEXT], bx
        pop bx
%endmacro
%macro log_flags 0
        pushf
        pop ax
        and eax, FLAGS_SEEN
        log_eax
%endmacro
%macro mark 1
        mov eax, MARK + %1
        log_eax
%endmacro
%macro try16 1+
        mov word [RESUME], AT(%%after)
        %1
%%after:
        mov word [RESUME], 0
%endmacro
; handler16 VECTOR, 1 if an error code (a word) is on the stack
%macro handler16 2
        push bp
        mov bp, sp
        push eax
%if %2
        movzx eax, word [bp + 2]
        log_eax
%endif
        movzx eax, word [bp + 2 + 2 * %2]
        or eax, %1 << 16
        log_eax
        movzx eax, word [bp + 6 + 2 * %2]
        and eax, FLAGS_SEEN
        log_eax
        mov ax, [RESUME]
        test ax, ax
        jz %%go
        mov [bp + 2 + 2 * %2], ax
%%go:   pop eax
        pop bp
%if %2
        add sp, 2
%endif
        iret
%endmacro

align 16
bits 16
global code16, code16_end
code16:
; What any 16-bit mode can do.
common16:
        mark 1
        xor eax, eax
        cpuid
        mov eax, ebx
        log_eax
        mov eax, edx
        log_eax
        mov al, 0x5a
        mov dx, SCRATCH
        out dx, al
        xor eax, eax
        in al, dx
        log_eax
        mark 2                          ; strings
        mov dword [TEXT], 0x44332211
        cld
        mov si, TEXT
        mov cx, 4
        rep outsb
        mov eax, ecx
        shl eax, 16
        mov ax, si
        log_eax
        mov di, TEXT + 8
        mov cx, 3
        rep insb
        mov eax, [TEXT + 8]
        log_eax
        movzx eax, di
        log_eax
        std
        mov si, TEXT + 1
        mov cx, 2
        rep outsb
        cld
        in al, dx
        movzx eax, al
        log_eax
        mark 3                          ; software interrupts
        stc
        int 0x40
        int3
        try16 into
        xor ax, ax
        try16 div al
        try16 ud2
        mark 4                          ; limits
        try16 mov ax, [0xffff]
        try16 mov [0xffff], ax
        mov ecx, 0x12345678             ; a 32-bit offset that is out of the limit
        try16 mov eax, [ecx]
        mov cx, sp
        mov word [RESUME], AT(.ss)
        mov bp, 0xffff
        mov ax, [bp]
.ss:    mov word [RESUME], 0
        mark 5                          ; an exit that ends in a fault
        mov ecx, 0x277
        mov eax, 2
        xor edx, edx
        try16 wrmsr
        mov ecx, 0x10
        rdmsr
        mov ecx, 0x1b
        rdmsr
        log_eax
        mark 6                          ; single steps
        pushf
        pushf
        mov bp, sp
        or word [bp], 0x100
        popf
        nop
        cpuid
        in al, dx
        nop
        popf
        nop
        ret

real16: mov eax, cr0
        and al, 0xfe
        mov cr0, eax
        jmp REAL_CODE:AT(.real)
.real:  mov ax, REAL_DATA
        mov ds, ax
        mov es, ax
        mov ax, REAL_STACK
        mov ss, ax
        mov sp, STACK_TOP
        mark 0
        mov eax, cr0
        and eax, 0x10001
        log_eax
        smsw ax
        and eax, 1
        log_eax
        call common16
        mark 7                          ; FS kept its limit of 4 GiB
        mov edi, code16
        mov eax, [fs:edi]
        log_eax
        mark 8                          ; HLT until an interrupt, sent through FS
        mov edi, LAPIC_ICR
        mov dword [fs:edi], ICR_SELF + VECTOR
        sti
        hlt
        cli
        mov edi, LAPIC_EOI
        mov dword [fs:edi], 0
        log_flags
        mark 9                          ; a segment register by itself
        mov ax, REAL_DATA - 0x10
        mov gs, ax
        mov eax, [gs:TEXT + 0x100]
        log_eax
        mov ax, 0xffff                  ; above 1 MiB with the limit of 64 KiB
        mov gs, ax
        mov eax, [gs:0x7ff0]
        mark 10                         ; 32-bit operands and addresses
        mov ebx, TEXT
        push dword [ebx]
        pop eax
        log_eax
        call 0x800:AT(.far)
        mov ax, sp
        movzx eax, ax
        log_eax
        cli
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp dword SEL_CODE:back32
.far:   mov ax, cs
        movzx eax, ax
        log_eax
        retf

pm16:   mov ax, SEL_DATA16
        mov ds, ax
        mov es, ax
        mov ax, SEL_STACK16
        mov ss, ax
        mov sp, STACK_TOP
        mark 0
        smsw ax
        and eax, 1
        log_eax
        call common16
        mark 7                          ; just at the limits of 1000h bytes
        mov ax, [0xffe]
        try16 mov ax, [0xfff]
        mov si, 0xfff
        mov cx, 2
        mov dx, SCRATCH
        try16 rep outsb
        movzx eax, cx
        log_eax
        mov di, 0xffe
        mov cx, 2
        mov word [RESUME], AT(.ins)
        rep insw
.ins:   mov word [RESUME], 0
        movzx eax, cx
        log_eax
        mov ax, SEL_CODE16
        mov es, ax
        xor di, di
        try16 insb
        mark 8
        call SEL_CALL16:0
        mov ax, 0x1234
        try16 mov es, ax
        mov ax, cs
        mov es, ax
        mov ax, [es:0]
        try16 mov [es:0], ax
        movzx eax, sp
        log_eax
        jmp dword SEL_CODE:back32
global call16_offset
call16: movzx eax, sp
        log_eax
        retf

real_de: handler16 0, 0
real_db: handler16 1, 0
real_bp: handler16 3, 0
real_of: handler16 4, 0
real_ud: handler16 6, 0
real_ss: handler16 12, 0
real_gp: handler16 13, 0
real_int: handler16 0x40, 0
real_ext: handler16 VECTOR, 0
pm16_ss: handler16 12, 1
pm16_gp: handler16 13, 1

; Virtual-8086 mode: each step in 16 bytes, so that the handler can go on behind one that faults.
align 16
v86:
%macro step 1+
        align 16, nop
        %1
%endmacro
        step mov ax, cs
        step xor eax, eax
        cpuid
        xor eax, eax
        step pushf
        step popf
        step cli
        step sti
        step mov dx, SCRATCH
        step in al, dx
        step out dx, al
        step mov dx, 0x3fe
        step in al, dx
        step mov dx, SCRATCH
        step in ax, dx
        step mov si, TEXT
        step outsb
        step mov di, TEXT
        step insb
        step mov eax, cr0
        step smsw ax
        step lmsw ax
        step clts
        step rdtsc
        xor eax, eax
        xor edx, edx
        step mov ecx, 0x1b
        step rdmsr
        step invd
        step sldt ax
        step lar ax, ax
        step int 0x40
        step int3
        step into
        step hlt
        step ud2
        step mov ax, [0xffff]
        step mov al, [0x7fff]
        step push bp
        step call 0x800:AT(v86_far)
        step pushf
        push cs
        push AT(v86_end)
        iret
        align 16, nop
v86_end: hlt
v86_far: retf
align 16
code16_end:

section .rodata
global real_handlers, pm16_handlers, v86_offset, v86_end_offset
real_handlers:
        dw 0, AT(real_de), 1, AT(real_db), 3, AT(real_bp), 4, AT(real_of), 6, AT(real_ud), 12, AT(real_ss)
        dw 13, AT(real_gp), 0x40, AT(real_int), VECTOR, AT(real_ext), 0xffff, 0
pm16_handlers:
        dw 0, AT(real_de), 1, AT(real_db), 3, AT(real_bp), 4, AT(real_of), 6, AT(real_ud), 12, AT(pm16_ss)
        dw 13, AT(pm16_gp), 0x40, AT(real_int), 0xffff, 0
v86_offset: dw AT(v86)
v86_end_offset: dw AT(v86_end)
call16_offset: dw AT(call16)

; ---------------------------------------------------------------- 32-bit code
section .text
bits 32
global real_run, pm16_run, back32, frame_enter
real_run:
        pushad
        mov [saved_esp], esp
        sidt [saved_idtr]
        lidt [real_idtr]
        mov eax, SEL_REAL16
        mov ds, eax
        mov es, eax
        mov gs, eax
        mov ss, eax
        jmp SEL_CODE16:AT(real16)

pm16_run:
        pushad
        mov [saved_esp], esp
        sidt [saved_idtr]
        lidt [far_idtr]
        jmp SEL_CODE16:AT(pm16)

back32: mov eax, SEL_DATA
        mov ds, eax
        mov es, eax
        mov fs, eax
        mov gs, eax
        mov ss, eax
        mov esp, [saved_esp]
        lidt [saved_idtr]
        popad
        ret

frame_enter:
        mov esp, [esp + 4]
        pop gs
        pop fs
        pop es
        pop ds
        popad
        add esp, 8
        iretd
