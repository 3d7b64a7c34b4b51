/*
 * `plant` on the command line: before the first audit each VM gets what its name says it must not have, and the host what
 * stands behind `plant=`. The first VM is the victim; it and the others without a plant go on.
 */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/gdt.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/percpu.h"
#include "arch/x86_64/pte.h"
#include "core/audit.h"
#include "core/vmm.h"
#include "guest/audit.h"
#include "tests/hooks/command.h"
#include "vmx/cpu.h"
#include <tf/assert.h>
#include <tf/log.h>
#include <tf/string.h>

#define FAR        GiB(512) /* where no guest has anything */
#define NO_RAM     0xfed00000ull
#define MISCONFIG  BIT(51)
#define ROM        OPTION_ROM_BASE
#define OWN_RAM    PAGE_SIZE

static void must(enum tf_err e) { ASSERT(e == TF_OK); }

static void map(struct vm *vm, hpa_t frame) { must(ept_map(&vm->ept, GPA(FAR), frame, PAGE_SIZE, EPT_RWX, MT_WB)); }

/* Not the next one that is used. */
static hpa_t a_free_frame(void)
{
	const unsigned order = 4;
	hpa_t p;

	must(frame_alloc(order, &p));
	frame_free(p, order);
	return HPA(p.v + (PAGE_SIZE << order) - PAGE_SIZE);
}

static uint64_t *root(struct vm *vm) { return phys_to_virt(vm->ept.root); }

/* The entry of any table that maps `addr`. */
static uint64_t *leaf(hpa_t table, uint64_t addr)
{
	for (unsigned level = TABLE_LEVELS - 1;; level--) {
		uint64_t *e = (uint64_t *)phys_to_virt(table) + addr / table_level_size(level) % TABLE_ENTRIES;

		if (!level || (level < TABLE_LEVELS - 1 && (*e & TABLE_LARGE)))
			return e;
		ASSERT(*e & TABLE_ADDR);
		table = HPA(*e & TABLE_ADDR);
	}
}

/* A bit that the isolation of the guest hangs on; none of these VMs runs. */
static void plant_in_vmcs(struct vm *vm, const char *name)
{
	const struct { const char *name; uint32_t field; uint64_t flip; } plants[] = {
		{ "eptp", VMCS_EPT_POINTER.enc, PAGE_SIZE },
		{ "msr-bitmap", VMCS_MSR_BITMAP.enc, PAGE_SIZE },
		{ "io-bitmap", VMCS_IO_BITMAP_B.enc, PAGE_SIZE },
		{ "controls", VMCS_PROC_CTL.enc, PROC_MSR_BITMAPS },
		{ "apic-page", VMCS_VIRTUAL_APIC.enc, PAGE_SIZE },
		{ "vpid", VMCS_VPID.enc, BIT(8) },
		{ "entry-msrs", VMCS_ENTRY_MSR_LOAD_COUNT.enc, 1 },
		{ "exit-msrs", VMCS_EXIT_MSR_LOAD_COUNT.enc, 1 },
		{ "saved-msrs", VMCS_EXIT_MSR_STORE_COUNT.enc, 1 },
		{ "link", VMCS_LINK_POINTER.enc, ~0ull },
		{ "host-cr3", VMCS_HOST_CR3.enc, PAGE_SIZE },
	};

	vmx_vcpu_load(&vm->vcpus[0]->vmx);
	for (unsigned i = 0; i < ARRAY_SIZE(plants); i++)
		if (!strcmp(name, plants[i].name))
			vmcs_vmwrite(plants[i].field, vmcs_vmread(plants[i].field) ^ plants[i].flip);
}

