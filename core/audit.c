#include "core/audit.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/percpu.h"
#include "arch/x86_64/pte.h"
#include "arch/x86_64/smp.h"
#include "arch/x86_64/tsc.h"
#include "core/sched.h"
#include "core/vmm.h"
#include "ept/ept_audit.h"
#include "guest/audit.h"
#include "lib/frameset.h"
#include "vmx/cpu.h"
#include <tf/dev.h>
#include <tf/log.h>
#include <tf/string.h>

#define LINES_MAX   16         /* violations that are logged, of each VM and of the host */
#define OWNER_MAX   64
#define CANONICAL   BIT(47)    /* from here on addresses of the tables are the upper half's */
#define TABLES_MAX  BIT(18)    /* looked through for an owner: tables that are wrong may lead in circles */
#define CPUID_ADDRESS_SIZES 0x80000008u

enum wrong { WRONG_SHARED, WRONG_FOREIGN, WRONG_WX, WRONG_OTHER, WRONGS };

/* The audit in progress; touched by `work` only. */
static struct {
	bool requested, running;
	uint32_t next;             /* the VM that is next; behind the last one the host */
	struct frameset set;       /* frames whose owner has been met */
	hpa_t storage;
	unsigned order;
	uint64_t total, longest;

	struct vm *vm;             /* whose piece this is; NULL: the hypervisor's */
	uint64_t wrong[WRONGS], lines, pages, tables, bytes;
	uint64_t clash;            /* the first frame with two owners among those claimed last, UINT64_MAX: none */
	uint64_t cr3;              /* the hypervisor's */
	bool careless;             /* atomic: a CPU has another one, or does not keep to it */
	uint64_t page_end;         /* host: where the page before ended */
	bool page_stack;
} audit;

static const struct boot_info *boot;

void audit_init(const struct boot_info *bi) { boot = bi; }

void audit_request(void)
{
	audit.requested = true;
	sched_poke();
}

static uint64_t image(const char *p) { return virt_to_phys(p).v; }

static unsigned phys_bits(void) { return cpuid(CPUID_ADDRESS_SIZES, 0).eax & 0xff; }

/* All frames of the hypervisor that are known by name, except its page tables; the rest are just its own. */
static void host_each_frames(frames_fn fn, void *ctx)
{
	frames_each(fn, ctx);
	fn(ctx, "image", image(image_start), image(image_start) + (uint64_t)(image_end - image_start));
	for (uint32_t i = 0; i < boot->nmodules; i++)
		fn(ctx, "boot module", ALIGN_DOWN(boot->modules[i].start.v, PAGE_SIZE),
		   ALIGN_UP(boot->modules[i].start.v + boot->modules[i].size, PAGE_SIZE));
	for (uint32_t i = 0; i < MAX_CPUS; i++)
		if (cpus[i] && cpus[i]->vmx) {
			const struct vmx_cpu *c = cpus[i]->vmx;

			fn(ctx, "VMXON region", c->vmxon.v, c->vmxon.v + PAGE_SIZE);
		}
}

/* Who has this frame? */
struct search {
	uint64_t frame, tables;
	const struct vm *vm;
	const char *what;
};

static void match(void *ctx, const char *what, uint64_t start, uint64_t end)
{
	struct search *s = ctx;

	if (!s->what && s->frame >= start && s->frame < end)
		s->what = what;
}

static const uint64_t *match_table(void *ctx, uint64_t frame, uint64_t addr)
{
	struct search *s = ctx;

	(void)addr;
	match(s, s->vm ? "EPT table" : "page table", frame, frame + PAGE_SIZE);
	if (s->what || ++s->tables > TABLES_MAX || !spans_contain(frames_ram(), frame, frame + PAGE_SIZE))
		return NULL;
	return phys_to_virt(HPA(frame));
}

static void ignore_leaf(void *ctx, const struct table_leaf *leaf) { (void)ctx, (void)leaf; }
static void ignore_wrong(void *ctx, uint64_t addr, uint64_t entry, const char *what)
{
	(void)ctx, (void)addr, (void)entry, (void)what;
}

static const char *owner_of(uint64_t frame, char name[OWNER_MAX])
{
	struct search s = { .frame = frame };
	struct table_walk w = { .format = &ept_table_format, .phys_bits = phys_bits(), .ctx = &s, .table = match_table,
				.leaf = ignore_leaf, .wrong = ignore_wrong };

	/* In the order in which they are claimed. */
	for (uint32_t i = 0; i < vmm_count() && !s.what; i++) {
		s.vm = vmm_vm(i);
		vm_each_frames(s.vm, match, &s);
		table_walk(&w, s.vm->ept.root.v);
	}
	if (!s.what) {
		s.vm = NULL;
		w.format = &pte_table_format;
		table_walk(&w, read_cr3() & TABLE_ADDR);
	}
	host_each_frames(match, &s);
	if (!s.what)
		s.what = spans_contain(frames_ram(), frame, frame + PAGE_SIZE) ? "memory" : "no RAM";
	tf_snprintf(name, OWNER_MAX, "%s%s: %s", s.vm ? "vm " : "hypervisor", s.vm ? s.vm->cfg.name : "", s.what);
	return name;
}

