#include "core/statistics.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/smp.h"
#include "arch/x86_64/tsc.h"
#include "core/report.h"
#include "core/sched.h"
#include "core/stats_table.h"
#include "core/terminal.h"
#include "core/vmm.h"
#include <tf/dev.h>
#include <tf/log.h>
#include <tf/string.h>

#define VIEW_LINES  23 /* of a terminal's 24: the cursor is in the last */
#define VIEW_US     1000000
#define TABLE_KINDS 8  /* of a vCPU, where room does not count */

static bool reset_asked;  /* atomic */
static uint64_t paint_at; /* TSC */

_Static_assert(STAT_KINDS <= STATS_KINDS_MAX, "a table of all kinds");

/* vCPUs of a VM, from `first` on. */
struct part { const struct vm *vm; uint32_t first, n; };

static void get(const void *ctx, uint32_t kind, struct exit_stat *out)
{
	const struct part *p = ctx;

	*out = (struct exit_stat){ 0 };
	for (uint32_t i = p->first; i < p->first + p->n; i++)
		stats_add(out, &p->vm->vcpus[i]->stats[kind]);
}

static const char *kind_name(uint32_t kind) { return kind == STAT_TURN ? "turn" : vmx_exit_name(kind); }

static size_t table(char *out, size_t size, const struct part *p, unsigned rows)
{
	char title[VM_NAME_MAX];
	struct stats_source s = { .ctx = p, .get = get, .name = kind_name, .kinds = STAT_KINDS, .tsc_hz = tsc_hz };

	for (uint32_t i = p->first; i < p->first + p->n; i++)
		s.ran += p->vm->vcpus[i]->ran - p->vm->vcpus[i]->stats_from;
	if (p->n == p->vm->nvcpus)
		(void)tf_strcpy(title, p->vm->cfg.name, sizeof(title));
	else
		tf_snprintf(title, sizeof(title), "vcpu %u", p->first);
	return stats_table(out, size, title, &s, rows);
}

/* A VM with one vCPU has one part, another one as a whole and each vCPU. */
static uint32_t parts(const struct vm *vm) { return vm->nvcpus == 1 ? 1 : 1 + vm->nvcpus; }
static struct part part(const struct vm *vm, uint32_t i)
{
	return i ? (struct part){ vm, i - 1, 1 } : (struct part){ vm, 0, vm->nvcpus };
}

/* The VM that number *i is one of, where each has as many as `each` says. */
static const struct vm *find(uint32_t *i, uint32_t (*each)(const struct vm *vm))
{
	for (uint32_t id = 0; id < vmm_count(); *i -= each(vmm_vm(id++)))
		if (*i < each(vmm_vm(id)))
			return vmm_vm(id);
	return NULL;
}

static int head(char *out, size_t size)
{
	uint64_t up = tsc_to_us(rdtsc() - tsc_boot);

	return tf_snprintf(out, size, "up %lu.%03lu s, %lu MiB of %lu MiB free\n" STATS_HEAD, up / 1000000, up / 1000 % 1000,
			   frames_free_bytes() >> 20, frames_total_bytes() >> 20);
}

/* --- the view */

/* Of the guest that has the focus all parts; without one all guests, as many as there is room for. */
static void paint(const struct vm *focused)
{
	char text[VIEW_LINES * (sizeof(STATS_HEAD) + 8)];
	uint32_t n = focused ? parts(focused) : vmm_count(), room = VIEW_LINES - 2;
	uint32_t each = MAX(room / n, 3u); /* lines */
	size_t len = (size_t)head(text, sizeof(text));

	for (uint32_t i = 0; i < MIN(n, room / each); i++) {
		struct part p = focused ? part(focused, i) : part(vmm_vm(i), 0);

		len += table(text + len, sizeof(text) - len, &p, each - 2);
	}
	terminal_paint(text, len);
}

static void nothing(void *ctx) { (void)ctx; }

/* Counting needs no lock since nobody counts now. */
static void reset(void)
{
	smp_hold(nothing, nothing, NULL);
	for (uint32_t id = 0; id < vmm_count(); id++)
		for (uint32_t i = 0; i < vmm_vm(id)->nvcpus; i++) {
			struct vcpu *v = vmm_vm(id)->vcpus[i];

			memset(v->stats, 0, sizeof(v->stats));
			v->stats_from = v->ran;
		}
	smp_release();
	log_info("statistics", "event=statistics-reset");
}

void statistics_reset(void)
{
	__atomic_store_n(&reset_asked, true, __ATOMIC_RELEASE);
	sched_poke();
}

uint64_t statistics_work(void)
{
	struct vm *focused;
	uint64_t now = rdtsc();

	if (__atomic_exchange_n(&reset_asked, false, __ATOMIC_ACQUIRE))
		reset();
	if (!terminal_view(&focused)) {
		paint_at = 0;
		return DEV_NEVER;
	}
	if (now >= paint_at) {
		paint(focused);
		paint_at = now + tsc_from_us(VIEW_US);
	}
	return paint_at;
}

/* --- reports */

static int part_piece(const struct part *p, char *out, size_t size)
{
	const struct vcpu *v = p->vm->vcpus[p->first];
	size_t len = 0;

	if (p->n == 1)
		len = (size_t)tf_snprintf(out, size, "%s vcpu %u: ran %lu ms, waited %lu ms, on cpu %u, moved %lu times\n",
					  p->vm->cfg.name, p->first, tsc_to_us(v->ran) / 1000, tsc_to_us(v->waited) / 1000,
					  v->home, v->migrations);
	if (p->n == p->vm->nvcpus)
		len += (size_t)tf_snprintf(out + len, size - len, "%s: absent ports %lu, absent addresses %lu, denied MSRs %lu\n",
					   p->vm->cfg.name, p->vm->pio.absent, p->vm->mmio.absent, p->vm->denied_msr);
	return (int)(len + table(out + len, size - len, p, TABLE_KINDS));
}

int statistics_piece(uint32_t at, char *out, size_t size)
{
	if (at < smp_cpus())
		return tf_snprintf(out, size, "cpu %u: idle %lu ms\n", at, tsc_to_us(sched_idle_ticks(at)) / 1000);
	at -= smp_cpus();
	if (!at)
		return head(out, size);
	at--;
	const struct vm *vm = find(&at, parts);
	struct part p = vm ? part(vm, at) : (struct part){ 0 };
	return vm ? part_piece(&p, out, size) : -1;
}

static uint32_t rows(const struct vm *vm) { return vm->nvcpus * STAT_KINDS; }

int statistics_csv_piece(uint32_t at, char *out, size_t size)
{
	if (!at)
		return tf_snprintf(out, size, "csv: vm,vcpu,kind,count,ticks,max,buckets\n");
	at--;
	const struct vm *vm = find(&at, rows);
	if (!vm)
		return -1;
	struct exit_stat s = { 0 };
	stats_add(&s, &vm->vcpus[at / STAT_KINDS]->stats[at % STAT_KINDS]);
	uint64_t n = stats_exits(&s);
	if (!n)
		return 0;
	int len = tf_snprintf(out, size, "csv: %s,%u,%s,%lu,%lu,%u", vm->cfg.name, at / STAT_KINDS, kind_name(at % STAT_KINDS), n,
			      s.ticks, s.max);
	for (unsigned i = 0; i < STAT_BUCKETS; i++)
		len += tf_snprintf(out + len, size - (size_t)len, ",%lu", s.count[i]);
	out[len++] = '\n';
	return len;
}
