; What cannot be said in C: refusals before long mode is reached. They go out on the first serial line, which is set up for
; it, and on the screen that the boot loader left: a text page, or a framebuffer of direct colours below 4 GiB.

MULTIBOOT2_BOOTLOADER_MAGIC equ 0x36d76289
TAGS_BEGIN          equ 8          ; behind total_size and a reserved dword
TAG_TYPE            equ 0
TAG_SIZE            equ 4
TAG_HEADER          equ 8
TAG_END             equ 0
TAG_FRAMEBUFFER     equ 8
TAG_EFI_SYSTEM_32   equ 11         ; either, or the memory map: started by UEFI
TAG_EFI_SYSTEM_64   equ 12
TAG_EFI_MEMORY_MAP  equ 17
SCREEN_ADDRESS      equ 8          ; in the framebuffer tag
SCREEN_PITCH        equ 16
SCREEN_WIDTH        equ 20
SCREEN_HEIGHT       equ 24
SCREEN_BPP          equ 28
SCREEN_TYPE         equ 29
SCREEN_TAG_SIZE     equ 31
TYPE_RGB            equ 1
TYPE_TEXT           equ 2

VGA_TEXT            equ 0xb8000
VGA_COLUMNS         equ 80
VGA_CELLS           equ 80 * 25
VGA_BLANK           equ 0x0720     ; light grey on black
CRTC                equ 0x3d4      ; index, and data behind it
CRTC_CURSOR_HIGH    equ 0x0e
CRTC_CURSOR_LOW     equ 0x0f
GLYPH_WIDTH         equ 8          ; as in lib/font.h
GLYPH_HEIGHT        equ 16

COM1                equ 0x3f8
UART_LSR            equ 5
LSR_THR_EMPTY       equ 0x20
UART_TRIES          equ 1 << 20

extern font_glyphs_off
global refuse

section .text.entry progbits alloc exec nowrite align=16
bits 32

; EDX: the message, in ASCII. ESI: the boot loader's magic, EDI: the boot information, EBP: the image's physical address.
refuse:
	push edx
	call on_serial
	pop edx
	call on_screen
.stop:
	cli
	hlt
	jmp .stop

; EDX: the message; it gets a line end. Destroys EAX, EBX, ECX, EDX.
on_serial:
	push esi
	mov ebx, edx
	call .here
.here:
	pop esi
	add esi, uart_setup - .here
	mov ecx, uart_setup_end - uart_setup
.setup:
	movzx edx, byte [esi]
	add edx, COM1
	mov al, [esi + 1]
	out dx, al
	add esi, 2
	sub ecx, 2
	jnz .setup
.next:
	mov al, [ebx]
	test al, al
	jz .end
	call .byte
	inc ebx
	jmp .next
.end:
	mov al, 13
	call .byte
	mov al, 10
	call .byte
	pop esi
	ret

; AL; waits only so long, as there may be no serial line.
.byte:
	mov ah, al
	mov ecx, UART_TRIES
	mov edx, COM1 + UART_LSR
.wait:
	in al, dx
	test al, LSR_THR_EMPTY
	loopz .wait
	mov al, ah
	mov edx, COM1
	out dx, al
	ret

; register, value: no interrupts, 115200 8n1, FIFOs, DTR, RTS
uart_setup: db 1, 0, 3, 0x80, 0, 1, 1, 0, 3, 3, 2, 7, 4, 3
uart_setup_end:

; EDX: the message. ESI, EDI, EBP as above. Without a tag a machine with a BIOS shows its text page.
on_screen:
	cmp esi, MULTIBOOT2_BOOTLOADER_MAGIC
	jne in_text
	mov ecx, [edi]
	add ecx, edi               ; where the tags end
	jc .nothing
	lea ebx, [edi + TAGS_BEGIN]
	xor esi, esi               ; not 0: UEFI was here
.tag:
	mov eax, ecx
	sub eax, ebx
	jbe .no_tag
	cmp eax, TAG_HEADER
	jb .no_tag
	cmp dword [ebx + TAG_TYPE], TAG_END
	je .no_tag
	cmp [ebx + TAG_SIZE], eax
	ja .no_tag
	cmp dword [ebx + TAG_TYPE], TAG_FRAMEBUFFER
	je .found
	cmp dword [ebx + TAG_TYPE], TAG_EFI_SYSTEM_32
	je .efi
	cmp dword [ebx + TAG_TYPE], TAG_EFI_SYSTEM_64
	je .efi
	cmp dword [ebx + TAG_TYPE], TAG_EFI_MEMORY_MAP
	jne .advance
