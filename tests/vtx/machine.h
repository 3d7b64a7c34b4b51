/*
 * A machine with VT-x for host programs: the guest layer's own files over a VMCS that is data, one vCPU or some, the whole
 * board and 64 KiB of RAM in two blocks of exactly their size. What the CPU does between entry and exit is the program's.
 */
#pragma once
#include "guest/exit.h"
#include "guest/walk.h"
#include "vmx/check.h"

#define MACHINE_RAM       0x10000u
#define MACHINE_RAM_BLOCK 0x8000u
#define MACHINE_PHYS_BITS 39

/* What the CPU and the configuration have: bits of machine_init()'s argument. */
#define MACHINE_APICV     BIT(0) /* virtual APIC, all of it */
#define MACHINE_VPID      BIT(1)
#define MACHINE_SHADOW    BIT(2) /* of APIC virtualisation only the TPR shadow */
#define MACHINE_CR3_EXITS BIT(3) /* exits on MOV to and from CR3 cannot be turned off */
#define MACHINE_OLD_ERROR BIT(4) /* no IA32_VMX_BASIC[56] */
#define MACHINE_KVM       BIT(5) /* hypervisor = kvm */

#define MACHINE_VCPUS 4

/* Where machine_mode() lays things in guest RAM. Linear addresses are physical ones; the APICs' pages are mapped too. */
#define AT_GDT   0x1000u
#define AT_LDT   0x1800u
#define AT_IDT   0x2000u
#define AT_TSS   0x3000u /* TR's, of 32 or 64 bits */
#define AT_TSS_B 0x3200u /* of 32 bits */
#define AT_TSS_C 0x3400u /* of 16 bits */
#define AT_PML4  0x4000u
#define AT_CODE  0xc000u
#define AT_STACK 0xe000u
enum { SEL_K_CODE = 0x08, SEL_K_DATA = 0x10, SEL_U_CODE = 0x1b, SEL_U_DATA = 0x23, SEL_TSS_A = 0x28, SEL_TSS_B = 0x38,
       SEL_TSS_C = 0x40, SEL_LDT = 0x48, SEL_CODE_64 = 0x50 };

enum machine_mode { REAL, PROTECTED, PROTECTED16, PAGED, PAE, LONG, COMPAT, V8086, NMODES };

struct machine {
	struct vm vm;
	struct vcpu *v;
	uint64_t now;                     /* TSC */
	char stop_reason[288];
	uint32_t wakes, yields, flushes;  /* what the layer above and the TLB were asked for */
	uint8_t *ram[2];
	uint64_t native_msrs[MSR_IA32_TSC_AUX - MSR_IA32_EFER + 1]; /* what the CPU has in those from IA32_EFER on */
	uint32_t msrs_written;
	/* The CPU: what a VM entry runs until its exit; writes the exit's fields by machine_set() and returns the reason. */
	uint32_t (*run)(struct machine *m);
};
extern struct machine machine;

/* A VM at power-up, running. */
void machine_init(unsigned options);
void machine_free(void);
/* One more vCPU, at power-up. machine.v stays the one before; machine_choose() changes it. */
void machine_add_vcpu(void);
void machine_choose(uint32_t id);
/* Power-up again, as after a restart. */
void machine_reset(void);
/* Fills low RAM with tables and puts the vCPU into a mode, at CPL 0 (V8086: 3). */
void machine_mode(enum machine_mode mode);
/* A field as the CPU writes it, the read-only ones too. */
void machine_set(uint32_t field, uint64_t value);
uint64_t machine_get(uint32_t field);
#define CPU_SET(field, value) machine_set((field).enc, (value))
#define CPU_GET(field)        machine_get((field).enc)
/* Every field, to save and restore; MACHINE_FIELDS of them. */
#define MACHINE_FIELDS 1024
extern uint64_t machine_fields[MACHINE_FIELDS], machine_created[MACHINE_FIELDS]; /* now, and at machine_init() */
#define FIELD_TYPE(e) ((e) >> 10 & 3)
enum { TYPE_CONTROL, TYPE_READ_ONLY, TYPE_GUEST, TYPE_HOST };
/* Not of interest to libFuzzer. */
#ifdef __clang__
#define UNSEEN __attribute__((no_sanitize("coverage")))
#else
#define UNSEEN
#endif
/* Would the entry succeed? */
bool machine_entry_ok(struct vmx_broken *why);
/* The fields that no guest may change have the value of machine_init(); returns one that has not, or 0. */
uint32_t machine_changed_control(void);
/* An MSR that the guest may write without an exit and should not, or 0. */
uint32_t machine_open_msr(void);
/* A piece of guest RAM, or NULL. */
void *machine_ram(uint64_t gpa, uint64_t len);
