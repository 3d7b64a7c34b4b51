/* On the host, in the place of vmx/vmcs.h: the current VMCS is data (tests/vtx/machine.c). */
#pragma once
#include "vmx/fields.h"

uint64_t vmcs_vmread(uint32_t field);
void vmcs_vmwrite(uint32_t field, uint64_t v);

#define VMCS_ACCESSORS(suffix, type)                                                                                  \
	static inline type vmcs_read_##suffix(struct vmcs_##suffix f) { return (type)vmcs_vmread(f.enc); } \
	static inline void vmcs_write_##suffix(struct vmcs_##suffix f, type v) { vmcs_vmwrite(f.enc, v); }
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
