; Into the sandbox and out of it, 64-bit. What these pages hold is mapped for the sandbox's kernel mode; the rest of the image
; can only be read and executed there.
STUB_SIZE   equ 16

section .data.gate progbits alloc noexec write align=4096
global random_frame, gate_start, gate_end, stack_top, debug_stack_top, kernel_cr3, sandbox_cr3, syscall_stack_top
gate_start:
busy:        dq 1                       ; not in the sandbox
kernel_cr3:  dq 0
sandbox_cr3: dq 0
kernel_rsp:  dq 0
             times 512 db 0
syscall_stack_top:
             align 4096, db 0
             times 8192 - 176 db 0
random_frame: times 176 db 0
stack_top:   times 4096 db 0
debug_stack_top:
gate_end:

section .text
bits 64
default abs
global random_stubs, random_debug_stub, random_enter, random_system
extern random_event, random_broken
align STUB_SIZE
random_stubs:
%assign v 0
%rep 256
        align STUB_SIZE
%if !(v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21)
        push 0
%endif
        push v
        jmp near to_kernel
%assign v v + 1
%endrep

; A breakpoint that the sequence has set may hit the handler itself.
random_debug_stub:
        cmp qword [busy], 0
        jne .ignore
        push 0
        push 1
        jmp near to_kernel
.ignore:
        iretq

; SYSCALL and SYSENTER arrive here.
random_system:
        int 0x31
        ud2

to_kernel:
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
        mov rdi, rsp
        cld
        cmp qword [busy], 0
        jne random_broken
        mov qword [busy], 1
        mov rax, cr3
        mov [sandbox_cr3], rax
        mov rax, [kernel_cr3]
        mov cr3, rax
        call random_event
        test eax, eax
        jz leave
        mov rdi, rsp
enter:  mov rsp, rdi
        mov rax, [sandbox_cr3]
        mov cr3, rax
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
        mov qword [busy], 0
        iretq

; void random_enter(struct frame *): comes back when the sequence has ended
random_enter:
        push rbx
        push rbp
        push r12
        push r13
        push r14
        push r15
        mov [kernel_rsp], rsp
        jmp enter
leave:  mov eax, 0x10
        mov ss, eax
        mov rsp, [kernel_rsp]
        pop r15
        pop r14
        pop r13
        pop r12
        pop rbp
        pop rbx
        ret
