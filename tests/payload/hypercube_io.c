/* Ports, strings, memory that is not RAM, and devices. */
#include "hypercube.h"

#define ROM      0xc0000ull
#define HOLE     0xa0000ull
#define ABSENT   0xd0000000ull
#define HPET     0xfed00000ull
#define DEVICE_PAGES 8

/* What the board has, and what it lacks that others have. */
static const uint16_t ports[] = {
	0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x61, 0x70, 0x71, 0x60, 0x64, 0x92, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd,
	0x3fe, 0x3ff, 0x2f8, 0x4d0, 0x4d1, 0x600, 0x602, 0x604, 0x608, 0xcf8, 0xcf9, 0xcfc, 0x80, 0xb2, 0xe9, 0x1f7, 0x3d4, 0x510,
	0xb004, 0x8900, 0,
};

/* Without the last eight: for them Bochs reads the byte behind the I/O bitmaps, and takes what is there for the guest's access. */
static uint16_t any_port(void)
{
	switch (cube_below(4)) {
	case 0: return (uint16_t)cube_below(0xfff8);
	case 1: return (uint16_t)(cube_random() & 0x3ff);
	default: return (uint16_t)(ports[cube_below(ARRAY_SIZE(ports))] + (cube_below(8) ? 0 : cube_below(4)));
	}
}

/* Reset by port 64h, 92h or CF9h, and power-off: a write to one of these bytes. */
static bool ends_us(uint16_t port, unsigned bytes)
{
	static const uint16_t last[] = { 0x64, 0x92, 0xcf9, 0x605 };

	for (unsigned i = 0; i < ARRAY_SIZE(last); i++)
		if (port <= last[i] && last[i] < port + bytes)
			return !cube_ends;
	return false;
}

void cube_port(void)
{
	uint16_t p = any_port();
	uint64_t v = cube_value();
	unsigned how = cube_below(6);

	if (how < 3 && ends_us(p, 1u << how))
		return;
	switch (how) {
	case 0: outb(p, (uint8_t)v); break;
	case 1: outw(p, (uint16_t)v); break;
	case 2: outl(p, (uint32_t)v); break;
	case 3: inb(p); break;
	case 4: inw(p); break;
	default: inl(p); break;
	}
}

/* The end of RAM, below 4 GiB; the last page is nobody's. */
static uint64_t ram_end(void)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < boot_nmap; i++)
		if (boot_map[i].type == 1 && boot_map[i].base < GiB(3) && boot_map[i].base + boot_map[i].len > end)
			end = boot_map[i].base + boot_map[i].len;
	return end;
}

static uint64_t any_memory(void)
{
	const uint64_t bases[DEVICE_PAGES] = { LAPIC, LAPIC, IOAPIC, HOLE, ROM, ABSENT, HPET, ram_end() };
	uint64_t base = bases[cube_below(DEVICE_PAGES)], offset = cube_random();

	switch (cube_below(4)) {
	case 0: return base + (offset & 0xff0);
	case 1: return base + (offset & 0xfff);
	case 2: return base - 8 + (offset & 15);
	default: return base + (offset & 0x3ff);
	}
}

#define STRING(insn, count, to, from) \
	__asm__ volatile(insn "; cld" : "+c"(count), "+D"(to), "+S"(from) : "d"(p), "a"(0) : "memory")

/* INS and STOS write where no code or data of ours can be hit: into the scratch pages, or where no RAM is. */
void cube_string(void)
{
	bool down = cube_below(4) == 0;
	uint16_t p = any_port();
	uint64_t room = SCRATCH_SIZE / 4 / 4, count = cube_below(16) ? cube_below(16) : cube_below((uint32_t)room + 1);
	uint64_t scratch = (uint64_t)cube_scratch + SCRATCH_SIZE / 4 + cube_below(SCRATCH_SIZE / 4);
	uint64_t to = cube_below(3) ? scratch + (down ? SCRATCH_SIZE / 4 : 0) : ABSENT + cube_below(2 * PAGE);
	uint64_t from = cube_below(2) ? scratch : cube_below(8) ? any_memory() : cube_value();
	unsigned how = cube_below(12);

	if (how >= 3 && how < 6 && ends_us(p, 1u << (how - 3)))
		return;
	if (cube_below(64) == 0) /* not canonical */
		to = BIT(47) + to;
	if (down)
		__asm__ volatile("std");
	switch (how) {
	case 0: STRING("rep insb", count, to, from); break;
	case 1: STRING("rep insw", count, to, from); break;
	case 2: STRING("rep insl", count, to, from); break;
	case 3: STRING("rep outsb", count, to, from); break;
	case 4: STRING("rep outsw", count, to, from); break;
	case 5: STRING("rep outsl", count, to, from); break;
	case 6: STRING("rep movsb", count, to, from); break;
	case 7: STRING("rep movsl", count, to, from); break;
	case 8: STRING("rep stosq", count, to, from); break;
	case 9: STRING("rep lodsw", count, to, from); break;
	case 10: STRING("addr32 insb", count, to, from); break;
	default: STRING("insl", count, to, from); break;
	}
	__asm__ volatile("cld");
}

