#include "core/screen.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/percpu.h"
#include "arch/x86_64/tsc.h"
#include "core/vt.h"
#include "drivers/framebuffer.h"
#include "drivers/vga_text.h"
#include "lib/font.h"
#include <tf/dev.h>

#define EARLY_CELLS    2560 /* until there are frames: 80 * 25, or 20 lines of a screen of 1024 pixels */

#define STALE_TRIES    1000000

/* In instructions, roughly. */
#define COST_STEP      30000
#define COST_COMPARED  8   /* four cells that are right already */
#define COST_CHARACTER 300 /* in a text page: few, but a VGA takes a microsecond for each, and an emulated one more */
#define COST_LINE      25  /* of a glyph, with 32 bits per pixel */
#define COST_ANY_LINE  120
#define FRAME_US       20000
#define STEP_US        250
#define STEP_REST      10  /* times as long as a step took, until the next */

enum mode { MODE_START, MODE_PACED, MODE_IMMEDIATE }; /* only MODE_PACED leaves painting to screen_paint() */

/* Whoever is inside owns all that follows. */
static struct cpu *owner;
static bool faulted, dead; /* the owner had a fault inside, and had another */
static enum mode mode;
static struct boot_screen boot; /* kind BOOT_SCREEN_NONE: there is no screen */
static struct framebuffer fb;
static struct vga_text text;
static uint8_t *mem;            /* the screen's memory; NULL while it is out of reach */
static uint64_t early_cr3;      /* `mem` is good on these page tables only; 0: on the final ones */
static struct vt vt;
static cell_t *shown;           /* what is on the screen, cols * rows; NULL: not known */
static cell_t early_cells[EARLY_CELLS];
_Static_assert(EARLY_CELLS / VT_COLS_MAX >= 2, "a terminal has two rows");
static uint32_t frame_at, frame_to; /* rows that are yet to be painted */
static uint64_t frame_start, next_step; /* TSC */

