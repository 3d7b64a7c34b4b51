/* Between core/vt.c and core/vt_escape.c only. */
#pragma once
#include "core/vt.h"

#define VT_SO  0x0e
#define VT_SI  0x0f
#define VT_CAN 0x18
#define VT_SUB 0x1a
#define VT_ESC 0x1b

void vt_reset(struct vt *vt);
void vt_put(struct vt *vt, uint32_t code);
/* Rows from `from` to before `to` have changed. */
void vt_dirty(struct vt *vt, uint32_t from, uint32_t to);
/* Blanks part of a row. */
void vt_clear(struct vt *vt, uint32_t y, uint32_t from, uint32_t to);
/* Within the rows from `top` to before `bottom`; n may be larger than they are. */
void vt_scroll_up(struct vt *vt, uint32_t top, uint32_t bottom, uint32_t n);
void vt_scroll_down(struct vt *vt, uint32_t top, uint32_t bottom, uint32_t n);
/* The cursor, kept on the screen. */
void vt_go(struct vt *vt, uint32_t x, uint32_t y);
void vt_line_feed(struct vt *vt);
void vt_reverse_line_feed(struct vt *vt);
void vt_tab(struct vt *vt, uint32_t n);
void vt_back_tab(struct vt *vt, uint32_t n);
/* A byte of an escape sequence; false: it is a control character, to be done in the midst of it (ECMA-48). */
bool vt_escape(struct vt *vt, uint8_t b);
