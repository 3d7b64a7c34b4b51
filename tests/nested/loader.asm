; Boot sector of the outer machine's disk. It reads what its table names with LBA48 PIO, which takes one emulated
; instruction per four bytes where the BIOS takes hundreds, and enters Linux through the PVH entry: 32-bit protected
; mode without paging, EBX = start info.
%define ATA_DATA	0x1f0
%define ATA_COUNT	0x1f2
%define ATA_DEVICE	0x1f6
%define ATA_COMMAND	0x1f7			; read: status
%define ATA_CONTROL	0x3f6
%define ATA_NO_IRQ	0x02			; nIEN
%define ATA_LBA		0x40
%define ATA_READ_EXT	0x24
%define ATA_BUSY	0x80
%define ATA_DRQ		0x08
%define CHUNK		0x8000			; sectors per command; at most 0xffff
%define SECTOR_DWORDS	128

	bits 16
	org 0x7c00
	cli
	xor ax, ax
	mov ds, ax
	in al, 0x92				; fast A20
	or al, 2
	and al, 0xfe
	out 0x92, al
	lgdt [gdtr]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp dword 0x08:protected

	bits 32
protected:
	mov ax, 0x10
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov esp, 0x7000
	cld
	mov dx, ATA_CONTROL
	mov al, ATA_NO_IRQ
	out dx, al
	mov esi, extents
.extent:
	mov ebx, [esi]				; first sector
	mov ebp, [esi + 4]			; sectors
	mov edi, [esi + 8]			; where to
	add esi, 12
	test ebp, ebp
	jz .done
.chunk:
	mov eax, CHUNK
	cmp ebp, eax
	jae .command
	mov eax, ebp
.command:
	sub ebp, eax
	mov ecx, eax
	mov dx, ATA_DEVICE
	mov al, ATA_LBA
	out dx, al
	mov dx, ATA_COUNT			; high bytes first, then low bytes, each count then LBA
	mov al, ch
	out dx, al
	inc edx
	mov eax, ebx
	shr eax, 24
	out dx, al
	inc edx
	xor eax, eax
	out dx, al
	inc edx
	out dx, al
	mov dx, ATA_COUNT
	mov al, cl
	out dx, al
	inc edx
	mov eax, ebx
	out dx, al
	inc edx
	shr eax, 8
	out dx, al
	inc edx
	shr eax, 8
	out dx, al
	mov dx, ATA_COMMAND
	mov al, ATA_READ_EXT
	out dx, al
	add ebx, ecx
.sector:
	mov dx, ATA_COMMAND
.wait:
	in al, dx
	test al, ATA_BUSY
	jnz .wait
	test al, ATA_DRQ
	jz .wait
	push ecx
	mov dx, ATA_DATA
	mov ecx, SECTOR_DWORDS
	rep insd
	pop ecx
	loop .sector
	test ebp, ebp
	jnz .chunk
	jmp .extent
.done:
	mov ebx, [start_info]
	xor ebp, ebp
	jmp [entry]

	align 8
gdt:	dq 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdtr:	dw gdtr - gdt - 1
	dd gdt

; Filled in by image.py, which knows this offset: two addresses, then (first sector, sectors, address) until sectors = 0.
	times 376 - ($ - $$) db 0
entry:	dd 0
start_info: dd 0
extents: times 5 * 3 dd 0

	times 446 - ($ - $$) db 0
	db 0x80, 0, 2, 0, 0x0c, 0, 3, 0		; one active partition, for the BIOS
	dd 1, 100
	times 510 - ($ - $$) db 0
	dw 0xaa55
