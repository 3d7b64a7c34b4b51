/* Every loader over arbitrary kernel bytes, into guest RAM of exactly its size. The first byte chooses kind and memory. */
#include "../unit/fake_ram.h"
#include <tf/assert.h>

#define KIND_MASK  3
#define WITH_EXTRA 4 /* an initrd, or for Multiboot two modules */
#define MORE_RAM   8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t extra[5000] = { 1, 2, 3 };
	struct load_request req = { .cmdline = "console=ttyS0 x=1" };
	struct load_entry out;
	struct fake_ram ram;
	const char *why;
	enum tf_err e;

	if (!size)
		return 0;
	fake_ram_init(&ram, data[0] & MORE_RAM ? MiB(6) : MiB(2));
	req.mem = &ram.mem;
	req.kind = (enum vm_kind)(data[0] & KIND_MASK);
	req.kernel = (struct load_blob){ data + 1, size - 1, "kernel" };
	if (data[0] & WITH_EXTRA) {
		if (req.kind == VM_LINUX) {
			req.initrd = (struct load_blob){ extra, sizeof(extra), "initrd" };
		} else {
			req.modules[0] = (struct load_blob){ extra, sizeof(extra), "one arg" };
			req.modules[1] = (struct load_blob){ extra, 0, "empty" };
			req.nmodules = 2;
		}
	}
	e = load_kernel(&req, &out, &why);
	ASSERT((e == TF_OK) == (why == NULL));
	if (e == TF_OK) {
		ASSERT(fake_at(&ram, GPA(out.rip), 1));
		ASSERT(fake_at(&ram, GPA(out.gdt_base), out.gdt_limit + 1u));
		ASSERT(fake_at(&ram, GPA(out.rsp - 16), 16));
		ASSERT(out.mode == LOAD_LONG64 ? fake_at(&ram, GPA(out.cr3), PAGE_SIZE) && fake_at(&ram, GPA(out.rsi), PAGE_SIZE)
					       : fake_at(&ram, GPA(out.rbx), 8) != NULL);
	}
	fake_ram_free(&ram);
	return 0;
}
