/* What the screen of the physical line shows, and in which order; between core/console.c and its parts only. */
#pragma once
#include "core/console.h"

/*
 * Shows what waits, as far as there is room: the banner, log lines, and then the consoles in turn. The focused console's
 * torn line is reprinted only if it has more to say or `resume` is set, so that a burst of log lines reprints it once.
 */
void screen_drain(struct console_mux *m, bool resume);
/* The focused console's own bytes; there must be room. */
void screen_raw(struct console_mux *m, struct vconsole *vc, const uint8_t *buf, size_t n);
/* Whole lines that are not the focused console's, each ending in \n. False: no room, nothing done. */
__must_check bool screen_text(struct console_mux *m, const char *text, size_t n);
/* Whole lines from the top of the screen on, and nothing else on it. Nothing is done if there is no room. */
void screen_page(struct console_mux *m, const char *text, size_t n);
/* Drops the oldest unseen output beyond what is worth replaying; for a console that comes into view. */
void screen_trim(struct vconsole *vc);

/* Bytes of the output ring that guests may fill now. */
static inline uint32_t screen_share(const struct console_mux *m)
{
	uint32_t free = ring_free(&m->out);

	return free > m->reserve ? free - m->reserve : 0;
}

/* Once there is no view that hides all. */
static inline bool screen_shows_log(const struct console_mux *m) { return !m->focus || m->show_log; }
static inline bool screen_shows(const struct console_mux *m, const struct vconsole *vc)
{
	return !m->view && (vc == m->focus || m->show_all);
}
