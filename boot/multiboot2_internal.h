/* What the files of the boot information parser share. The parsers of a tag's body return NULL, or what is wrong. */
#pragma once
#include "boot/multiboot2.h"
#include "boot/multiboot2_tags.h"

/* What is left of a tag, or of the tags. */
struct payload { const uint8_t *p; size_t n; };

/* Copies a fixed part out of the (possibly unaligned) bytes. */
bool mb2_take(struct payload *t, void *out, size_t size);
/* Fills out->screen; a screen that nobody could draw on is none. */
void mb2_parse_screen(struct payload t, struct boot_screen *out);
/* The tag "Memory map", and in its place "EFI memory map". */
const char *mb2_parse_mmap(struct payload t, struct boot_info *out);
const char *mb2_parse_efi_mmap(struct payload t, struct boot_info *out);
