/* What a configuration says about one VM, checked. Filled by core/config.c, read by the guest layer. */
#pragma once
#include <tf/types.h>

#define VM_NAME_MAX     32
#define VM_MAX_MODULES  8
#define VM_MAX_VCPUS    64
#define VM_MEMORY_MIN   MiB(4)
#define VM_MEMORY_MAX   GiB(1024)
#define VM_WEIGHT_DEFAULT 100
#define VM_CMDLINE_MAX  2048
#define VM_PATH_MAX     256
#define BREAK_VMCS_MAX  1024
#define MUTATE_MAX      48

enum vm_kind { VM_AUTO, VM_LINUX, VM_MULTIBOOT, VM_MULTIBOOT2 };
enum vm_on_exit { VM_ON_EXIT_HALT, VM_ON_EXIT_RESTART };
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
	enum vm_console console;
	enum vm_on_exit on_exit;
	uint32_t watchdog_ms;                      /* 0: none */
	bool autostart;
	bool hypervisor_bit;                       /* CPUID.1:ECX[31] and the Trefoil leaves */
	bool apicv;                                /* false: plain APIC emulation even where the CPU could do it */
#ifdef TF_TEST_HOOKS
	char mutate[MUTATE_MAX];                   /* VMCS fields to mutate: COUNT:SEED:RUN */
	char break_vmcs[BREAK_VMCS_MAX];           /* VMCS fields to write before the first entry: ENCODING:VALUE ... */
#endif
};