/* A fault inside must not keep the panic report from the screen, nor a second one from the serial line. */
static bool enter(void)
{
	struct cpu *self = this_cpu(), *nobody = NULL;
	uint32_t tries = 0;

	if (owner == self) {
		dead = faulted;
		faulted = true;
	}
	if (boot.kind == BOOT_SCREEN_NONE || dead)
		return false;
	while (owner != self && !__atomic_compare_exchange_n(&owner, &nobody, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		nobody = NULL;
		if (++tries == STALE_TRIES)
			owner = self; /* the other CPU has stopped for good in there */
		pause();
	}
	return true;
}

static void leave(void)
{
	sfence(); /* the last pixels wait in the CPU's write-combining buffers, for ever if it stops now */
	__atomic_store_n(&owner, NULL, __ATOMIC_RELEASE);
}

static bool reachable(void) { return mem && (!early_cr3 || early_cr3 == read_cr3()); }

static void paint_cell(uint32_t x, uint32_t y, cell_t cell)
{
	if (boot.kind == BOOT_SCREEN_TEXT)
		vga_text_paint(&text, mem, x, y, cell);
	else
		framebuffer_paint(&fb, mem, x, y, cell);
}

static uint32_t paint_cost(void)
{
	if (boot.kind == BOOT_SCREEN_TEXT)
		return COST_CHARACTER;
	return fb.scale * fb.scale * FONT_HEIGHT * (fb.bytes == 4 ? COST_LINE : COST_ANY_LINE);
}

/* Four cells at once, as most rows are right already. */
static bool same4(const cell_t *a, const cell_t *b)
{
	uint64_t x, y;

	__builtin_memcpy(&x, a, sizeof(x));
	__builtin_memcpy(&y, b, sizeof(y));
	return x == y;
}

/* Paints what differs in a row. Stops when `cost` has come to `budget`, and what is left will differ the next time. */
static bool paint_row(uint32_t y, uint32_t budget, uint32_t *cost)
{
	const cell_t *row = vt_row(&vt, y);
	cell_t *old = shown ? shown + y * vt.cols : NULL;
	bool cursor = boot.kind != BOOT_SCREEN_TEXT && vt.cursor && vt.y == y;
	uint32_t each = paint_cost();

	*cost += vt.cols * COST_COMPARED / 4;
	for (uint32_t x = 0; x < vt.cols; x++) {
		if (old && !cursor && x + 4 <= vt.cols && same4(row + x, old + x)) {
			x += 3;
			continue;
		}
		cell_t want = cursor && x == vt.x ? cell_reverse(row[x]) : row[x];
		if (old && old[x] == want)
			continue;
		if (old && *cost >= budget)
			return false;
		paint_cell(x, y, want);
		if (old)
			old[x] = want;
		*cost += each;
	}
	return true;
}

/* Something waits that no frame has begun to paint. */
static bool is_dirty(void) { return vt.dirty_from != vt.dirty_to; }

static void begin_frame(void)
{
	frame_at = vt.dirty_from;
	frame_to = vt.dirty_to;
	vt.dirty_from = vt.dirty_to = 0;
}

/* Goes on with the frame. The last step of a frame sets the cursor of a text page. */
static void paint(uint32_t budget)
{
	uint32_t cost = 0;

	while (frame_at < frame_to && cost < budget && paint_row(frame_at, budget, &cost))
		frame_at++;
	if (frame_at == frame_to && boot.kind == BOOT_SCREEN_TEXT)
		vga_text_cursor(&text, vt.x, vt.cursor ? vt.y : text.rows);
}

static void paint_all(void)
{
	if (!reachable())
		return;
	paint(UINT32_MAX);
	if (is_dirty()) {
		begin_frame();
		paint(UINT32_MAX);
	}
}

static void clear(void)
{
	if (boot.kind == BOOT_SCREEN_TEXT)
		vga_text_clear(&text, mem);
	else
		framebuffer_clear(&fb, mem);
}

static uint64_t screen_size(void)
{
	return boot.kind == BOOT_SCREEN_TEXT ? vga_text_size(&text) : framebuffer_size(&fb);
}

static uint32_t screen_cols(void) { return boot.kind == BOOT_SCREEN_TEXT ? text.cols : fb.cols; }
static uint32_t screen_rows(void) { return boot.kind == BOOT_SCREEN_TEXT ? text.rows : fb.rows; }

void screen_init(const struct boot_screen *s)
{
	uint64_t reach = frames_early_limit();

	if (s->kind == BOOT_SCREEN_TEXT ? !vga_text_init(&text, s) : !framebuffer_init(&fb, s))
		return;
	boot = *s;
	vt_init(&vt, early_cells, screen_cols(), MIN(screen_rows(), EARLY_CELLS / screen_cols()));
	early_cr3 = read_cr3();
	if (s->base.v < reach && screen_size() <= reach - s->base.v) {
		mem = phys_to_virt(s->base);
		clear();
	}
	paint_all();
}

/* Cells for the whole screen, and what is known to be shown: a copy, unless the screen has still to be cleared. */
static void take_cells(bool painted)
{
	uint32_t had = vt.cols * vt.rows, n = vt.cols * screen_rows();
	unsigned order = frame_order(2 * n * sizeof(cell_t));
	hpa_t frames;

	if (frame_alloc(order, &frames))
		return; /* the early ones do */
	cell_t *cells = phys_to_virt(frames);
	vt_grow(&vt, cells, screen_rows());
	for (uint32_t i = 0; i < n; i++)
		cells[n + i] = painted && i < had ? cells[i] : CELL_BLANK;
	shown = cells + n;
	if (painted && vt.cursor && boot.kind != BOOT_SCREEN_TEXT)
		shown[vt.y * vt.cols + vt.x] = cell_reverse(shown[vt.y * vt.cols + vt.x]);
}

void screen_remap(void)
{
	if (!enter())
		return;
	bool painted = mem && !is_dirty();
	mem = paging_map_framebuffer(boot.base, screen_size());
	early_cr3 = 0;
	if (mem) {
		if (!painted)
			clear();
		take_cells(painted);
		paint_all();
	} else {
		boot.kind = BOOT_SCREEN_NONE;
	}
	leave();
}

bool screen_present(void) { return boot.kind != BOOT_SCREEN_NONE; }

void screen_write(const uint8_t *buf, size_t n)
{
	if (!enter())
		return;
	vt_write(&vt, buf, n);
	if (mode != MODE_PACED && !faulted) /* after a fault screen_immediate() tries it, when the serial line has all */
		paint_all();
	leave();
}

/* One step of the frame, or the first of a new one; the time at which the next is due. */
static uint64_t step(uint64_t now)
{
	if (frame_at == frame_to) {
		if (!is_dirty())
			return DEV_NEVER;
		begin_frame();
		frame_start = now;
	}
	paint(COST_STEP);
	uint64_t rest = (rdtsc() - now) * STEP_REST;
	if (frame_at != frame_to)
		return now + MAX(rest, tsc_from_us(STEP_US));
	return MAX(now + rest, frame_start + tsc_from_us(FRAME_US));
}

uint64_t screen_paint(void)
{
	uint64_t now = rdtsc();

	if (mode == MODE_START)
		mode = MODE_PACED;
	if (mode == MODE_IMMEDIATE || !mem || (frame_at == frame_to && !is_dirty()))
		return DEV_NEVER;
	if (now < next_step)
		return next_step;
	if (!enter())
		return DEV_NEVER;
	next_step = step(now);
	uint64_t due = frame_at == frame_to && !is_dirty() ? DEV_NEVER : next_step;
	leave();
	return due;
}

void screen_immediate(void)
{
	mode = MODE_IMMEDIATE;
	if (!enter())
		return;
	paint_all();
	leave();
}
