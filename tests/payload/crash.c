/*
 * A hostile guest. The command line names what it does: triple, badstate, ud-loop, mmio-flood, port-flood, msr-flood,
 * hlt-if0, memscan; `count=N` says how often, `seed=N` where the random numbers start.
 */
#include "payload.h"

#define COUNT_DEFAULT 100000
#define SCAN_STEP     MiB(2)
#define SCAN_END      GiB(64)
#define NONCANONICAL  0x8000000000000000ull

static uint64_t seed;

static uint64_t random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void triple(void)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) none = { 0, 0 };

	print("crash: triple\n");
	print_flush();
	__asm__ volatile("lidt %0; ud2" :: "m"(none));
}

/* States that are legal and that an entry check might still trip over; an exit in each. */
static void badstate(void)
{
	static const uint32_t msrs[] = { 0x174, 0x175, 0x176, 0x277, 0x1d9,
					 0xc0000080, 0xc0000081, 0xc0000082, 0xc0000100, 0xc0000101, 0xc0000102 };
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) gdtr, idtr, odd = { 0xffff, 0xffffffffffff0000 };
	uint64_t cr0 = rdcr0(), cr4 = rdcr4(), cr3 = rdcr3();
	unsigned survived = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
		uint64_t old = 0;
		static const uint64_t values[] = { 0, ~0ull, NONCANONICAL, 0x7fffffffffff, 0xffff800000000000, 1 };

		if (TRY(*(volatile uint64_t *)&old = rdmsr(msrs[i])) != NO_FAULT)
			continue;
		for (unsigned k = 0; k < ARRAY_SIZE(values); k++) {
			if (TRY(wrmsr(msrs[i], values[k]); cpuid(0, 0)) == NO_FAULT)
				wrmsr(msrs[i], old);
		}
	}
	__asm__ volatile("sgdt %0; sidt %1" : "=m"(gdtr), "=m"(idtr));
	__asm__ volatile("lidt %0; cpuid; lidt %1" :: "m"(odd), "m"(idtr) : "rax", "rbx", "rcx", "rdx");
	__asm__ volatile("lgdt %0; cpuid; lgdt %1" :: "m"(odd), "m"(gdtr) : "rax", "rbx", "rcx", "rdx");
	/* No LDT; null data segments, null SS at CPL 0; every flag that may be set. */
	__asm__ volatile("lldt %w0; cpuid" :: "r"(0) : "rax", "rbx", "rcx", "rdx");
	__asm__ volatile("mov %w0, %%ds; mov %w0, %%es; mov %w0, %%fs; mov %w0, %%gs; mov %w0, %%ss; cpuid;"
			 "mov %w1, %%ss; mov %w1, %%ds; mov %w1, %%es"
			 :: "S"(0), "D"(SEL_DATA) : "rax", "rbx", "rcx", "rdx");
	__asm__ volatile("mov %w0, %%ds; mov %w0, %%gs; cpuid; mov %w1, %%ds" :: "S"(3), "D"(SEL_DATA) : "rax", "rbx", "rcx", "rdx");
	__asm__ volatile("mov %w0, %%fs; cpuid" :: "S"(SEL_LIMIT) : "rax", "rbx", "rcx", "rdx");
	__asm__ volatile("push %0; popfq; cpuid; pushq $2; popfq" :: "r"(0xffffffffffcffcffull) : "rax", "rbx", "rcx", "rdx", "cc");
	survived += 6;
	for (unsigned bit = 0; bit < 64; bit++) {
		if (bit != 31 && bit != 0 && TRY(wrcr0(cr0 ^ BIT(bit)); cpuid(0, 0)) == NO_FAULT)
			wrcr0(cr0);
		if (bit != 5 && bit != 20 && bit != 21 && bit != 22 && bit != 23 && TRY(wrcr4(cr4 ^ BIT(bit)); cpuid(0, 0)) == NO_FAULT)
			wrcr4(cr4);
		survived += 2;
	}
	TRY(wrcr3(cr3 | 0xfff); cpuid(0, 0));
	wrcr3(cr3);
	/* A call far away, with an exit and an interrupt's delivery on the way: a jump to the edge of the canonical space. */
	TRY(((void (*)(void))0x7fffffffffffull)());
	TRY(((void (*)(void))NONCANONICAL)());
	TRY(__asm__ volatile("mov %%ss, %%eax; mov %%eax, %%ss; ud2" ::: "rax"));
	print("crash: badstate survived %u\n", survived + 4);
}

