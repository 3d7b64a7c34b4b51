/*
 * From a PC keyboard's scan codes (set 1, as the 8042 translates them) to the bytes that a Linux console sends for its
 * keys: US layout, ECMA-48 sequences for cursor and function keys. Pure.
 */
#pragma once
#include <tf/types.h>

#define KEYMAP_MAX 8 /* bytes of one key */

struct keymap {
	uint8_t held;    /* modifiers that are down */
	bool caps, num;
	bool extended;   /* E0 came */
	uint8_t skip;    /* bytes that remain of Pause */
};

/* Takes one scan code; returns how many bytes it means. All zero is a keyboard of which nothing is known. */
size_t keymap_feed(struct keymap *k, uint8_t code, uint8_t out[KEYMAP_MAX]);
