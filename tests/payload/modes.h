/* What the parts of the payload `modes` share. */
#pragma once
#include "legacy.h"

/* As in modes_entry.asm */
enum {
	SEL_CODE16 = SEL_FREE, SEL_DATA16 = SEL_CODE16 + 8, SEL_STACK16 = SEL_DATA16 + 8, SEL_REAL16 = SEL_STACK16 + 8,
	SEL_CODE64 = SEL_REAL16 + 8, SEL_CALL16 = SEL_CODE64 + 8, SEL_COMPAT16 = SEL_CALL16 + 8, SEL_TSS_V86 = SEL_COMPAT16 + 8,
};
#define LOW_CODE  0x8000u /* the 16-bit code is copied there; segment 800h in real mode */
#define LOW_DATA  0x9000u
#define LOW_STACK 0xa000u

struct handler16 { uint16_t vector, offset; };
extern const struct handler16 real_handlers[], pm16_handlers[]; /* end with FFFFh */
extern uint8_t code16[], code16_end[];
extern const uint16_t v86_offset, v86_end_offset, call16_offset;
extern struct { uint16_t limit; uint32_t base; } __attribute__((packed)) far_idtr;
extern uint32_t long_log[], long_log_end, long_cr3;
extern const uint32_t long_handlers[];
void real_run(void);
void pm16_run(void);
void long_run(void);
/* Continues with this frame, which must be of another privilege or of virtual-8086 mode. */
void frame_enter(const struct frame32 *f);

/* Flags that say something about a mode. */
#define FLAGS_SEEN (EF_CF | EF_TF | EF_IF | EF_IOPL | EF_NT | EF_RF | EF_VM | BIT(19) | BIT(20))

void modes_paging(void);
