/*
 * Instructions that access a device where others have done so before: the code changes in place, its page is mapped to other
 * memory, by its own entry or by one above, CR3 is another, or there are more of them than anyone would remember. Each is called
 * several times, on the local APIC's TPR and the I/O APIC's index register.
 */
#include "payload.h"

#define TPR     (LAPIC + LAPIC_TPR)
#define OFFSET  0x7f8
#define ROUNDS  3
#define ABSENT  0xd0000000ull
#define MANY    24
#define PTE_A   BIT(5)
#define RW      (PTE_P | PTE_W)

typedef uint32_t (*access_fn)(uint64_t address, uint64_t value);
struct code { const char *name; uint8_t len, bytes[20]; };

static const struct code
	load = { "mov (%rdi), %eax", 3, { 0x8b, 0x07, 0xc3 } },
	load_ecx = { "mov (%rdi), %ecx", 5, { 0x8b, 0x0f, 0x89, 0xc8, 0xc3 } },
	load_r9 = { "mov (%rdi), %r9d", 7, { 0x44, 0x8b, 0x0f, 0x44, 0x89, 0xc8, 0xc3 } },
	load_byte = { "movzbl (%rdi), %eax", 4, { 0x0f, 0xb6, 0x07, 0xc3 } },
	load_esp = { "mov (%rdi), %esp", 11, { 0x48, 0x89, 0xe2, 0x8b, 0x27, 0x89, 0xe0, 0x48, 0x89, 0xd4, 0xc3 } },
	store = { "mov %esi, (%rdi)", 5, { 0x89, 0x37, 0x89, 0xf0, 0xc3 } },
	store_esp = { "mov %esp, (%rdi)", 13, { 0x48, 0x89, 0xe2, 0x89, 0xf4, 0x89, 0x27, 0x48, 0x89, 0xd4, 0x89, 0xf0, 0xc3 } },
	store_imm = { "movl $0x35, (%rdi)", 9, { 0xc7, 0x07, 0x35, 0, 0, 0, 0x31, 0xc0, 0xc3 } },
	add = { "add %esi, (%rdi)", 5, { 0x01, 0x37, 0x89, 0xf0, 0xc3 } };
static const struct code *const all[] = { &load, &load_ecx, &load_r9, &load_byte, &load_esp, &store, &store_esp, &store_imm, &add };

static uint8_t first[2 * PAGE] __attribute__((aligned(4096))), second[PAGE] __attribute__((aligned(4096)));
static uint64_t __attribute__((aligned(4096))) other_pt[512], other_pd[512], other_pdpt[512], other_pml4[512];

/* Serialised, as code that has just been written must be. */
static void put(uint8_t *where, const struct code *c)
{
	memcpy(where, c->bytes, c->len);
	cpuid(0, 0);
}

static void call_at(const char *what, const struct code *c, uint64_t at)
{
	static const uint64_t devices[] = { TPR, IOAPIC };

	for (unsigned d = 0; d < ARRAY_SIZE(devices); d++)
		for (unsigned i = 0; i < ROUNDS; i++) {
			mmio_write(devices[d], 0x10 + i);
			uint32_t result = ((access_fn)at)(devices[d], 0x20 + i);
			print("%s, %s: %x, register %x\n", what, c->name, result, mmio_read(devices[d]));
		}
}

static void map(uint8_t *page) { window_set(0, (uint64_t)page | RW); }

static void changed_in_place(void)
{
	map(first);
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		put(first + OFFSET, all[i]);
		call_at("written", all[i], WINDOW + OFFSET);
	}
}

static void mapped_anew(void)
{
	put(first + OFFSET, &load);
	put(second + OFFSET, &store);
	for (unsigned i = 0; i < ROUNDS; i++) {
		map(first);
		call_at("first page", &load, WINDOW + OFFSET);
		map(second);
		call_at("second page", &store, WINDOW + OFFSET);
	}
}

static uint64_t *table(uint64_t entry) { return (uint64_t *)(entry & ~(PAGE - 1) & ~PTE_NX); }

/* The window is behind the first 4 GiB. */
static void reached_by_other_tables(void)
{
	uint64_t pd = window_pd[0], cr3 = rdcr3(), *pml4 = table(cr3);

	map(first);
	call_at("one table", &load, WINDOW + OFFSET);
	other_pt[0] = (uint64_t)second | RW;
	window_pd[0] = (uint64_t)other_pt | RW;
	wrcr3(cr3);
	call_at("another table", &store, WINDOW + OFFSET);
	window_pd[0] = pd;
	wrcr3(cr3);
	call_at("the first again", &load, WINDOW + OFFSET);
	memcpy(other_pml4, pml4, PAGE);
	memcpy(other_pdpt, table(pml4[0]), PAGE);
	memcpy(other_pd, window_pd, PAGE);
	other_pml4[0] = (uint64_t)other_pdpt | RW | PTE_U;
	other_pdpt[WINDOW / GiB(1)] = (uint64_t)other_pd | RW;
	other_pd[0] = (uint64_t)other_pt | RW;
	wrcr3((uint64_t)other_pml4);
	call_at("other tables", &store, WINDOW + OFFSET);
	wrcr3(cr3);
}

static void accessed_flag(void)
{
	map(first);
	call_at("accessed", &load, WINDOW + OFFSET);
	window_set(0, (uint64_t)first | RW);
	call_at("not accessed", &load, WINDOW + OFFSET);
	print("accessed: %d\n", (window_pt[0] & PTE_A) != 0);
}

static void code_across_pages(void)
{
	uint8_t *end = first + PAGE - 1;

	map(first);
	window_set(1, (uint64_t)(first + PAGE) | RW);
	put(end, &load);
	call_at("across", &load, WINDOW + PAGE - 1);
	window_set(1, (uint64_t)second | RW);
	memcpy(second, (uint8_t[]){ 0x07, 0xc3 }, 2);
	cpuid(0, 0);
	call_at("across to another page", &load, WINDOW + PAGE - 1);
	window_set(1, 0);
}

/* What is known accesses RAM and what is behind it at once. */
static void operand_across_pages(void)
{
	static uint32_t ram[PAGE / 4] __attribute__((aligned(4096)));
	uint64_t end = WINDOW + 3 * PAGE;

	map(first);
	window_set(2, (uint64_t)ram | RW);
	window_set(3, ABSENT | RW);
	for (unsigned i = 1; i < 4; i++) {
		ram[PAGE / 4 - 1] = 0x76543210;
		put(first + OFFSET, &load);
		call_at("before", &load, WINDOW + OFFSET);
		print("across: %x\n", ((access_fn)(WINDOW + OFFSET))(end - i, 0));
		put(first + OFFSET, &store);
		call_at("before", &store, WINDOW + OFFSET);
		((access_fn)(WINDOW + OFFSET))(end - i, 0xa1b2c3d4);
		print("across: %x\n", ram[PAGE / 4 - 1]);
	}
	window_set(2, 0);
	window_set(3, 0);
}

static void many(void)
{
	map(first);
	for (unsigned i = 0; i < MANY; i++)
		put(first + 64 * i, all[i % 3]);
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint32_t sum = 0;

		for (unsigned i = 0; i < MANY; i++) {
			mmio_write(TPR, i);
			sum += ((access_fn)(WINDOW + 64 * i))(TPR, 0);
		}
		print("many: %u\n", sum);
	}
}

void payload_main(void)
{
	irq_init();
	changed_in_place();
	mapped_anew();
	reached_by_other_tables();
	accessed_flag();
	code_across_pages();
	operand_across_pages();
	many();
	window_set(0, 0);
	mmio_write(TPR, 0);
}
