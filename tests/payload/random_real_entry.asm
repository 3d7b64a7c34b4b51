; Into a sequence of real mode and out of it. What runs in real mode is copied to segment STUBS, as the C code expects it there.
SEL_CODE    equ 0x08
SEL_DATA    equ 0x10
SEL_STUBS   equ 0x30
SEL_LIMITS  equ 0x38                    ; whose limits the segments of real mode are to have
STUBS       equ 0x4000
STUB_SIZE   equ 16
%define AT(label) ((label) - real_start)

section .data align=4
kernel_esp:  dd 0
kernel_idtr: dw 0
             dd 0
global real_idtr
real_idtr:   dw 0x3ff
             dd 0

section .text
global real_start, real_end, real_state, random_enter
extern random_event
align 16
bits 16
real_start:
%assign v 0
%rep 256
        align STUB_SIZE
        mov byte [cs:AT(real_state.vector)], v
        jmp near to_kernel
%assign v v + 1
%endrep

align 4
real_state:
.eax:   dd 0
.ecx:   dd 0
.edx:   dd 0
.ebx:   dd 0
.esp:   dd 0
.ebp:   dd 0
.esi:   dd 0
.edi:   dd 0
.cr0:   dd 0
.ds:    dw 0
.es:    dw 0
.fs:    dw 0
.gs:    dw 0
.ss:    dw 0
.vector: dw 0

to_kernel:                              ; without a stack: the sequence's may be anything
        mov [cs:AT(real_state.eax)], eax
        mov [cs:AT(real_state.ecx)], ecx
        mov [cs:AT(real_state.edx)], edx
        mov [cs:AT(real_state.ebx)], ebx
        mov [cs:AT(real_state.esp)], esp
        mov [cs:AT(real_state.ebp)], ebp
        mov [cs:AT(real_state.esi)], esi
        mov [cs:AT(real_state.edi)], edi
        mov [cs:AT(real_state.ds)], ds
        mov [cs:AT(real_state.es)], es
        mov [cs:AT(real_state.fs)], fs
        mov [cs:AT(real_state.gs)], gs
        mov [cs:AT(real_state.ss)], ss
        mov eax, cr0
        mov [cs:AT(real_state.cr0)], eax
        or al, 1
        mov cr0, eax
        jmp dword SEL_CODE:kernel

in_stubs:                               ; protected mode of 16 bits
        mov ax, SEL_LIMITS
        mov ds, ax
        mov es, ax
        mov fs, ax
        mov gs, ax
        mov ss, ax
        mov eax, [cs:AT(real_state.cr0)]
        mov cr0, eax
        jmp STUBS:AT(.real)
.real:  mov ss, [cs:AT(real_state.ss)]
        mov esp, [cs:AT(real_state.esp)]
        mov ds, [cs:AT(real_state.ds)]
        mov es, [cs:AT(real_state.es)]
        mov fs, [cs:AT(real_state.fs)]
        mov gs, [cs:AT(real_state.gs)]
        mov eax, [cs:AT(real_state.eax)]
        mov ecx, [cs:AT(real_state.ecx)]
        mov edx, [cs:AT(real_state.edx)]
        mov ebx, [cs:AT(real_state.ebx)]
        mov ebp, [cs:AT(real_state.ebp)]
        mov esi, [cs:AT(real_state.esi)]
        mov edi, [cs:AT(real_state.edi)]
        iret
real_end:

bits 32
kernel: mov eax, SEL_DATA
        mov ds, eax
        mov es, eax
        mov fs, eax
        mov gs, eax
        mov ss, eax
        mov esp, [kernel_esp]
        cld
        lidt [kernel_idtr]
        call random_event
        test eax, eax
        jz leave
enter:  lidt [real_idtr]
        jmp SEL_STUBS:AT(in_stubs)

; void random_enter(void): comes back when the sequence has ended
random_enter:
        push ebx
        push ebp
        push esi
        push edi
        mov [kernel_esp], esp
        sidt [kernel_idtr]
        jmp enter
leave:  pop edi
        pop esi
        pop ebp
        pop ebx
        ret
