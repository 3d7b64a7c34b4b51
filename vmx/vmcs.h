/* Access to the current VMCS. A VMREAD or VMWRITE that fails is our bug: it stops the machine and names field and caller. */
#pragma once
#include "vmx/fields.h"

/* Both name their caller. */
__noreturn void vmcs_read_failed(uint32_t field);
__noreturn void vmcs_write_failed(uint32_t field, uint64_t value);

#ifdef TF_TEST_HOOKS
/* The operand that this use of the instruction gets: a wrong one where it is to fail. tests/hooks/faults.c */
uint64_t test_hook_vmx(const char *insn, uint64_t operand);
#else
#define test_hook_vmx(insn, operand) (operand)
#endif

static inline __attribute__((always_inline)) uint64_t vmcs_vmread(uint32_t field)
{
	uint64_t v;
	__asm__ goto("vmread %1, %0\n\tjbe %l[failed]" : "=r"(v) : "r"(test_hook_vmx("vmread", (uint64_t)field)) : "cc" : failed);
	return v;
failed:
	vmcs_read_failed(field);
}

static inline __attribute__((always_inline)) void vmcs_vmwrite(uint32_t field, uint64_t v)
{
	__asm__ goto("vmwrite %1, %0\n\tjbe %l[failed]" : : "r"(test_hook_vmx("vmwrite", (uint64_t)field)), "rm"(v) : "cc" : failed);
	return;
failed:
	vmcs_write_failed(field, v);
}

#define VMCS_ACCESSORS(suffix, type)                                                                                       \
	static inline __attribute__((always_inline)) type vmcs_read_##suffix(struct vmcs_##suffix f)                       \
	{                                                                                                                  \
		return (type)vmcs_vmread(f.enc);                                                                           \
	}                                                                                                                  \
	static inline __attribute__((always_inline)) void vmcs_write_##suffix(struct vmcs_##suffix f, type v)              \
	{                                                                                                                  \
		vmcs_vmwrite(f.enc, v);                                                                                    \
	}
VMCS_ACCESSORS(f16, uint16_t)
VMCS_ACCESSORS(f32, uint32_t)
VMCS_ACCESSORS(f64, uint64_t)
VMCS_ACCESSORS(fnat, uint64_t)
#undef VMCS_ACCESSORS

#define vmcs_read(field)                                                                         \
	_Generic((field), struct vmcs_f16: vmcs_read_f16, struct vmcs_f32: vmcs_read_f32,        \
		 struct vmcs_f64: vmcs_read_f64, struct vmcs_fnat: vmcs_read_fnat)(field)
#define vmcs_write(field, v)                                                                     \
	_Generic((field), struct vmcs_f16: vmcs_write_f16, struct vmcs_f32: vmcs_write_f32,      \
		 struct vmcs_f64: vmcs_write_f64, struct vmcs_fnat: vmcs_write_fnat)(field, v)
