/*
 * The hypervisor's own address space (4-level). PHYSMAP holds all RAM, read-write and not executable, so that a frame
 * has an address; devices are mapped one by one, uncached, the screen write-combining; the image is W^X; page 0 and the
 * page under every stack are not mapped.
 */
#pragma once
#include <tf/bootinfo.h>
#include <tf/err.h>

#define PHYSMAP_BASE 0xffff888000000000ull
#define DEVICE_BASE  0xffffc90000000000ull /* device mappings and guarded stacks grow up from here */
#define IMAGE_BASE   0xffffffff80000000ull

/* Builds the final tables from the (sorted, merged) memory map and switches to them. Needs frames_init(). */
void paging_init(const struct boot_info *bi);
static inline void *phys_to_virt(hpa_t p) { return (void *)(PHYSMAP_BASE + p.v); }
/* Where the loader put the image; written by boot/entry.asm. */
extern hpa_t image_phys;
/* linker.ld: page aligned */
extern char image_start[], image_end[], text_start[], text_end[], rodata_start[], rodata_end[], data_start[];
/* For addresses in PHYSMAP and in the image. */
hpa_t virt_to_phys(const void *v);
/* IA32_PAT on every CPU: as after reset, but PWT alone is WC instead of WT. */
#define PAGING_PAT 0x0007040600070106ull
/* No physical address from here on can be mapped: the CPU has not the bits, or PHYSMAP not the room. */
uint64_t paging_physical_limit(void);
/*
 * Uncached mapping of device registers; never unmapped. NULL, and a line in the log, where none can be, whoever says so:
 * in RAM, or out of reach.
 */
void *paging_map_device(hpa_t base, size_t len);
/* Write-combining mapping of a framebuffer; never unmapped. NULL if it is out of reach, or in RAM. */
void *paging_map_framebuffer(hpa_t base, size_t len);
/* Read-only cached mapping for firmware tables that need not be RAM; NULL without room. */
const void *paging_map_firmware(hpa_t base, size_t len);
/* A stack of `pages` pages with an unmapped page below it; returns its top, 16-byte aligned. */
__must_check enum tf_err stack_alloc(unsigned pages, uint64_t *top);
/* The tables that CPUs start on, below 4 GiB: low memory at its own address, and the image. boot/entry.asm. */
extern uint64_t early_pml4[];
/* The boot CPU's first stack, boot/entry.asm. */
extern char boot_stack_guard[], boot_stack[], boot_stack_top[];
/* Is this address inside the guard page of some stack? (for the panic report) */
bool stack_guard_hit(uint64_t va);
/* Is this address in a page of some stack, that is, safe to follow a frame pointer to? */
bool stack_contains(uint64_t va);
