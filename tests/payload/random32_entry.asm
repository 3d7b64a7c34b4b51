; Into the sandbox and out of it, 32-bit. As random_entry.asm; but in ring 0 an exception does not switch stacks: its frame is
; where the sequence's stack is, and C looks for it there. Without such a stack it is a double fault, which has a task.
SEL_DATA    equ 0x10
STUB_SIZE   equ 16

section .data.gate progbits alloc noexec write align=4096
global gate_start, gate_end, stack_top, syscall_stack_top, kernel_cr3, sandbox_cr3, saved_ss, saved_esp, return_to
gate_start:
busy:        dd 1                       ; not in the sandbox
kernel_cr3:  dd 0
sandbox_cr3: dd 0
kernel_esp:  dd 0
saved_ss:    dd 0
saved_esp:   dd 0
return_to:   dd 0, 0                   ; ESP, SS
             times 512 db 0
syscall_stack_top:
             align 4096, db 0
             times 4096 db 0
stack_top:   times 8192 db 0
handler_top:
gate_end:

section .text
bits 32
global random_stubs, random_debug_stub, random_enter, random_system, random_double, handler_top
extern random_event, random_broken, random_task
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

random_debug_stub:
        cmp dword [cs:busy], 0
        jne .ignore
        push 0
        push 1
        jmp near to_kernel
.ignore:
        iretd

random_system:
        int 0x31
        ud2

to_kernel:
        pushad
        push ds
        push es
        push fs
        push gs
        mov eax, SEL_DATA
        mov ds, eax
        mov es, eax
        cld
        cmp dword [busy], 0
        jne broken
        mov dword [busy], 1
        mov eax, cr3
        mov [sandbox_cr3], eax
        mov eax, [kernel_cr3]
        mov cr3, eax
        mov [saved_ss], ss
        mov [saved_esp], esp
        mov eax, SEL_DATA
        mov ss, eax
        mov esp, handler_top
        call random_event
        test eax, eax
        jz leave
enter:  mov eax, [sandbox_cr3]
        mov cr3, eax
        lss esp, [return_to]
        mov dword [busy], 0
        pop gs
        pop fs
        pop es
        pop ds
        popad
        add esp, 8
        iretd
broken:
        push esp
        call random_broken

; The task of the double fault
random_double:
        mov dword [busy], 1
        call random_task
        jmp leave

; void random_enter(void): comes back when the sequence has ended
random_enter:
        push ebx
        push ebp
        push esi
        push edi
        mov [kernel_esp], esp
        jmp enter
leave:  mov eax, SEL_DATA
        mov ss, eax
        mov esp, [kernel_esp]
        push 2
        popfd
        pop edi
        pop esi
        pop ebp
        pop ebx
        ret
