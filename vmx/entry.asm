; VM entry and exit: the general registers that the VMCS does not hold, and what keeps the guest's speculation and ours
; apart (vmx/mitigations.h). A vCPU that needs nothing of that takes the plain ways in and out.

GPR             equ 0           ; offsets into struct vmx_vcpu, asserted in vmx/entry.c
HOST_RSP        equ 128
ENTRY_FLAGS     equ 136
EXIT_FLAGS      equ 137
SPEC_CTRL       equ 144
HOST_SPEC_CTRL  equ 152
ENTER_LAUNCHED  equ 1           ; as in vmx/vcpu.h, asserted there too
ENTER_VERW      equ 2
ENTER_SPEC_CTRL equ 4
LEAVE_SAVE_SPEC equ 1
LEAVE_LOAD_SPEC equ 2
LEAVE_RSB       equ 4
LEAVE_RSB_ONE   equ 8
LEAVE_BHB       equ 16

VMCS_HOST_RSP      equ 0x6c14
MSR_IA32_SPEC_CTRL equ 0x48
SEL_DATA           equ 0x10     ; arch/x86_64/gdt.h
RSB_CALLS          equ 32       ; no return stack buffer is deeper
BHB_ROUNDS         equ 40       ; of two taken branches: the history is of 66 where this is used

%macro LOAD 2
        mov     %1, [rdi + GPR + 8 * %2]
%endmacro
%macro SAVE 2
        mov     [rdi + GPR + 8 * %2], %1
%endmacro

%macro LOAD_ALL 0
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
%endmacro

; The stack is as VMCS_HOST_RSP says: the struct's address is on top of it.
%macro SAVE_ALL 0
        push    rdi
        mov     rdi, [rsp + 8]
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
        pop     qword [rdi + GPR + 8 * 7]
%endmacro

; A return that takes one of these entries speculates into an INT3, which ends it. Changes ECX.
%macro FILL_RSB 0
        mov     ecx, RSB_CALLS / 2
%%next: call    %%first
        int3
%%first:
        call    %%second
        int3
%%second:
        dec     ecx
        jnz     %%next
        add     rsp, 8 * RSB_CALLS
%endmacro

section .rodata
verw_selector:
        dw      SEL_DATA        ; VERW clears no buffers in its register form, and is quickest with a writable segment

section .text

; Enters the guest of RDI = struct vmx_vcpu *, and comes back at its next exit with CF = 0. CF = 1: the entry failed, EAX = 1 or 2
; says how (VMfailValid, VMfailInvalid). RDI, RBX and RBP are as before, all other general registers are lost. Called with
; interrupts off; a VM exit leaves them off.
global vmx_enter
vmx_enter:
        push    rbp
        push    rbx
        push    rdi
        cmp     rsp, [rdi + HOST_RSP]
        je      .same_stack
        mov     eax, VMCS_HOST_RSP
        vmwrite rax, rsp
        jbe     .failed
        mov     [rdi + HOST_RSP], rsp
.same_stack:
        cmp     byte [rdi + ENTRY_FLAGS], ENTER_LAUNCHED
        jne     .careful
        LOAD_ALL
        vmresume
.failed:
        setc    al              ; VMfailInvalid sets CF, VMfailValid ZF
.failed_so:
        movzx   eax, al
        inc     eax
        pop     rdi
        pop     rbx
        pop     rbp
        stc
        ret

.careful:
        test    byte [rdi + ENTRY_FLAGS], ENTER_SPEC_CTRL
        jz      .have_spec_ctrl
        mov     rax, [rdi + SPEC_CTRL]
        cmp     rax, [rdi + HOST_SPEC_CTRL]
        je      .have_spec_ctrl
        mov     rdx, rax
        shr     rdx, 32
        mov     ecx, MSR_IA32_SPEC_CTRL
        wrmsr
.have_spec_ctrl:
        test    byte [rdi + ENTRY_FLAGS], ENTER_VERW
        bts     dword [rdi + ENTRY_FLAGS], 0    ; CF = ENTER_LAUNCHED as it was; leaves ZF alone, and VERW leaves CF
        LOAD_ALL
        jz      .cleared
        verw    [rel verw_selector]             ; nothing of ours is loaded or stored behind this
.cleared:
        jnc     .launch
        vmresume
        jmp     .failed
.launch:
        vmlaunch
        setc    al
        mov     rdi, [rsp]
        and     byte [rdi + ENTRY_FLAGS], ~ENTER_LAUNCHED
        jmp     .failed_so

global vmx_exit_plain           ; HOST_RIP
vmx_exit_plain:
        SAVE_ALL
leave_frame:
        pop     rcx
        pop     rbx
        pop     rbp
        ret                     ; CF is still as the exit has left it: 0

; HOST_RIP where the guest's predictions must not steer us: before the first RET and the first indirect branch.
global vmx_exit_careful
vmx_exit_careful:
        SAVE_ALL
        test    byte [rdi + EXIT_FLAGS], LEAVE_RSB
        jz      .filled
        FILL_RSB
.filled:
        test    byte [rdi + EXIT_FLAGS], LEAVE_SAVE_SPEC
        jz      .saved
        mov     ecx, MSR_IA32_SPEC_CTRL
        rdmsr
        mov     [rdi + SPEC_CTRL], eax
        mov     [rdi + SPEC_CTRL + 4], edx
        mov     rax, [rdi + SPEC_CTRL]
        cmp     rax, [rdi + HOST_SPEC_CTRL]
        jne     .load
.saved:
        test    byte [rdi + EXIT_FLAGS], LEAVE_LOAD_SPEC
        jz      .loaded
.load:
        mov     rax, [rdi + HOST_SPEC_CTRL]
        mov     rdx, rax
        shr     rdx, 32
        mov     ecx, MSR_IA32_SPEC_CTRL
        wrmsr
.loaded:
        test    byte [rdi + EXIT_FLAGS], LEAVE_BHB
        jz      .no_history
        mov     ecx, BHB_ROUNDS
.history:
        jmp     .taken
        int3
.taken:
        dec     ecx
        jnz     .history
.no_history:
        test    byte [rdi + EXIT_FLAGS], LEAVE_RSB_ONE
        jz      .done
        call    .called
        int3
.called:
        add     rsp, 8
.done:
        lfence                  ; none of the branches above is passed by speculation
%assign n 8
%rep 8
        xor     r%[n]d, r%[n]d  ; nor do the guest's values steer what speculation does next
%assign n n + 1
%endrep
        xor     esi, esi
        xor     edx, edx
        xor     eax, eax        ; CF = 0
        jmp     leave_frame

; void vmx_fill_rsb(void)
global vmx_fill_rsb
vmx_fill_rsb:
        FILL_RSB
        ret