static void ud_loop(uint64_t count)
{
	unsigned n = 0;

	for (uint64_t i = 0; i < count; i++)
		n += TRY(__asm__ volatile("ud2")) == 6;
	print("crash: ud-loop %u\n", n);
}

static void mmio_flood(uint64_t count)
{
	static const uint64_t base[] = { 0xa0000, 0xc0000000, 0xd0000000, LAPIC + 0x400, IOAPIC + 0x20, 0xfed00000, 0xfffff000 };

	for (uint64_t i = 0; i < count; i++) {
		volatile void *p = (volatile void *)(base[random() % ARRAY_SIZE(base)] + (random() & 0xff8));

		switch (random() & 7) {
		case 0: *(volatile uint8_t *)p = (uint8_t)i; break;
		case 1: *(volatile uint16_t *)p = (uint16_t)i; break;
		case 2: *(volatile uint32_t *)p = (uint32_t)i; break;
		case 3: *(volatile uint64_t *)p = i; break;
		case 4: (void)*(volatile uint8_t *)p; break;
		case 5: (void)*(volatile uint16_t *)p; break;
		case 6: (void)*(volatile uint32_t *)p; break;
		default: (void)*(volatile uint64_t *)p; break;
		}
	}
	print("crash: mmio-flood done\n");
}

/* What would end or silence this very guest. */
static bool port_spared(uint16_t p)
{
	static const struct { uint16_t from, to; } spared[] = {
		{ 0x60, 0x66 }, { 0x92, 0x92 }, { 0x3f0, 0x3ff }, { 0x600, 0x60f }, { 0xcf8, 0xcff }, { 0xb000, 0xb0ff }, { 0x8900, 0x8900 },
		{ 0x1f0, 0x1f7 }, { 0x170, 0x177 }, { 0x370, 0x377 }, { 0xc000, 0xc0ff },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(spared); i++)
		if (p + 3u >= spared[i].from && p <= spared[i].to)
			return true;
	return false;
}

static void port_flood(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		uint16_t p = (uint16_t)(random() & 1 ? random() & 0x3ff : random());

		if (port_spared(p))
			continue;
		switch (random() % 6) {
		case 0: outb(p, (uint8_t)random()); break;
		case 1: outw(p, (uint16_t)random()); break;
		case 2: outl(p, (uint32_t)random()); break;
		case 3: inb(p); break;
		case 4: inw(p); break;
		default: inl(p); break;
		}
	}
	print_init();
	print("crash: port-flood done\n");
}

static void msr_flood(uint64_t count)
{
	static const uint32_t base[] = { 0, 0x100, 0x400, 0x800, 0xc00, 0xc0000000, 0xc0000100, 0x40000000, 0xc0010000 };

	/* Reads only: a random write to STAR or FS_BASE is the guest's own affair, one to APIC_BASE would end its interrupts. */
	for (uint64_t i = 0; i < count; i++)
		TRY(rdmsr(base[random() % ARRAY_SIZE(base)] + (uint32_t)(random() & 0x1ff)));
	print("crash: msr-flood done\n");
}

static bool mapped(uint64_t a)
{
	for (unsigned i = 0; i < boot_nmap; i++)
		if (a + SCAN_STEP > boot_map[i].base && a < boot_map[i].base + boot_map[i].len)
			return true;
	return a < SCAN_STEP || a == IOAPIC || a == LAPIC;
}

/* Guest-physical space up to 64 GiB: what the map does not name must read as ones, also after a write. */
static void memscan(void)
{
	uint64_t absent = 0, bad = 0, skipped = 0;

	for (uint64_t a = 0; a < SCAN_END; a += SCAN_STEP) {
		volatile uint64_t *p = window_phys(a);

		if (mapped(a)) {
			skipped++;
			continue;
		}
		absent++;
		bad += *p != ~0ull;
		*p = 0;
		bad += *p != ~0ull;
	}
	print("# memscan: absent %lu mapped %lu\n", absent, skipped);
	print("crash: memscan bad %lu\n", bad);
}

void payload_main(void)
{
	uint64_t count = option_number("count", COUNT_DEFAULT);

	seed = option_number("seed", 88172645463325252ull) | 1;
	if (option("badstate"))
		badstate();
	if (option("ud-loop"))
		ud_loop(count);
	if (option("mmio-flood"))
		mmio_flood(count);
	if (option("port-flood"))
		port_flood(count);
	if (option("msr-flood"))
		msr_flood(count);
	if (option("memscan"))
		memscan();
	if (option("triple"))
		triple();
	if (option("hlt-if0")) {
		print("crash: hlt-if0\n");
		print_flush();
		for (;;)
			__asm__ volatile("cli; hlt");
	}
}