/* Reads anywhere; writes where no RAM is. */
void cube_mmio(void)
{
	uint64_t a = any_memory(), v = cube_value();
	volatile void *p = (volatile void *)a;
	unsigned how = cube_below(14);

	if (a < ram_end() && a > ROM + PAGE)
		how |= 8;
	if (a - IOAPIC < PAGE || a - LAPIC < PAGE) {
		v = cube_apic(v);
		if (!cube_ends && ((how != 2 && how != 5) || a % 4)) /* what it writes would not be this */
			how |= 8;
	}
	switch (how) {
	case 0: *(volatile uint8_t *)p = (uint8_t)v; break;
	case 1: *(volatile uint16_t *)p = (uint16_t)v; break;
	case 2: *(volatile uint32_t *)p = (uint32_t)v; break;
	case 3: *(volatile uint64_t *)p = v; break;
	case 4: __asm__ volatile("lock orl %k1, %0" : "+m"(*(volatile uint32_t *)p) : "r"(v) : "cc"); break;
	case 5: __asm__ volatile("xchgl %k1, %0" : "+m"(*(volatile uint32_t *)p), "+r"(v)); break;
	case 6: __asm__ volatile("addw %w1, %0" : "+m"(*(volatile uint16_t *)p) : "r"(v) : "cc"); break;
	case 7: __asm__ volatile("btsl %k1, %0" : "+m"(*(volatile uint32_t *)p) : "r"(v & 0x7f) : "cc"); break;
	case 8: (void)*(volatile uint8_t *)p; break;
	case 9: (void)*(volatile uint16_t *)p; break;
	case 10: (void)*(volatile uint32_t *)p; break;
	case 11: (void)*(volatile uint64_t *)p; break;
	case 12: __asm__ volatile("cmpb %b1, %0" :: "m"(*(volatile uint8_t *)p), "q"(v) : "cc"); break;
	default: __asm__ volatile("testl %k1, %0" :: "m"(*(volatile uint32_t *)p), "r"(v) : "cc"); break;
	}
}

/* Sequences of a device's own shape, with values that no driver gives. */
void cube_device(void)
{
	uint64_t v = cube_random();

	switch (cube_below(9)) {
	case 0: /* PIT: a mode, then one or two bytes of count */
		outb(PIT + 3, (uint8_t)v);
		outb((uint16_t)(PIT + (v >> 6 & 3)), (uint8_t)(v >> 8));
		outb((uint16_t)(PIT + (v >> 6 & 3)), (uint8_t)(v >> 16));
		break;
	case 1: /* PIC: an initialisation of any length, or a command */
		outb(v & 1 ? PIC1 : PIC2, (uint8_t)(v >> 8));
		outb(v & 1 ? PIC1 + 1 : PIC2 + 1, (uint8_t)(v >> 16));
		if (v & 2)
			outb(v & 1 ? PIC1 + 1 : PIC2 + 1, (uint8_t)(v >> 24));
		break;
	case 2: /* RTC: any register, any value */
		outb(0x70, (uint8_t)(v & 0x8f));
		outb(0x71, (uint8_t)(v >> 8));
		break;
	case 3: /* UART */
		outb((uint16_t)(COM1 + 1 + v % 7), (uint8_t)(v >> 8));
		break;
	case 4: /* I/O APIC */
		mmio_write(IOAPIC, (uint32_t)(v & 0x3f));
		mmio_write(IOAPIC + IOAPIC_WIN, (uint32_t)cube_apic(v >> 32));
		break;
	case 5: /* local APIC: any register */
		lapic_write((unsigned)(v & 0x3f) * 16, (uint32_t)cube_apic(v >> 32));
		break;
	case 6: /* an interrupt to itself, or a timer */
		lapic_write(LAPIC_SVR, 0x1ff);
		lapic_write(LAPIC_ICR, 0x40000 | (uint32_t)cube_apic(v & 0xcfff));
		lapic_write(LAPIC_LVT_TIMER, (uint32_t)(v >> 32 & 0x600ff));
		lapic_write(LAPIC_INIT_COUNT, (uint32_t)(v >> 20 & 0xfff));
		break;
	case 7: /* what is pending comes */
		sti();
		for (volatile unsigned i = 0; i < 20; i++)
			;
		cli();
		break;
	default: /* and ends */
		lapic_write(LAPIC_EOI, 0);
		outb(PIC2, 0x20);
		outb(PIC1, 0x20);
		break;
	}
}
