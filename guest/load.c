/* Recognising a guest kernel, and finding room in guest RAM for what its loader puts there. */
#include "guest/load_layout.h"

#define GDT_CODE64 0x00af9b000000ffffull
#define GDT_CODE32 0x00cf9b000000ffffull
#define GDT_DATA   0x00cf93000000ffffull
#define GDT_ENTRIES (LOAD_DS / 8 + 1)

void load_layout_init(struct load_layout *l, const struct load_mem *mem)
{
	l->mem = mem;
	l->ntaken = 0;
}

/* The taken range that [base, base + len) runs into, or NULL. */
static const struct load_range *layout_clash(const struct load_layout *l, uint64_t base, uint64_t len)
{
	for (uint32_t i = 0; i < l->ntaken; i++) {
		const struct load_range *t = &l->taken[i];

		if (base < t->base + t->len && t->base < base + len)
			return t;
	}
	return NULL;
}

enum tf_err load_take(struct load_layout *l, uint64_t base, uint64_t len)
{
	if (base + len < base)
		return TF_ERANGE;
	if (layout_clash(l, base, len))
		return TF_EEXIST;
	if (l->ntaken == LOAD_MAX_TAKEN)
		return TF_ENOMEM;
	l->taken[l->ntaken++] = (struct load_range){ base, len };
	return TF_OK;
}

/* A free, aligned place inside [lo, hi), which is one range of RAM; false if there is none. */
static bool layout_fit(const struct load_layout *l, uint64_t size, uint64_t align, uint64_t lo, uint64_t hi, bool top,
		       uint64_t *gpa)
{
	uint64_t at;

	if (lo >= hi || hi - lo < size || lo > UINT64_MAX - align)
		return false;
	at = top ? ALIGN_DOWN(hi - size, align) : ALIGN_UP(lo, align);
	while (at >= lo && at <= hi - size) {
		const struct load_range *t = layout_clash(l, at, size);

		if (!t) {
			*gpa = at;
			return true;
		}
		if (top && t->base < size)
			return false;
		at = top ? ALIGN_DOWN(t->base - size, align) : ALIGN_UP(t->base + t->len, align);
	}
	return false;
}

enum tf_err load_find(struct load_layout *l, uint64_t size, uint64_t align, uint64_t lo, uint64_t hi, bool top,
		      uint64_t *gpa)
{
	if (!size)
		return TF_EINVAL;
	for (uint32_t n = 0; n < l->mem->nmap; n++) {
		const struct mem_range *r = &l->mem->map[top ? l->mem->nmap - 1 - n : n];

		if (r->type == MEM_RAM && r->base + r->len > r->base &&
		    layout_fit(l, size, align, MAX(lo, r->base), MIN(hi, r->base + r->len), top, gpa))
			return load_take(l, *gpa, size);
	}
	return TF_ENOMEM;
}

enum tf_err load_find_low(struct load_layout *l, uint64_t size, uint64_t align, uint64_t *gpa)
{
	if (load_find(l, size, align, LOAD_LOW_START, LOAD_LOW_END, false, gpa) == TF_OK)
		return TF_OK;
	return load_find(l, size, align, LOAD_HIGH_START, LOAD_4G, false, gpa);
}

void *load_at(const struct load_layout *l, uint64_t gpa, uint64_t len)
{
	return gpa + len < gpa ? NULL : l->mem->at(l->mem->ctx, GPA(gpa), len);
}

bool load_is_ram(const struct load_layout *l, uint64_t gpa, uint64_t len)
{
	uint64_t end = gpa + len;

	for (uint32_t i = 0; end > gpa && i < l->mem->nmap; i++) {
		const struct mem_range *r = &l->mem->map[i];

		if (r->type == MEM_RAM && gpa >= r->base && gpa - r->base < r->len)
			gpa = MIN(end, r->base + r->len);
	}
	return gpa == end;
}

/* Page by page: RAM may be made of pieces that are not neighbours in the hypervisor's address space. No data: zeros. */
static enum tf_err write_pages(const struct load_layout *l, uint64_t gpa, const uint8_t *data, uint64_t len)
{
	if (!load_is_ram(l, gpa, len))
		return TF_EFAULT;
	while (len) {
		uint64_t n = MIN(len, PAGE_SIZE - (gpa & (PAGE_SIZE - 1)));
		void *p = load_at(l, gpa, n);

		if (!p)
			return TF_EFAULT;
		if (data) {
			memcpy(p, data, n);
			data += n;
		} else {
			memset(p, 0, n);
		}
		gpa += n;
		len -= n;
	}
	return TF_OK;
}

