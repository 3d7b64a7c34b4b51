/* A guest's RAM: laid out as a PC has it, made of physical blocks as large as they can be had. All access to it goes through here. */
#pragma once
#include "ept/ept.h"
#include <tf/bootinfo.h>
#include <tf/err.h>

#define MEM_MAX_SLOTS 256
#define MEM_MAX_E820  16

struct mem_slot { uint64_t gpa, len; hpa_t hpa; uint8_t order; };

struct guest_mem {
	struct mem_slot slots[MEM_MAX_SLOTS]; /* sorted by gpa; each is one block of the frame allocator */
	uint32_t nslots;
	uint32_t last;                        /* the slot that was hit last; atomic */
	uint64_t bytes;
	struct mem_range e820[MEM_MAX_E820];
	uint32_t ne820;
};

/*
 * Allocates `bytes` of RAM (contents undefined) and maps it: 0 to 640 KiB, the BIOS area from E0000h, from 1 MiB up to
 * 3 GiB, and the rest from 4 GiB. Large pages where alignment allows. TF_EINVAL unless it is whole pages and at least
 * 1 MiB. An error gives the frames back; what was mapped of them is left to ept_destroy().
 */
__must_check enum tf_err mem_create(struct guest_mem *m, struct ept *ept, uint64_t bytes);
void mem_destroy(struct guest_mem *m);
/* Clears up to `n` bytes of RAM from offset `done` of all RAM; returns how many. 0: all is clear. */
uint64_t mem_clear(struct guest_mem *m, uint64_t done, uint64_t n);

/* A window on RAM; NULL unless all of [gpa, gpa + len) is RAM in one block. */
void *mem_at(struct guest_mem *m, gpa_t gpa, uint64_t len);
/* Copies that may cross blocks; TF_EFAULT (after a partial copy) at the first byte that is not RAM. */
__must_check enum tf_err mem_read(struct guest_mem *m, gpa_t gpa, void *buf, uint64_t len);
__must_check enum tf_err mem_write(struct guest_mem *m, gpa_t gpa, const void *buf, uint64_t len);
