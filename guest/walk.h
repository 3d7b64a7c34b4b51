/* The guest's own view of memory: segments and paging, as the CPU would apply them to an access that we make for it. */
#pragma once
#include "guest/insn.h"
#include "guest/vm.h"

#define ACCESS_WRITE BIT(0)
#define ACCESS_FETCH BIT(1)
#define ACCESS_SYSTEM BIT(2) /* supervisor whatever the CPL: descriptor tables */

/* Translates. TF_EFAULT: a page fault is to be raised, *error is its error code. Sets accessed and dirty flags. */
__must_check enum tf_err walk_linear(struct vcpu *v, uint64_t linear, uint32_t access, gpa_t *out, uint32_t *error);
/* seg:offset for an access of `size` bytes: limit, type, canonical and alignment checks. TF_EFAULT: #GP, #SS or #AC was injected, *act says what to do. */
__must_check enum tf_err walk_segment(struct vcpu *v, enum insn_seg seg, uint64_t offset, uint64_t size, bool write,
				      uint64_t *linear, enum action *act);
/* Copies bytes at a linear address that must be RAM; TF_EFAULT: #PF was injected (see *act); TF_ERANGE: not RAM. */
__must_check enum tf_err walk_copy(struct vcpu *v, uint64_t linear, void *buf, uint64_t len, uint32_t access, enum action *act);
/* The code bytes at RIP, up to n, as many as can be read without a fault. */
size_t walk_fetch(struct vcpu *v, uint8_t *buf, size_t n);
/*
 * In 64-bit mode, where walk_fetch() has found 16 bytes in one page of RAM just now: notes how to find them again. False: they
 * are not so.
 */
bool walk_note(struct vcpu *v, uint64_t rip, struct walk_note *note);
enum insn_mode walk_code_mode(void);
