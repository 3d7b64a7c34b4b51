/* A virtual machine: its memory, its board, its vCPUs. */
#pragma once
#include "ept/ept.h"
#include "guest/board.h"
#include "guest/bus.h"
#include "guest/cpuid.h"
#include "guest/load.h"
#include "guest/mem.h"
#include "guest/mtrr.h"
#include "guest/vcpu.h"
#include "guest/vmconfig.h"

#define IO_BITMAP_ORDER 1         /* two frames */
#define OPTION_ROM_BASE 0xc0000ull /* up to OPTION_ROM_END: all of it is `empty_rom` */
#define OPTION_ROM_END  0xe0000ull

enum vm_state {
	VM_OFF,      /* not started yet */
	VM_STARTING, /* memory is being cleared and the kernel loaded, piece by piece */
	VM_RUNNING,
	VM_STOPPED,  /* ended: `stop` says how */
};

enum vm_stop { VM_STOP_NONE, VM_STOP_POWER_OFF, VM_STOP_RESET, VM_STOP_TRIPLE_FAULT, VM_STOP_ERROR, VM_STOP_REQUEST,
	       VM_STOP_WATCHDOG };

/* What the layer above gives a VM. */
struct vm_host {
	/* The vCPU can run again: HLT is over, or its VM was started. */
	void (*wake)(struct vcpu *v);
	/* The vCPU's next timer deadline is now v->next_deadline (TSC; DEV_NEVER: none). */
	void (*deadline)(struct vcpu *v);
	/* TIMER_RESTART, which the layer above has armed, is due. */
	void (*restart)(struct vm *vm);
};

struct vm {
	struct vm_config cfg;
	uint32_t id;
	enum vm_state state;
	enum vm_stop stop;
	const struct vm_host *host;
	struct chardev console;

	struct ept ept;
	uint64_t eptp;
	hpa_t spare_tables;      /* frames set aside for more of its tables, each with the next one's address; 0: none */
	struct guest_mem mem;
	hpa_t apic_access;       /* the frame behind the APIC-access address, shared by the vCPUs */
	hpa_t empty_rom;         /* a page of ones, read-only, for all of the option ROM area */
	hpa_t io_bitmap;         /* two frames, all ports intercepted */

	struct bus pio, mmio;
	struct board board;
	struct cpuid_table cpuid;
	struct mtrrs mtrr;

	struct load_request load; /* the boot modules that it is started from */
	bool by_watchdog;         /* the watchdog ended what ran before */
	uint64_t start_cleared;   /* VM_STARTING: bytes of RAM cleared so far */
	int64_t start_unix;       /* the RTC's time at start */

	uint32_t nvcpus;
	struct vcpu *vcpus[VM_MAX_VCPUS];

	uint64_t denied_msr;      /* accesses to MSRs that it does not have */
	uint64_t log_count;       /* rate limit of what this guest can make us log */
	uint64_t starts;
};

/*
 * Builds everything of a VM that outlives a restart: memory, tables, vCPUs. Nothing runs yet. The configuration is
 * copied, the blobs in `load` stay the caller's. On an error *why says what failed and everything is given back.
 */
__must_check enum tf_err vm_create(const struct vm_config *cfg, uint32_t id, const struct load_request *load,
				   struct chardev console, const struct vm_host *host, struct vm **out, const char **why);
/* Begins a start (or restart): the board and vCPUs at power-up; clearing and loading go on in vm_start_step(). */
void vm_start(struct vm *vm);
/* One bounded piece of the work of VM_STARTING; when done the VM is running, or stopped with a report. */
void vm_start_step(struct vm *vm);
/* Ends the VM: no vCPU of it enters the guest again. */
void vm_stop(struct vm *vm, enum vm_stop how);
/* The same for a reason that is the guest's fault or our gap: logs `event=fault` with the reason and the registers of `v`. */
void vm_stop_report(struct vcpu *v, enum vm_stop how, const char *fmt, ...) __printf(3, 4);
const char *vm_stop_name(enum vm_stop how);
const char *vm_state_name(enum vm_state s);
