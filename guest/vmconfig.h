/* What a configuration says about one VM, checked. Filled by core/config.c, read by the guest layer. */
#pragma once
#include <tf/types.h>

#define VM_NAME_MAX     32
#define VM_MAX_MODULES  8
#define VM_MAX_VCPUS    64
#define VM_MAX_CPUS     256
#define VM_MEMORY_MIN   MiB(4)
#define VM_MEMORY_MAX   GiB(1024)
#define VM_WEIGHT_DEFAULT 100
#define VM_CMDLINE_MAX  2048
#define VM_PATH_MAX     256
#define BREAK_VMCS_MAX  1024
#define MUTATE_MAX      48

enum vm_kind { VM_AUTO, VM_LINUX, VM_MULTIBOOT, VM_MULTIBOOT2 };
enum vm_on_exit { VM_ON_EXIT_HALT, VM_ON_EXIT_RESTART };
enum vm_latency { VM_LATENCY_NORMAL, VM_LATENCY_LOW };
enum vm_core { VM_CORE_SHARED, VM_CORE_DEDICATED };
enum vm_hypervisor { VM_HYPERVISOR_OFF, VM_HYPERVISOR_ON, VM_HYPERVISOR_KVM };
enum vm_console { VM_CONSOLE_MUX, VM_CONSOLE_COM2, VM_CONSOLE_NONE };

struct vm_config {
	char name[VM_NAME_MAX];
	enum vm_kind kind;
	char kernel[VM_PATH_MAX];                  /* names of boot modules */
	char initrd[VM_PATH_MAX];                  /* empty: none */
	char modules[VM_MAX_MODULES][VM_PATH_MAX]; /* multiboot modules: boot module name, then its command line */
	uint32_t nmodules;
	char cmdline[VM_CMDLINE_MAX];
	uint64_t memory;                           /* bytes, a multiple of 4 KiB */
	uint32_t vcpus;
	uint32_t weight;                           /* 1 to 10000 */
	uint32_t cap;                              /* percent of a CPU that each vCPU gets at most; 0: all of it */
	uint32_t reservation;                      /* percent of a CPU that each vCPU gets if it wants it */
	uint64_t cpus[VM_MAX_CPUS / 64];           /* the CPUs that its vCPUs may run on, a bit each; all 0: any */
	enum vm_latency latency;
	enum vm_core core;
	enum vm_console console;
	enum vm_on_exit on_exit;
	uint32_t watchdog_ms;                      /* 0: none */
	bool autostart;
	enum vm_hypervisor hypervisor;             /* CPUID.1:ECX[31], and whose leaves stand at 40000000h */
	bool apicv;                                /* false: plain APIC emulation even where the CPU could do it */
#ifdef TF_TEST_HOOKS
	char mutate[MUTATE_MAX];                   /* VMCS fields to mutate: COUNT:SEED:RUN */
	char break_vmcs[BREAK_VMCS_MAX];           /* VMCS fields to write before the first entry: ENCODING:VALUE ... */
#endif
};
