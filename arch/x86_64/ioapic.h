/* Physical I/O APICs. All entries start masked. */
#pragma once
#include <tf/err.h>

void ioapic_add(hpa_t base, uint32_t gsi_base);
/* Routes a GSI to a vector on one CPU. TF_ENOENT if no I/O APIC has it. */
__must_check enum tf_err ioapic_route(uint32_t gsi, uint8_t vector, uint32_t apic_id, bool level, bool active_low);
__must_check enum tf_err ioapic_mask(uint32_t gsi, bool masked);
/* Masks both 8259s for good, remapped away from the exceptions. */
void pic_disable(void);
