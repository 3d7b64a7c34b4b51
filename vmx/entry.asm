; VM entry and exit: the general registers that the VMCS does not hold.

GPR         equ 0               ; offsets into struct vmx_vcpu, asserted in vmx/run.c
HOST_RSP    equ 128
VMCS_HOST_RSP equ 0x6c14

%macro LOAD 2
        mov     %1, [rdi + GPR + 8 * %2]
%endmacro
%macro SAVE 2
        mov     [rdi + GPR + 8 * %2], %1
%endmacro

section .text

; unsigned vmx_enter(struct vmx_vcpu *v /* rdi */, bool launched /* esi */)
; Enters the guest and comes back at its next exit with 0; 1 or 2 if the entry failed (VMfailValid, VMfailInvalid).
; Called with interrupts off; a VM exit leaves them off.
global vmx_enter
vmx_enter:
        push    rbp
        push    rbx
        push    r12
        push    r13
        push    r14
        push    r15
        push    rdi
        cmp     rsp, [rdi + HOST_RSP]
        je      .same_stack
        mov     eax, VMCS_HOST_RSP
        vmwrite rax, rsp
        jbe     .failed
        mov     [rdi + HOST_RSP], rsp
.same_stack:
        test    sil, sil
        LOAD    rax, 0
        LOAD    rcx, 1
        LOAD    rdx, 2
        LOAD    rbx, 3
        LOAD    rbp, 5
        LOAD    rsi, 6
        LOAD    r8, 8
        LOAD    r9, 9
        LOAD    r10, 10
        LOAD    r11, 11
        LOAD    r12, 12
        LOAD    r13, 13
        LOAD    r14, 14
        LOAD    r15, 15
        LOAD    rdi, 7
        jz      .launch
        vmresume
        jmp     .failed
.launch:
        vmlaunch
.failed:
        setc    al              ; VMfailInvalid sets CF, VMfailValid ZF
        movzx   eax, al
        inc     eax
        pop     rdi
        jmp     leave_frame

global vmx_exit_entry           ; HOST_RIP
vmx_exit_entry:
        xchg    rdi, [rsp]
        SAVE    rax, 0
        SAVE    rcx, 1
        SAVE    rdx, 2
        SAVE    rbx, 3
        SAVE    rbp, 5
        SAVE    rsi, 6
        SAVE    r8, 8
        SAVE    r9, 9
        SAVE    r10, 10
        SAVE    r11, 11
        SAVE    r12, 12
        SAVE    r13, 13
        SAVE    r14, 14
        SAVE    r15, 15
        pop     rax
        SAVE    rax, 7
        xor     eax, eax
leave_frame:
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbx
        pop     rbp
        ret
