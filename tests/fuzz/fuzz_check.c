/* The rules of VM entry over any VMCS, a broken one too: they end with a name, and a state that is accepted stays so. */
#include "fuzz_dev.h"
#include "vmx/check.h"
#include "vmx/fields.h"
#include <tf/x86.h>

#define FIELDS 1024u

static uint64_t fields[FIELDS];
static const uint8_t *memory;
static size_t memory_size;

static unsigned index_of(uint32_t e) { return ((e >> 13 & 3) << 8 | (e >> 10 & 3) << 6 | (e >> 1 & 0x3f)) % FIELDS; }
static uint64_t read_field(void *ctx, uint32_t field) { return (void)ctx, fields[index_of(field)]; }

static bool read_memory(void *ctx, uint64_t addr, uint64_t *out)
{
	(void)ctx;
	if (memory_size < sizeof(*out) || addr > memory_size - sizeof(*out))
		return false;
	memcpy(out, memory + addr, sizeof(*out));
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct vmx_caps caps = { .revision = 1, .cr0_fixed1 = UINT32_MAX, .cr4_fixed0 = CR4_VMXE, .cr4_fixed1 = 0x1ff7fff };
	uint8_t options = (uint8_t)fuzz_take(&in, 1);
	struct vmcs_view view = { .read = read_field, .read_mem = options & 1 ? read_memory : NULL, .caps = &caps,
				  .phys_bits = 32 + (options >> 4), .linear_bits = options & 2 ? 57 : 48, .lam = options & 4, .sgx = options & 8 };
	struct vmx_broken first, second;

	caps.pin = caps.proc = caps.proc2 = caps.exit = caps.entry = ~0ull << 32;
	caps.ept_vpid = fuzz_take(&in, 4);
	caps.misc = fuzz_take(&in, 4);
	memset(fields, 0, sizeof(fields));
	for (unsigned i = 0; i < 48 && in.size; i++) {
		uint32_t which = (uint32_t)fuzz_take(&in, 2);
		uint8_t how = (uint8_t)fuzz_take(&in, 1);

		fields[which % FIELDS] = how & 0x80 ? fuzz_take(&in, 8) : how & 0x40 ? 1ull << (how & 63) : fuzz_take(&in, 2);
	}
	memory = in.data;
	memory_size = in.size;
	bool ok = vmx_check(&view, &first);
	ASSERT(ok || (first.rule && first.rule[0] && first.section && first.section[0]));
	ASSERT(ok == vmx_check(&view, &second) && (ok || first.rule == second.rule));
	for (uint64_t n = 0; n < 3; n++)
		if (!vmx_check_msr_load(&view, n, &first))
			ASSERT(first.rule && first.section);
	return 0;
}
