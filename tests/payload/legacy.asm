; The 32-bit runtime: payloads that test what long mode has not. From the loader to C, interrupt stubs, TRY.
MB_MAGIC    equ 0x1badb002
MB_FLAGS    equ 3                       ; page-aligned modules, memory information
SEL_CODE    equ 0x08
SEL_DATA    equ 0x10
STACK       equ 16384

section .multiboot align=4
        dd MB_MAGIC, MB_FLAGS, -(MB_MAGIC + MB_FLAGS) & 0xffffffff

section .bss align=16
stack:  resb STACK
.top:
catch_state: resd 7                     ; ebx ebp esi edi esp eip eflags

section .text
bits 32
global _start
extern legacy_gdtr, payload_start
_start:
        cli
        cld
        mov esp, stack.top
        mov esi, eax
        call legacy_segments
        push 0
        popfd
        push ebx                        ; information
        push esi                        ; magic
        xor ebp, ebp
        call payload_start

; void legacy_segments(void): our GDT, flat segments
global legacy_segments
extern gdt32
legacy_segments:
        lgdt [legacy_gdtr]
        mov eax, SEL_DATA
        mov ds, eax
        mov es, eax
        mov fs, eax
        mov gs, eax
        mov ss, eax
        jmp SEL_CODE:.cs
.cs:    ret

global stub_table
STUB_SIZE equ 16
align STUB_SIZE
stub_table:
%assign v 0
%rep 256
        align STUB_SIZE
%if !(v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21)
        push dword 0
%endif
        push dword v
        jmp near stub_common
%assign v v + 1
%endrep

extern legacy_dispatch
stub_common:
        pushad
        push ds
        push es
        push fs
        push gs
        mov eax, SEL_DATA
        mov ds, eax
        mov es, eax
        cld
        push esp
        call legacy_dispatch
        add esp, 4
        pop gs
        pop fs
        pop es
        pop ds
        popad
        add esp, 8
        iretd

; int trap_catch(void): 0 now, 1 when trap_return() comes back here.
global trap_catch, trap_return
extern trap_armed
trap_catch:
        mov [catch_state], ebx
        mov [catch_state + 4], ebp
        mov [catch_state + 8], esi
        mov [catch_state + 12], edi
        mov eax, [esp]
        mov [catch_state + 20], eax
        lea eax, [esp + 4]
        mov [catch_state + 16], eax
        pushfd
        pop dword [catch_state + 24]
        mov byte [trap_armed], 1
        xor eax, eax
        ret
trap_return:
        mov eax, SEL_DATA
        mov ss, eax
        mov ds, eax
        mov es, eax
        mov fs, eax
        mov gs, eax
        mov ebx, [catch_state]
        mov ebp, [catch_state + 4]
        mov esi, [catch_state + 8]
        mov edi, [catch_state + 12]
        mov esp, [catch_state + 16]
        push dword [catch_state + 24]
        popfd
        mov eax, 1
        jmp [catch_state + 20]
