/* IBM VGA Technical Reference, "CRT Controller Registers" */
#include "drivers/vga_text.h"
#include "arch/x86_64/cpu.h"
#include "lib/font.h"

#define TEXT_PAGE       0xb8000ull /* of a colour text mode; its CRT controller is the one at 3D4h */
#define TEXT_PAGE_END   0xc0000ull
#define TEXT_COLS_MIN   20
#define TEXT_COLS_MAX   160
#define TEXT_ROWS_MIN   2
#define TEXT_ROWS_MAX   100
#define TEXT_CELL       2 /* bytes: character, attribute */
#define CRTC_INDEX      0x3d4
#define CRTC_DATA       0x3d5
#define CRTC_CURSOR_HIGH 0x0e
#define CRTC_CURSOR_LOW 0x0f

/* Attributes have red and blue the other way round; bit 7 would blink. */
static const uint8_t attributes[CELL_BACKGROUNDS] = { 0, 4, 2, 6, 1, 5, 3, 7 };

bool vga_text_init(struct vga_text *t, const struct boot_screen *s)
{
	*t = (struct vga_text){ s->width, s->height, s->pitch };
	return s->kind == BOOT_SCREEN_TEXT && s->base.v == TEXT_PAGE && s->width >= TEXT_COLS_MIN && s->width <= TEXT_COLS_MAX &&
	       s->height >= TEXT_ROWS_MIN && s->height <= TEXT_ROWS_MAX && s->pitch >= s->width * TEXT_CELL &&
	       s->pitch % TEXT_CELL == 0 && s->pitch <= (TEXT_PAGE_END - TEXT_PAGE) / s->height;
}

void vga_text_paint(const struct vga_text *t, uint8_t *mem, uint32_t col, uint32_t row, cell_t cell)
{
	uint32_t fg = cell_fg(cell), attribute = attributes[fg & 7] | (fg & CELL_BRIGHT) | (uint32_t)attributes[cell_bg(cell)] << 4;

	*(volatile uint16_t *)(mem + row * t->pitch + col * TEXT_CELL) =
		(uint16_t)(font_vga(cell_glyph(cell)) | attribute << 8);
}

void vga_text_clear(const struct vga_text *t, uint8_t *mem)
{
	for (uint32_t row = 0; row < t->rows; row++)
		for (uint32_t col = 0; col < t->cols; col++)
			vga_text_paint(t, mem, col, row, CELL_BLANK);
}

void vga_text_cursor(const struct vga_text *t, uint32_t col, uint32_t row)
{
	uint32_t at = row * t->pitch / TEXT_CELL + col;

	outb(CRTC_INDEX, CRTC_CURSOR_HIGH);
	outb(CRTC_DATA, (uint8_t)(at >> 8));
	outb(CRTC_INDEX, CRTC_CURSOR_LOW);
	outb(CRTC_DATA, (uint8_t)at);
}
