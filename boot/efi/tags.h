/* Writes multiboot2 boot information (Multiboot2 Specification 2.0, "Boot information format"). Pure. */
#pragma once
#include <tf/bootinfo.h>
#include "boot/efi/efi_map.h"

/* What does not fit is left out and remembered: tags_end() says so. */
struct tags { uint8_t *buf; size_t size, at; bool full; };

void tags_begin(struct tags *t, void *buf, size_t size);
void tags_command_line(struct tags *t, const char *text);
void tags_loader_name(struct tags *t, const char *text);
/* end is behind the last byte. Both below 4 GiB: the tag has 32 bits. */
void tags_module(struct tags *t, uint32_t start, uint32_t end, const char *name);
void tags_memory_map(struct tags *t, const struct mem_range *ranges, uint32_t n);
/* Of kind RGB; another kind writes nothing. */
void tags_screen(struct tags *t, const struct boot_screen *screen);
void tags_efi_system_table(struct tags *t, uint64_t address);
void tags_efi_map(struct tags *t, const struct efi_map *map, uint32_t descriptor_version);
/* A copy of the RSDP: is_new is ACPI 2.0's, else ACPI 1.0's. */
void tags_rsdp(struct tags *t, bool is_new, const void *rsdp, size_t size);
void tags_load_base(struct tags *t, uint32_t address);
/* Ends the information. False if something has not fitted: then it must not be used. */
__must_check bool tags_end(struct tags *t);
