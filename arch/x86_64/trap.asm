; Entry of all 256 vectors. Every stub leaves the vector and an error code (0 where the CPU pushes none), and
; trap_common completes struct trap_frame (arch/x86_64/trap.h).

extern trap_entry
global trap_stubs

TRAP_STUB_SIZE equ 16              ; as in trap.c

; Vectors with an error code: SDM 3A, "Exception and Interrupt Reference"
%define HAS_ERROR(v) ((v) == 8 || ((v) >= 10 && (v) <= 14) || (v) == 17 || (v) == 21)

section .text
bits 64
align 16
trap_stubs:
%assign vector 0
%rep 256
	align TRAP_STUB_SIZE, db 0xcc
%if !HAS_ERROR(vector)
	push 0
%endif
	push dword vector
	jmp near trap_common
%assign vector vector + 1
%endrep

align 16
trap_common:
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
	; The CPU aligned RSP before it pushed, and the frame is 22 words: aligned as the ABI wants it.
	cld
	mov rdi, rsp
	; A frame record for the backtrace: who was interrupted, and where.
	push qword [rsp + 17 * 8]
	push rbp
	mov rbp, rsp
	call trap_entry
	add rsp, 2 * 8
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
	add rsp, 2 * 8
	iretq