static void report(enum wrong kind, uint64_t addr, uint64_t frame, const char *reason)
{
	char owner[OWNER_MAX];

	audit.wrong[kind]++;
	if (++audit.lines > LINES_MAX)
		return;
	frame &= TABLE_ADDR;
	if (!audit.vm && addr >= CANONICAL)
		addr |= ~(CANONICAL - 1);
	owner_of(frame, owner);
	if (audit.vm)
		log_error("audit", "vm=%s event=audit-failed address=%lx frame=%lx owner=\"%s\" reason=%s", audit.vm->cfg.name,
			  addr, frame, owner, reason);
	else
		log_error("audit", "event=audit-failed address=%lx frame=%lx owner=\"%s\" reason=%s", addr, frame, owner, reason);
}

/* Takes note only: some of those who enumerate hold a lock. */
static void claim(void *ctx, const char *what, uint64_t start, uint64_t end)
{
	uint64_t at = frameset_add(&audit.set, start, end);

	(void)ctx, (void)what;
	audit.bytes += end - start;
	if (audit.clash == UINT64_MAX)
		audit.clash = at;
}

static void report_clash(void)
{
	if (audit.clash != UINT64_MAX)
		report(WRONG_SHARED, 0, audit.clash, "a frame with two owners, of whom this is the first");
	audit.clash = UINT64_MAX;
}

static const uint64_t *claim_table(void *ctx, uint64_t frame, uint64_t addr)
{
	(void)ctx;
	audit.tables++;
	if (!spans_contain(frames_ram(), frame, frame + PAGE_SIZE)) {
		report(WRONG_OTHER, addr, frame, "a table outside RAM");
		return NULL;
	}
	audit.bytes += PAGE_SIZE;
	if (frameset_add(&audit.set, frame, frame + PAGE_SIZE) != UINT64_MAX) {
		report(WRONG_SHARED, addr, frame, "a table in a frame that has an owner already");
		return NULL;
	}
	return phys_to_virt(HPA(frame));
}

static void report_entry(void *ctx, uint64_t addr, uint64_t entry, const char *what)
{
	(void)ctx;
	report(WRONG_OTHER, addr, entry, what);
}

static void guest_page(void *ctx, const struct table_leaf *leaf)
{
	bool foreign;
	const char *why = vm_page_wrong(audit.vm, leaf, &foreign);

	(void)ctx;
	audit.pages++;
	if (why)
		report(foreign ? WRONG_FOREIGN : WRONG_OTHER, leaf->addr, leaf->frame, why);
}

/* Guests' RAM is writable and executable for them; of the hypervisor's mappings none may be. */
static const char *host_page_wrong(const struct table_leaf *l)
{
	bool write = l->rights & PTE_W, execute = l->rights & PTE_NX, stack = l->entry & PTE_STACK;
	bool unguarded = stack && !audit.page_stack && audit.page_end == l->addr;

	audit.page_end = l->addr + l->size;
	audit.page_stack = stack;
	if (l->addr < CANONICAL)
		return "a page in the lower half";
	if (l->rights & PTE_U)
		return "a page of user mode";
	if (write && execute)
		return "a page that is writable and executable";
	if (execute && (l->frame < image(text_start) || l->frame + l->size > image(text_start) + (uint64_t)(text_end - text_start)))
		return "an executable page outside the image's code";
	if (write && l->frame < image(text_start) + (uint64_t)(rodata_end - text_start) && l->frame + l->size > image(text_start))
		return "the image's code or constants by a writable name";
	if ((l->entry & (PTE_PWT | PTE_PCD)) && spans_overlap(frames_ram(), l->frame, l->frame + l->size))
		return "RAM as a device";
	return unguarded ? "a stack without a guard page" : NULL;
}

static void host_page(void *ctx, const struct table_leaf *leaf)
{
	const char *why = host_page_wrong(leaf);

	(void)ctx;
	audit.pages++;
	if (why)
		report((leaf->rights & PTE_W) && (leaf->rights & PTE_NX) ? WRONG_WX : WRONG_OTHER, leaf->addr, leaf->frame, why);
}

static void begin_piece(struct vm *vm)
{
	audit.vm = vm;
	memset(audit.wrong, 0, sizeof(audit.wrong));
	audit.lines = audit.pages = audit.tables = audit.bytes = 0;
}

static uint64_t end_piece(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < WRONGS; i++)
		n += audit.wrong[i];
	audit.total += n;
	return n;
}

