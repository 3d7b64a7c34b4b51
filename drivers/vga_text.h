/* The VGA's text page. */
#pragma once
#include <tf/bootinfo.h>
#include <tf/cell.h>

struct vga_text { uint32_t cols, rows, pitch; };

/* False: not a text page as a VGA has it. */
__must_check bool vga_text_init(struct vga_text *t, const struct boot_screen *s);
static inline uint32_t vga_text_size(const struct vga_text *t) { return t->pitch * t->rows; }
void vga_text_clear(const struct vga_text *t, uint8_t *mem);
void vga_text_paint(const struct vga_text *t, uint8_t *mem, uint32_t col, uint32_t row, cell_t cell);
/* The hardware's cursor; behind the last row it is not seen. */
void vga_text_cursor(const struct vga_text *t, uint32_t col, uint32_t row);
