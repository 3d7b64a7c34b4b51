; Stands in for a Linux kernel's 32-bit entry point: prints the TSC as 16 hexadecimal digits on COM1 and stops.
bits 32
COM1_DATA equ 0x3f8
COM1_LCR  equ 0x3fb
LCR_8N1   equ 3
COM1_LSR  equ 0x3fd
LSR_THRE  equ 0x20

        rdtsc
        mov     ebx, eax
        mov     esi, edx
        mov     edi, 2
        mov     dx, COM1_LCR
        mov     al, LCR_8N1
        out     dx, al
half:   mov     ecx, 8
digit:  mov     dx, COM1_LSR
busy:   in      al, dx
        test    al, LSR_THRE
        jz      busy
        rol     esi, 4
        mov     eax, esi
        and     al, 15
        add     al, '0'
        cmp     al, '9'
        jbe     put
        add     al, 'A' - '9' - 1
put:    mov     dx, COM1_DATA
        out     dx, al
        loop    digit
        mov     esi, ebx
        dec     edi
        jnz     half
stop:   cli
        hlt
        jmp     stop
