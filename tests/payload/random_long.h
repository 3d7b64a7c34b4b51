/* Between the sandbox of long mode (random_box.c) and what runs in it (random.c) */
#pragma once
#include "random.h"

#define BOX         0x40000000ull /* linear */
#define NSELECTORS  32
#define IO_BYTE     0x3ff        /* the UART's scratch register */
#define IO_ABSENT   0x6f0

/* Selectors beyond those of payload.h */
enum {
	S_CODE32 = 0x60, S_UCODE32 = 0x6b, S_CODE16 = 0x70, S_UCODE16 = 0x7b, S_UDATA16 = 0x83, S_DATA16 = 0x88, S_DOWN = 0x93,
	S_READ = 0x9b, S_EXEC = 0xa3, S_TSS2 = 0xa8, S_CALL = 0xbb, S_FRESH = 0xcb, S_CALLNP = 0xd3, S_DATA32 = 0xe0, S_UDATA32 = 0xeb,
	L_DATA = 0x7, L_CODE = 0xf, L_CALL = 0x17,
};

struct tables {
	uint64_t gdt[NSELECTORS], ldt[8];
	struct { uint32_t reserved; uint64_t rsp[3], zero, ist[7], zero2; uint16_t zero3, iomap; uint8_t ports[8192]; uint8_t end; }
		__attribute__((packed)) tss[2];
};

extern const struct mode *mode;
extern struct tables tables, tables0; /* tables0: as they are before each sequence */
extern struct idt_gate { uint64_t low, high; } idt[256];
extern uint64_t pml4[512], box_pt[512], box[BOX_PAGES][512];
extern const uint8_t random_system[];
extern uint8_t syscall_stack_top[];
void prepare_tables(void);
void prepare_idt(void);
void prepare_paging(void);
/* The pages and what is in them, for the next sequence */
void prepare_box(struct gen *g);