enum tf_err load_copy(const struct load_layout *l, uint64_t gpa, const void *data, uint64_t len)
{
	return write_pages(l, gpa, data, len);
}

enum tf_err load_clear(const struct load_layout *l, uint64_t gpa, uint64_t len)
{
	return write_pages(l, gpa, NULL, len);
}

void load_put(struct load_writer *w, const void *data, uint64_t len)
{
	if (w->l && len && w->error == TF_OK)
		w->error = load_copy(w->l, w->gpa, data, len);
	w->gpa += len;
}

enum tf_err load_flat_gdt(struct load_layout *l, bool long64, struct load_entry *out)
{
	uint64_t *gdt, stack;
	enum tf_err e = load_find_low(l, GDT_ENTRIES * sizeof(*gdt), PAGE_SIZE, &out->gdt_base);

	if (e == TF_OK)
		e = load_find_low(l, LOAD_STACK_SIZE, PAGE_SIZE, &stack);
	if (e != TF_OK)
		return e;
	gdt = load_at(l, out->gdt_base, GDT_ENTRIES * sizeof(*gdt));
	if (!gdt)
		return TF_EFAULT;
	memset(gdt, 0, GDT_ENTRIES * sizeof(*gdt));
	gdt[LOAD_CS / 8] = long64 ? GDT_CODE64 : GDT_CODE32;
	gdt[LOAD_DS / 8] = GDT_DATA;
	out->gdt_limit = GDT_ENTRIES * sizeof(*gdt) - 1;
	out->cs = LOAD_CS;
	out->ds = LOAD_DS;
	out->rsp = stack + LOAD_STACK_SIZE;
	return TF_OK;
}

void load_mem_kib(const struct load_mem *mem, uint32_t *lower, uint32_t *upper)
{
	uint64_t low = 0, high = LOAD_HIGH_START;

	for (uint32_t i = 0; i < mem->nmap; i++) {
		const struct mem_range *r = &mem->map[i];

		if (r->type != MEM_RAM)
			continue;
		if (r->base <= low && r->base + r->len > low)
			low = r->base + r->len;
		if (r->base <= high && r->base + r->len > high)
			high = r->base + r->len;
	}
	*lower = (uint32_t)(MIN(low, KiB(640)) >> 10);
	*upper = (uint32_t)MIN((high - LOAD_HIGH_START) >> 10, UINT32_MAX);
}

enum tf_err load_place_modules(struct load_layout *l, const struct load_request *req, uint64_t above,
			       struct load_range *range, const char **why)
{
	for (uint32_t i = 0; i < req->nmodules; i++) {
		const struct load_blob *m = &req->modules[i];
		uint64_t lo = MAX(above, LOAD_HIGH_START);

		range[i].len = m->size;
		if (load_find(l, MAX(m->size, PAGE_SIZE), PAGE_SIZE, lo, LOAD_4G, false, &range[i].base) != TF_OK &&
		    load_find(l, MAX(m->size, PAGE_SIZE), PAGE_SIZE, LOAD_HIGH_START, LOAD_4G, false, &range[i].base) != TF_OK)
			return load_fail(why, "a module does not fit in RAM", TF_ENOMEM);
		if (m->size && load_copy(l, range[i].base, m->data, m->size) != TF_OK)
			return load_fail(why, "a module's place is not RAM", TF_EFAULT);
	}
	return TF_OK;
}

enum tf_err load_kernel(const struct load_request *req, struct load_entry *out, const char **why)
{
	const struct load_blob *k = &req->kernel;
	enum vm_kind kind = req->kind;

	*why = NULL;
	memset(out, 0, sizeof(*out));
	if (req->nmodules > VM_MAX_MODULES)
		return load_fail(why, "too many modules", TF_ERANGE);
	if (kind == VM_AUTO) {
		if (load_is_linux(k))
			kind = VM_LINUX;
		else if (load_is_multiboot2(k))
			kind = VM_MULTIBOOT2;
		else if (load_is_multiboot(k))
			kind = VM_MULTIBOOT;
	}
	switch (kind) {
	case VM_LINUX:
		return load_linux(req, out, why);
	case VM_MULTIBOOT:
		return load_multiboot(req, out, why);
	case VM_MULTIBOOT2:
		return load_multiboot2(req, out, why);
	case VM_AUTO:
		break;
	}
	return load_fail(why, "the kernel has no header of a bzImage, of Multiboot or of Multiboot2", TF_ENOTSUP);
}
