/* A virtual machine: its memory, its board, its vCPUs. */
#pragma once
#include "ept/ept.h"
#include "guest/board.h"
#include "guest/bus.h"
#include "guest/cpuid.h"
#include "guest/load.h"
#include "guest/mem.h"
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
	/*
	 * The vCPU has something to look at, in v->requests: if it sleeps it is to run again; if it runs on another CPU it is
	 * to leave the guest. From any CPU.
	 */
	void (*wake)(struct vcpu *v);
	/* The vCPU's next timer deadline is now v->next_deadline (TSC; DEV_NEVER: none). From any CPU. */
	void (*deadline)(struct vcpu *v);
	/* The vCPU, which runs here, spins: a sibling that waits for a CPU is to have one. False: none does. */
	bool (*yield)(struct vcpu *v);
	/* TIMER_RESTART, which the layer above has armed, is due. */
	void (*restart)(struct vm *vm);
	/* The VM has stopped, and nothing of it runs any more. From any CPU, perhaps with the VM's lock held. */
	void (*stopped)(struct vm *vm);
	/* REQ_CONSOLE, which the layer above has signalled to vCPU 0: called on its CPU, with the VM's lock. */
	void (*console)(struct vm *vm);
};

struct vm {
	/*
	 * Guards the board, the buses and the EPT. What belongs to one vCPU is its CPU's and needs no lock: an exit takes
	 * this one only when it gets to a device.
	 */
	struct spinlock lock;
	struct vm_config cfg;
	uint32_t id;
	enum vm_state state;      /* atomic */
	enum vm_stop stop;        /* atomic: whoever changes it from VM_STOP_NONE ends the VM */
	const struct vm_host *host;
	struct chardev console;

	struct ept ept;
	uint64_t eptp;
	uint32_t ept_changes;    /* atomic: how often rights have been taken away... */
	uint32_t ept_seen[MAX_CPUS]; /* ...and what each CPU has flushed its translations for */
	hpa_t spare_tables;      /* frames set aside for more of its tables, each with the next one's address; 0: none */
	struct guest_mem mem;
	bool apic_page_writable; /* what is mapped there: it is, while all vCPUs' accesses are redirected */
	hpa_t apic_access;       /* the frame behind the APIC-access address, shared by the vCPUs */
	hpa_t empty_rom;         /* a page of ones, read-only, for all of the option ROM area */
	hpa_t io_bitmap;         /* two frames, all ports intercepted */

	struct bus pio, mmio;
	struct board board;
	struct cpuid_table cpuid;

	struct load_request load; /* the boot modules that it is started from */
	bool by_watchdog;         /* the watchdog ended what ran before */
	uint64_t start_cleared;   /* VM_STARTING: bytes of RAM cleared so far */
	int64_t start_unix;       /* the RTC's time at start */
	uint64_t start_tsc;       /* the TSC at start: 0 of the guest's, which its vCPUs share */

	uint32_t nvcpus;
	uint32_t nstopped;        /* atomic: parts of a stop that have ended */
	uint32_t nreset;          /* atomic: vCPUs that have begun this life */
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
/* Ends the VM: no vCPU of it enters the guest again. False: it is being ended already. */
bool vm_stop(struct vm *vm, enum vm_stop how);
/* The same for a reason that is the guest's fault or our gap: logs `event=fault` with the reason and the registers of `v`. */
void vm_stop_report(struct vcpu *v, enum vm_stop how, const char *fmt, ...) __printf(3, 4);
/*
 * Rights have been taken away: no vCPU of the VM goes by the old ones when this returns. CPUs that run none now flush before they
 * run one again. The caller holds no lock.
 */
void vm_flush_ept(struct vm *vm);
/* On this CPU, before a vCPU is entered that is marked as running here. */
static inline void vm_flush_stale(struct vm *vm)
{
	uint32_t changes = __atomic_load_n(&vm->ept_changes, __ATOMIC_SEQ_CST), *seen = &vm->ept_seen[this_cpu()->id];

	if (likely(*seen == changes))
		return;
	*seen = changes;
	vmx_flush_ept(vm->eptp);
}
const char *vm_stop_name(enum vm_stop how);
const char *vm_state_name(enum vm_state s);
