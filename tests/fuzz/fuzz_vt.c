/*
 * The terminal under any bytes, on small screens of any shape. Checked after each piece: the cursor and the scrolling
 * region are on the screen, nothing beside the cells is written, rows that are not said to be dirty have not changed, and
 * what comes afterwards is readable: a log line behind what core/plain.h finds necessary, and a panic report.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "core/plain.h"
#include "core/vt.h"
#include "lib/font.h"

#define COLS_MAX 24
#define ROWS_MAX 12
#define PIECE    7
#define CHECK(x) do { if (!(x)) abort(); } while (0)

static void check_rows(struct vt *vt, cell_t *seen)
{
	for (uint32_t y = vt->dirty_from; y < vt->dirty_to; y++)
		memcpy(seen + y * vt->cols, vt_row(vt, y), vt->cols * sizeof(cell_t));
	vt->dirty_from = vt->dirty_to = 0;
	for (uint32_t y = 0; y < vt->rows; y++) {
		CHECK(!memcmp(seen + y * vt->cols, vt_row(vt, y), vt->cols * sizeof(cell_t)));
		for (uint32_t x = 0; x < vt->cols; x++)
			CHECK(cell_glyph(vt_row(vt, y)[x]) < font_count);
	}
}

static void check_readable(const struct vt *vt, uint32_t y)
{
	for (unsigned i = 0; i < 3; i++) {
		cell_t c = vt_row(vt, y)[i];

		CHECK(cell_glyph(c) == (unsigned)"xyz"[i] && cell_fg(c) == CELL_WHITE && cell_bg(c) == CELL_BLACK);
	}
}

static void put(struct vt *vt, const char *s) { vt_write(vt, (const uint8_t *)s, strlen(s)); }

/* As core/console_screen.c does it. */
static void log_line(struct vt *vt, const struct plain *plain)
{
	if (plain->state != PLAIN_TEXT)
		put(vt, PLAIN_CANCEL);
	if (plain->changed)
		put(vt, PLAIN_RESTORE);
	put(vt, "\r\nxyz");
	check_readable(vt, vt->y);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct plain plain = { 0 };
	cell_t seen[COLS_MAX * ROWS_MAX];
	struct vt vt;

	if (size < 2)
		return 0;
	uint32_t cols = 3 + data[0] % (COLS_MAX - 2), rows = 2 + data[1] % (ROWS_MAX - 1);
	cell_t *cells = malloc(cols * rows * sizeof(*cells)); /* exactly, so that ASan sees its end */
	vt_init(&vt, cells, cols, rows);
	for (size_t i = 2; i < size; i += PIECE) {
		vt_write(&vt, data + i, MIN(size - i, (size_t)PIECE));
		CHECK(vt.x < cols && vt.y < rows && vt.first < rows);
		CHECK(vt.top < vt.bottom && vt.bottom <= rows && vt.nparams <= VT_PARAMS);
		CHECK(vt.dirty_from < vt.dirty_to && vt.dirty_to <= rows);
		check_rows(&vt, seen);
	}
	for (size_t i = 2; i < size; i++)
		if (plain_cares(&plain, data[i]))
			plain_feed(&plain, data[i]);
	struct vt copy = vt;
	copy.cells = malloc(cols * rows * sizeof(*cells));
	memcpy(copy.cells, cells, cols * rows * sizeof(*cells));
	log_line(&copy, &plain);
	free(copy.cells);
	put(&vt, "\x18\x1b[r\x1b[?6l\x1b[4l\x1b[?7h\x1b(B\x0f\x1b[m\x1b[999;1H\nxyz");
	check_readable(&vt, rows - 1);
	free(cells);
	return 0;
}
