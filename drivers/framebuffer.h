/*
 * Painting cells into a linear framebuffer of any pixel format that the boot loader can describe. Pure: the memory is
 * given, and only ever written. Where 80 columns would be tiny (2560 pixels and more) glyphs are painted twice as large.
 */
#pragma once
#include <tf/bootinfo.h>
#include <tf/cell.h>

struct framebuffer {
	uint32_t pitch, width, height; /* as in struct boot_screen */
	uint32_t bytes;                /* per pixel */
	uint32_t scale;                /* pixels per pixel of the font, 1 or 2 */
	uint32_t cols, rows;
	uint32_t fg[CELL_FOREGROUNDS], bg[CELL_BACKGROUNDS]; /* as pixels */
};

/* False: the description contradicts itself, or there is no room for a line of text. */
__must_check bool framebuffer_init(struct framebuffer *fb, const struct boot_screen *s);
/* Bytes from the first to behind the last: how much memory the other functions may write. */
static inline uint64_t framebuffer_size(const struct framebuffer *fb) { return (uint64_t)fb->pitch * fb->height; }
/* The whole screen in the background colour. */
void framebuffer_clear(const struct framebuffer *fb, uint8_t *mem);
void framebuffer_paint(const struct framebuffer *fb, uint8_t *mem, uint32_t col, uint32_t row, cell_t cell);
