/*
 * The screen as a terminal: what goes to the serial line is shown here as well, drawn into the framebuffer or the VGA
 * text page that the boot loader left. Text is kept in cells; the screen is painted from them. At first, and again after
 * screen_immediate(), each write is painted at once; from the first call of screen_paint() on, that does it in bounded
 * steps, so that a guest that floods its console delays nobody. Nothing here waits, and no function logs.
 */
#pragma once
#include <tf/bootinfo.h>

/* Can be used at once, on the early page tables. Without a screen, or if it is out of reach, all else does nothing. */
void screen_init(const struct boot_screen *s);
/* After paging_init(): maps the framebuffer write-combining, and takes memory for the cells of the whole screen. */
void screen_remap(void);
bool screen_present(void);
/* Bytes as for a terminal: text, CR, LF, BS, TAB, and of ECMA-48 what shells and kernels send. */
void screen_write(const uint8_t *buf, size_t n);
/*
 * Paints for a few ten thousand instructions at most, and no more often than a screen shows. Returns the TSC time at
 * which it wants to be called again, DEV_NEVER if everything is painted.
 */
uint64_t screen_paint(void);
/* Paints everything now, and from now on each write at once: for the panic report, a refusal, and before power-off. */
void screen_immediate(void);
