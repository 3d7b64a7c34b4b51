/* Accesses to device memory: guest/mmio.c emulates the instruction, guest/mmio_again.c one that has been there before. */
#pragma once
#include "guest/exit.h"

/* Reads or writes what is at a guest-physical address, RAM or a device; within one page. */
void mmio_access(struct vcpu *v, gpa_t gpa, uint8_t size, bool write, uint64_t *value);
/* An access that is not RAM; within one page. */
void mmio_device(struct vcpu *v, uint64_t gpa, struct dev_access *a);

/* Emulates the memory access of the instruction at RIP. */
enum action mmio_emulate(struct vcpu *v);
/* The same for an access to the APIC-access page. */
enum action mmio_emulate_apic(struct vcpu *v, uint32_t offset);
/* The same where the CPU has said which translation it made. */
enum action mmio_emulate_at(struct vcpu *v, uint64_t linear, uint64_t gpa);

/* The MOV at RIP, which accesses `offset` in a page, if it is known to be the simple one that was there before; or NULL. */
const struct insn *mmio_again(struct vcpu *v, uint64_t offset);
/* Does it: the access is to a device's memory, or to a register of the local APIC in its page. */
enum action mmio_move(struct vcpu *v, const struct insn *i, uint64_t gpa);
enum action mmio_move_apic(struct vcpu *v, const struct insn *i, uint32_t offset);
/* What the vCPU knows of the instruction there, or NULL; and where that has its place. */
struct decoded *mmio_decoded(struct vcpu *v, uint64_t rip);
struct decoded *mmio_decoded_set(struct vcpu *v, uint64_t rip);
/* What has just been decoded at RIP may come again. */
void mmio_remember(struct vcpu *v, uint64_t rip);
