/*
 * The guest's data and I/O breakpoints where the access is emulated: the CPU, which has DR0 to DR3, never sees it (SDM 3B,
 * "Debug Registers", "Data Breakpoint Exception Condition"). They are traps: what was hit waits for the next entry.
 */
#include "arch/x86_64/cpu.h"
#include "guest/exit.h"

#define DR7_RW(dr7, n)  ((dr7) >> (16 + 4 * (n)) & 3)
#define DR7_LEN(dr7, n) ((dr7) >> (18 + 4 * (n)) & 3)
enum { RW_WRITE = 1, RW_PORT = 2, RW_ACCESS = 3 };

/* B0 to B3 for a range, also of those that DR7 does not enable, if it enables one of them. */
static uint64_t match(uint64_t first, uint64_t size, unsigned rw, unsigned also)
{
	static const uint8_t length[] = { 1, 2, 8, 4 };
	const uint64_t at[] = { read_dr0(), read_dr1(), read_dr2(), read_dr3() };
	uint64_t dr7 = vmcs_read(VMCS_GUEST_DR7), hits = 0;

	for (unsigned n = 0; n < ARRAY_SIZE(at); n++) {
		uint64_t len = length[DR7_LEN(dr7, n)], start = at[n] & ~(len - 1);

		if ((DR7_RW(dr7, n) != rw && DR7_RW(dr7, n) != also) || start + (len - 1) < first || start > first + (size - 1))
			continue;
		hits |= BIT(n);
		if (dr7 >> (2 * n) & 3)
			hits |= PENDING_DEBUG_ENABLED;
	}
	return hits & PENDING_DEBUG_ENABLED ? hits : 0;
}

uint64_t breakpoint_data(uint64_t linear, uint64_t size, bool write)
{
	return match(linear, size, RW_ACCESS, write ? RW_WRITE : RW_ACCESS);
}

uint64_t breakpoint_port(uint16_t port, uint8_t size)
{
	return vmcs_read(VMCS_GUEST_CR4) & CR4_DE ? match(port, size, RW_PORT, RW_PORT) : 0;
}

void breakpoint_pend(uint64_t hits)
{
	if (hits)
		vmcs_write(VMCS_GUEST_PENDING_DEBUG, vmcs_read(VMCS_GUEST_PENDING_DEBUG) | hits);
}
