; Where the tasks begin.
SEL_A equ 0x30

section .bss align=4
global snapshot16, nest16
snapshot16: resd 18
nest16:     resd 1

section .text
bits 32
global task_entry, task_error_entry
task_entry:
        call ebx
        iretd
        jmp task_entry

task_error_entry:
        call ebx
        add esp, 4
        iretd
        jmp task_error_entry

; In a segment that begins here, for an IP of 16 bits; with a stack segment of 16 bits.
global task16_entry, task16_error_entry
task16_entry:
        mov [snapshot16], eax
        mov [snapshot16 + 4], ecx
        mov [snapshot16 + 8], edx
        mov [snapshot16 + 12], ebx
        mov [snapshot16 + 16], esp
        mov [snapshot16 + 20], ebp
        mov [snapshot16 + 24], esi
        mov [snapshot16 + 28], edi
        pushfd
        pop dword [snapshot16 + 32]
        mov eax, es
        mov [snapshot16 + 36], eax
        mov eax, cs
        mov [snapshot16 + 40], eax
        mov eax, ss
        mov [snapshot16 + 44], eax
        mov eax, ds
        mov [snapshot16 + 48], eax
        mov eax, fs
        mov [snapshot16 + 52], eax
        mov eax, gs
        mov [snapshot16 + 56], eax
        str eax
        mov [snapshot16 + 60], eax
        sldt eax
        mov [snapshot16 + 64], eax
        cmp dword [nest16], 0
        je .back
        call SEL_A:0
.back:  iretd
        jmp task16_entry

extern resume_at, main_tss
MAIN_EIP equ 32
align 16
task16_error_entry:
        mov [snapshot16 + 16], esp
        o16 pop ax
        movzx eax, ax
        mov [snapshot16 + 68], eax
        mov eax, [resume_at]
        mov [main_tss + MAIN_EIP], eax
        iretd
        jmp task16_error_entry
