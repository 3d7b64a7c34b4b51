/* Between the sandbox of the legacy modes (random32_box.c) and what runs in it (random32.c) */
#pragma once
#include "legacy.h"
#include "random.h"

#define BOX_HIGH    0x40000000u  /* linear, protected mode */
#define BOX_LOW     0x10000u     /* linear, virtual-8086 mode */
#define NSELECTORS  32
#define IO_BYTE     0x3ff        /* the UART's scratch register */
#define IO_ABSENT   0x6f0
#define IVT_OFFSET  0xff0u       /* where the interrupts of virtual-8086 mode and the other task go: an INT3 */
#define PAGE32      4096u

enum {
	S_NOTHING = 0x18, S_UCODE = 0x23, S_UDATA = 0x2b, S_TSS = 0x30, S_LDT = 0x38, S_DOUBLE = 0x40, S_TSS2 = 0x4b, S_CONF = 0x50,
	S_LIMIT = 0x5b, S_CODE32 = 0x60, S_UCODE32 = 0x6b, S_CODE16 = 0x70, S_UCODE16 = 0x7b, S_UDATA16 = 0x83, S_DATA16 = 0x88,
	S_DOWN = 0x93, S_READ = 0x9b, S_EXEC = 0xa3, S_CALL = 0xab, S_FRESH = 0xb3, S_CALLNP = 0xbb, S_TASK = 0xc3,
	L_DATA = 0x7, L_CODE = 0xf, L_CALL = 0x17,
};

struct task { struct tss32 tss; uint8_t redirection[32], ports[8192], end, unused[3]; };
struct tables {
	uint64_t gdt[NSELECTORS], ldt[8];
	struct tss32 doubled;
	struct task task[2];
};

/* Entries of 8 bytes or of 4 */
union page_table { uint64_t wide[512]; uint32_t narrow[1024]; };

extern const struct mode *mode;
extern bool pae, paged;
extern uint32_t box_base; /* linear */
extern uint8_t unpaged_code[PAGE32]; /* where segments alone protect, it is apart from what they can write */
extern struct machine machine;
extern struct tables tables, tables0; /* tables0: as they are before each sequence */
extern uint64_t idt[256], pdpt[2][4];
extern uint32_t box[BOX_PAGES][1024], ivt[1024], kernel_cr3;
extern union page_table low_pd[2], low_pt[2][2], box_pt; /* the kernel's and the sandbox's */
extern uint8_t gate_start[], gate_end[], stack_top[];
extern const uint8_t random_system[];
void prepare_tables(void);
void prepare_idt(void);
void prepare_paging(void);
/* The pages and what is in them, for the next sequence */
void prepare_box(struct gen *g);
