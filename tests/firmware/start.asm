; The way in from GRUB, the way out to Trefoil, and a catcher of faults.
MULTIBOOT2_MAGIC      equ 0xe85250d6
MULTIBOOT2_LOADER     equ 0x36d76289
TAG_MODULE_ALIGN      equ 6
GARBAGE               equ 0xdeadbeef
STACK                 equ 16384
SEL_CODE              equ 0x08
SEL_DATA              equ 0x10
GATE_INTERRUPT32      equ 0x8e00
VEC_GP                equ 13
MSR_INSTRUCTION       equ 2       ; bytes of RDMSR and WRMSR

section .multiboot align=8
header: dd MULTIBOOT2_MAGIC, 0, header_end - header, -(MULTIBOOT2_MAGIC + header_end - header) & 0xffffffff
        dw TAG_MODULE_ALIGN, 0
        dd 8
        dw 0, 0
        dd 8
header_end:

section .data align=8
gdt:    dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_end:
gdtr:   dw gdt_end - gdt - 1
        dd gdt
idtr:   dw 256 * 8 - 1
        dd idt
nothing: dw 0
        dd 0

section .bss align=16
idt:    resq 256
stack:  resb STACK
.top:
global faulted
faulted: resd 1

section .text
bits 32
global start
extern shim_main
start:
        cli
        cld
        mov esp, stack.top
        lgdt [gdtr]
        jmp SEL_CODE:.flat
.flat:  mov ecx, SEL_DATA
        mov ds, ecx
        mov es, ecx
        mov fs, ecx
        mov gs, ecx
        mov ss, ecx
        mov edi, idt
        mov ecx, 256
.gate:  mov edx, interrupt
        cmp ecx, 256 - VEC_GP
        jne .fill
        mov edx, protection
.fill:  mov [edi], edx
        mov word [edi + 2], SEL_CODE
        mov [edi + 4], edx
        mov word [edi + 4], GATE_INTERRUPT32
        add edi, 8
        loop .gate
        lidt [idtr]
        push ebx
        push eax
        call shim_main
.stop:  cli
        hlt
        jmp .stop

; An interrupt is taken and, as firmware sometimes forgets to, never ended.
interrupt:
        iret
; #GP of an RDMSR or WRMSR
protection:
        mov dword [faulted], 1
        add dword [esp + 4], MSR_INSTRUCTION
        add esp, 4
        iret

; void shim_enter(uint32_t entry, const void *information): as the Multiboot2 specification has it, "I386 machine state",
; and with what it leaves undefined as unhelpful as it can be.
global shim_enter
shim_enter:
        mov edx, [esp + 4]
        mov ebx, [esp + 8]
        lgdt [nothing]
        lidt [nothing]
        mov ecx, GARBAGE
        mov esi, ecx
        mov edi, ecx
        mov ebp, ecx
        xor esp, esp
        std
        mov eax, MULTIBOOT2_LOADER
        jmp edx