static void audit_vm(struct vm *vm)
{
	const struct table_walk w = { .format = &ept_table_format, .phys_bits = phys_bits(), .table = claim_table,
				      .leaf = guest_page, .wrong = report_entry };

	begin_piece(vm);
	vm_each_frames(vm, claim, NULL);
	report_clash();
	table_walk(&w, vm->ept.root.v);
	for (uint32_t i = 0; i < vm->nvcpus; i++) {
		struct vmx_vcpu *v = &vm->vcpus[i]->vmx;
		bool ours = v->cpu == this_cpu();
		const char *why = vm_vmcs_wrong(vm, vm->vcpus[i], read_cr3());

		if (!ours)
			vmx_vcpu_unload(v);
		if (why)
			report(WRONG_OTHER, 0, vm->vcpus[i]->vmx.vmcs.v, why);
	}
	uint64_t n = end_piece();
	log_info("audit", "vm=%s event=audit pages=%lu tables=%lu memory=%luK shared=%lu foreign=%lu other=%lu result=%s",
		 vm->cfg.name, audit.pages, audit.tables, audit.bytes >> 10, audit.wrong[WRONG_SHARED],
		 audit.wrong[WRONG_FOREIGN], audit.wrong[WRONG_OTHER], n ? "failed" : "ok");
}

static bool keeps_rights(void)
{
	return read_cr3() == audit.cr3 && (read_cr0() & CR0_WP) && (rdmsr(MSR_IA32_EFER) & EFER_NXE);
}

static bool runs_here(const struct vcpu *v)
{
	return __atomic_load_n(&v->on_cpu, __ATOMIC_SEQ_CST) == (int32_t)this_cpu()->id;
}

/* One that does not run may have its next turn on another CPU, which must find all of it in memory. */
static void take_off(struct vcpu *v)
{
	if (v->vmx.cpu != this_cpu())
		return;
	if (runs_here(v))
		vmx_vcpu_unload(&v->vmx);
	else
		vcpu_release(v);
}

/* On each other CPU, for the time of a piece: what is in its caches of VMCSs becomes memory. */
static void be_audited(void *ctx)
{
	(void)ctx;
	if (!keeps_rights())
		__atomic_store_n(&audit.careless, true, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < vmm_count(); i++)
		for (uint32_t j = 0; j < vmm_vm(i)->nvcpus; j++)
			take_off(vmm_vm(i)->vcpus[j]);
}

static void go_on(void *ctx)
{
	struct vcpu *v = this_cpu()->guest;

	(void)ctx;
	if (v && runs_here(v))
		vmx_vcpu_load(&v->vmx);
}

static void audit_host(void)
{
	const struct table_walk w = { .format = &pte_table_format, .phys_bits = phys_bits(), .table = claim_table,
				      .leaf = host_page, .wrong = report_entry };

	begin_piece(NULL);
	audit.page_end = 0;
	audit.page_stack = false;
	table_walk(&w, read_cr3() & TABLE_ADDR);
	if (!keeps_rights() || audit.careless)
		report(WRONG_OTHER, 0, read_cr3(), "the CPU does not keep to the rights of its page tables");
	/* Last: a free frame that anyone has met so far is in use all the same. */
	host_each_frames(claim, NULL);
	report_clash();
	uint64_t n = end_piece();
	log_info("audit", "event=audit pages=%lu tables=%lu shared=%lu writable-executable=%lu other=%lu result=%s", audit.pages,
		 audit.tables, audit.wrong[WRONG_SHARED], audit.wrong[WRONG_WX], audit.wrong[WRONG_OTHER], n ? "failed" : "ok");
}

static bool begin(void)
{
	audit.requested = false;
	audit.order = frame_order(frameset_storage(frames_ram()));
	if (frame_alloc(audit.order, &audit.storage)) {
		log_warn("audit", "event=audit-impossible reason=no memory for a bit of each frame");
		return false;
	}
#ifdef TF_TEST_HOOKS
	test_hook_before_audit();
#endif
	frameset_init(&audit.set, frames_ram(), phys_to_virt(audit.storage));
	audit.next = 0;
	audit.total = audit.longest = 0;
	audit.careless = false;
	audit.clash = UINT64_MAX;
	return audit.running = true;
}

static void end(void)
{
	audit.running = false;
	frame_free(audit.storage, audit.order);
	log_info("audit", "event=audit-done vms=%u free=%luK wrong=%lu longest=%lu result=%s", vmm_count(),
		 frames_free_bytes() >> 10, audit.total, tsc_to_us(audit.longest), audit.total ? "failed" : "ok");
}

/* False: nothing is left to do. */
static bool step(void)
{
	uint64_t start = rdtsc();

	if (!audit.running) {
		if (!audit.requested)
			return false;
		if (!begin())
			return false;
	} else if (audit.next < vmm_count()) {
		audit_vm(vmm_vm(audit.next++));
	} else {
		audit_host();
		audit.longest = MAX(audit.longest, rdtsc() - start);
		end();
		return false;
	}
	audit.longest = MAX(audit.longest, rdtsc() - start);
	return true;
}

uint64_t audit_work(void)
{
	if (!audit.running && !audit.requested)
		return DEV_NEVER;
	audit.cr3 = read_cr3();
	smp_hold(be_audited, go_on, NULL);
	bool more = step();
	smp_release();
	return more ? 0 : DEV_NEVER;
}

#ifdef TF_TEST_HOOKS
uint64_t audit_now(void)
{
	audit.cr3 = read_cr3();
	audit.requested = true;
	while (step())
		continue;
	return audit.total;
}
#endif
