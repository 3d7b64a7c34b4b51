/* Multiboot2 boot information (Multiboot2 Specification 2.0, "Boot information format"). Untrusted bytes. Pure. */
#pragma once
#include <tf/bootinfo.h>
#include <tf/err.h>

#define MULTIBOOT2_BOOTLOADER_MAGIC 0x36d76289u

/*
 * Parses the tags in buf[0..len) into *out. Every length is checked against the tag, every tag against total_size,
 * total_size against len. Too many modules or ranges, a module that ends before it starts, a missing end tag or a
 * missing memory map is an error; *why then points to a static text that says what is wrong (else NULL).
 */
__must_check enum tf_err multiboot2_parse(const uint8_t *buf, size_t len, struct boot_info *out, const char **why);