static void plant_in(struct vm *vm, struct vm *victim)
{
	const char *w = vm->cfg.name;
	struct vmx_cpu *cpu = this_cpu()->vmx;

	if (!strcmp(w, "neighbour"))
		map(vm, victim->mem.slots[0].hpa);
	else if (!strcmp(w, "state"))
		map(vm, virt_to_phys(vm));
	else if (!strcmp(w, "image"))
		map(vm, image_phys);
	else if (!strcmp(w, "ept-table"))
		map(vm, victim->ept.root);
	else if (!strcmp(w, "own-table"))
		map(vm, vm->ept.root);
	else if (!strcmp(w, "vmcs"))
		map(vm, victim->vcpus[0]->vmx.vmcs);
	else if (!strcmp(w, "bitmap"))
		map(vm, vm->vcpus[0]->vmx.msr_bitmap);
	else if (!strcmp(w, "vmxon"))
		map(vm, cpu->vmxon);
	else if (!strcmp(w, "page-table"))
		map(vm, HPA(read_cr3() & PTE_ADDR));
	else if (!strcmp(w, "free"))
		map(vm, a_free_frame());
	else if (!strcmp(w, "device"))
		map(vm, HPA(NO_RAM));
	else if (!strcmp(w, "moved"))
		map(vm, vm->mem.slots[0].hpa);
	else if (!strcmp(w, "swapped"))
		*leaf(vm->ept.root, OWN_RAM) = *leaf(victim->ept.root, OWN_RAM);
	else if (!strcmp(w, "rom"))
		must(ept_protect(&vm->ept, GPA(ROM), PAGE_SIZE, EPT_R | EPT_W));
	else if (!strcmp(w, "uncached"))
		*leaf(vm->ept.root, ROM) &= ~(7ull << 3);
	else if (!strcmp(w, "misconfigured"))
		*leaf(vm->ept.root, ROM) |= MISCONFIG;
	else if (!strcmp(w, "circle"))
		root(vm)[1] = vm->ept.root.v | EPT_RWX;
	else if (!strcmp(w, "table"))
		root(vm)[1] = root(victim)[0];
	else if (!strcmp(w, "shared"))
		vm->empty_rom = victim->empty_rom;
	else if (!strcmp(w, "in-use"))
		frame_free(vm->apic_access, 0);
	else if (!strcmp(w, "port"))
		*(uint8_t *)phys_to_virt(vm->io_bitmap) = 0xfe;
	else if (!strcmp(w, "msr"))
		vmx_msr_open(&vm->vcpus[0]->vmx, MSR_IA32_APIC_BASE, false, true);
	else
		plant_in_vmcs(vm, w);
}

static void map_low(hpa_t cr3)
{
	uint64_t *table = phys_to_virt(cr3);
	hpa_t p;

	for (unsigned level = TABLE_LEVELS - 1; level; level--) {
		must(frame_alloc_zero(&p));
		table[0] = p.v | PTE_P | PTE_W;
		table = phys_to_virt(p);
	}
	table[0] = p.v | PTE_P | PTE_W | PTE_NX;
}

static void plant_in_host(const char *w)
{
	hpa_t cr3 = HPA(read_cr3() & PTE_ADDR);
	uint64_t text = (uint64_t)text_start, last = (uint64_t)image_end - PAGE_SIZE; /* data, and no stack */
	uint64_t *table = phys_to_virt(cr3);

	if (!strcmp(w, "writable-code"))
		*leaf(cr3, text) |= PTE_W;
	else if (!strcmp(w, "executable-data"))
		*leaf(cr3, last) &= ~PTE_NX;
	else if (!strcmp(w, "executable-constants"))
		*leaf(cr3, (uint64_t)rodata_start) &= ~PTE_NX;
	else if (!strcmp(w, "lower-half"))
		map_low(cr3);
	else if (!strcmp(w, "guard"))
		*leaf(cr3, (uint64_t)boot_ist_stacks[0]) = *leaf(cr3, last - 3 * PAGE_SIZE);
	else if (!strcmp(w, "alias"))
		*leaf(cr3, (uint64_t)phys_to_virt(virt_to_phys(text_start))) = virt_to_phys(text_start).v | PTE_P | PTE_W | PTE_NX;
	else if (!strcmp(w, "uncached"))
		*leaf(cr3, last - PAGE_SIZE) |= PTE_PCD;
	else if (!strcmp(w, "user"))
		for (unsigned level = TABLE_LEVELS; level-- > 0;) {
			uint64_t *e = &table[(last - 2 * PAGE_SIZE) / table_level_size(level) % TABLE_ENTRIES];

			*e |= PTE_U;
			table = phys_to_virt(HPA(*e & PTE_ADDR));
		}
	else if (!strcmp(w, "write-protect"))
		write_cr0(read_cr0() & ~CR0_WP);
	else
		log_error("test", "event=no-such-plant name=%s", w);
}

void test_hook_before_audit(void)
{
	static bool done;
	char value[WORD_MAX];

	if (done || !command_word("plant", value))
		return;
	done = true;
	for (char *word = value, *comma; *word; word = comma) {
		comma = strchr(word, ',') ? strchr(word, ',') : word + strlen(word);
		if (*comma)
			*comma++ = '\0';
		plant_in_host(word);
	}
	for (uint32_t i = 1; i < vmm_count(); i++)
		plant_in(vmm_vm(i), vmm_vm(0));
	log_info("test", "event=planted");
}