.efi:
	inc esi
.advance:
	mov eax, [ebx + TAG_SIZE]
	cmp eax, TAG_HEADER
	jb .no_tag
	add eax, 7
	and eax, ~7
	add ebx, eax
	jc .no_tag
	jmp .tag
.no_tag:
	test esi, esi
	jz in_text
.nothing:
	ret
.found:
	cmp dword [ebx + TAG_SIZE], SCREEN_TAG_SIZE
	jb .nothing
	cmp byte [ebx + SCREEN_TYPE], TYPE_TEXT
	je in_text
	cmp byte [ebx + SCREEN_TYPE], TYPE_RGB
	je in_pixels
	ret

; EDX: the message, on an empty text page, with the cursor below it.
in_text:
	mov edi, VGA_TEXT
	mov ecx, VGA_CELLS / 2
	mov eax, VGA_BLANK << 16 | VGA_BLANK
	rep stosd
	mov edi, VGA_TEXT
.next:
	mov al, [edx]
	test al, al
	jz .done
	mov [edi], al
	inc edx
	add edi, 2
	jmp .next
.done:
	mov edx, CRTC
	mov eax, (VGA_CELLS & 0xff00) | CRTC_CURSOR_HIGH
	out dx, ax
	mov eax, (VGA_CELLS & 0xff) << 8 | CRTC_CURSOR_LOW
	out dx, ax
	ret

; EDX: the message, EBX: the framebuffer's tag. White, which is all ones whatever the colours' order, on black.
; On the stack: bytes per pixel; the next character's column, of how many; its first byte; lines of text that are left.
%define BYTES   [esp]
%define COLUMN  [esp + 4]
%define COLUMNS [esp + 8]
%define CORNER  [esp + 12]
%define LINES   [esp + 16]
LOCALS              equ 20
in_pixels:
	sub esp, LOCALS
	movzx eax, byte [ebx + SCREEN_BPP]
	add eax, 7
	shr eax, 3
	mov BYTES, eax
	cmp eax, 2
	jb .done
	cmp eax, 4
	ja .done
	cmp dword [ebx + SCREEN_ADDRESS + 4], 0
	jne .done
	mov eax, [ebx + SCREEN_WIDTH]
	shr eax, 3
	jz .done
	mov COLUMNS, eax
	mov dword COLUMN, 0

	; All of it has to be below 4 GiB, and a line to hold its pixels.
	push edx
	mov eax, [ebx + SCREEN_WIDTH]
	mul dword [esp + 4]        ; BYTES
	cmp eax, [ebx + SCREEN_PITCH]
	ja .wrong
	test edx, edx
	jnz .wrong
	mov eax, [ebx + SCREEN_PITCH]
	mul dword [ebx + SCREEN_HEIGHT]
	test edx, edx
	jnz .wrong
	mov ecx, eax
	add eax, [ebx + SCREEN_ADDRESS]
	jc .wrong
	pop edx
	mov edi, [ebx + SCREEN_ADDRESS]
	mov CORNER, edi
	shr ecx, 2
	xor eax, eax
	rep stosd
	mov eax, [ebx + SCREEN_HEIGHT]
	shr eax, 4
	mov LINES, eax

.character:
	cmp dword LINES, 0
	je .done
	movzx esi, byte [edx]
	test esi, esi
	jz .done
	inc edx
	shl esi, 4
	lea esi, [ebp + font_glyphs_off + esi]
	mov edi, CORNER
	mov ecx, GLYPH_HEIGHT
.line:
	push edi
	mov ah, [esi]
	inc esi
	push ecx
	mov ecx, GLYPH_WIDTH
.pixel:
	shl ah, 1
	sbb al, al
	push ecx
	mov ecx, [esp + 12]        ; BYTES
	rep stosb
	pop ecx
	loop .pixel
	pop ecx
	pop edi
	add edi, [ebx + SCREEN_PITCH]
	loop .line

	; The next place: to the right, or at the start of the next line.
	mov eax, BYTES
	shl eax, 3
	add CORNER, eax
	inc dword COLUMN
	mov eax, COLUMN
	cmp eax, COLUMNS
	jb .character
	mov dword COLUMN, 0
	dec dword LINES
	mov eax, BYTES
	shl eax, 3
	imul eax, COLUMNS
	sub CORNER, eax
	mov eax, [ebx + SCREEN_PITCH]
	shl eax, 4
	add CORNER, eax
	jmp .character
.wrong:
	pop edx
.done:
	add esp, LOCALS
	ret
