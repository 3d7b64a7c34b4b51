/*
 * What the payloads share: tiny Multiboot kernels in long mode that say on COM1 what they observe. The same file boots
 * under GRUB on a bare machine and as a guest, and must print the same lines there; a line that starts with '#' is about
 * the one machine and is left out of a comparison. The last line is "payload: done".
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define KiB(n) ((uint64_t)(n) << 10)
#define MiB(n) ((uint64_t)(n) << 20)
#define GiB(n) ((uint64_t)(n) << 30)
#define BIT(n) (1ull << (n))
#define PAGE   4096ull

void payload_main(void);

/* print.c: %s %c %d %u %x with `l`, width and zero fill. */
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void print_flush(void); /* until the transmitter is empty */
void print_init(void);
void *memset(void *dst, int c, size_t n);
void *memcpy(void *dst, const void *src, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* boot.c: what the loader said. */
#define MAX_RANGES 64
struct range { uint64_t base, len; uint32_t type; };
extern char boot_cmdline[512];
extern struct range boot_map[MAX_RANGES];
extern unsigned boot_nmap;
/* The value of `name=value`, or of a bare `name` (then ""); NULL without it. Valid until the next call. */
const char *option(const char *name);
uint64_t option_number(const char *name, uint64_t otherwise);
bool option_is(const char *name, const char *value);
struct acpi_ports { uint16_t pm_timer, pm1a_cnt; };
struct acpi_ports acpi_find(void); /* 0 where absent */
const uint8_t *acpi_table(const char *signature); /* NULL where absent */

/* trap.c, start.asm */
struct frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};
struct fault { int vector; uint64_t error, rip, cr2, rcx, rsi, rdi; };
extern struct fault fault;
/* Called first for every exception; true: continue at frame->rip. */
extern bool (*volatile trap_hook)(struct frame *);
typedef void (*irq_fn)(struct frame *);
void irq_set(unsigned vector, irq_fn fn);
void trap_init(void);
__attribute__((returns_twice)) int trap_catch(void);
void trap_release(void);
/* Runs fn in ring 3; it comes back by itself or by a fault. */
void user_enter(void (*fn)(void));

#define NO_FAULT  (-1)
#define USER_DONE 0x80 /* the "fault" with which a user function comes back normally */

/* Runs the statements; the vector of the exception that they ended in, or NO_FAULT. Details are in `fault`. */
#define TRY(...) ({ fault = (struct fault){ .vector = NO_FAULT }; if (!trap_catch()) { __VA_ARGS__; } trap_release(); fault.vector; })
#define USER(fn) TRY(user_enter(fn))
/* "name: ok" or "name: fault=13 error=0"; the statement is what is tried. */
#define REPORT(name, ...) report(name, TRY(__VA_ARGS__))
void report(const char *name, int vector);

/* GDT selectors of start.asm */
#define SEL_CODE   0x08
#define SEL_DATA   0x10
#define SEL_ABSENT 0x18 /* a data segment with P = 0 */
#define SEL_UCODE  0x23
#define SEL_UDATA  0x2b
#define SEL_TSS    0x30
#define SEL_LDT    0x40
#define SEL_CONF   0x50 /* conforming code */
#define SEL_LIMIT  0x58 /* data, limit 1234h bytes */
#define SEL_MAX    0x60
extern uint64_t gdt[];
extern uint8_t gdt_end[];

/* Paging: the first 4 GiB are mapped to themselves, for ring 3 too. The window is 512 pages of one's own behind it. */
#define WINDOW      GiB(4)
#define WINDOW_2M   (GiB(4) + MiB(2)) /* 2 MiB pages from here */
#define PTE_P       BIT(0)
#define PTE_W       BIT(1)
#define PTE_U       BIT(2)
#define PTE_PS      BIT(7)
#define PTE_NX      BIT(63)
extern uint64_t window_pt[512], window_pd[512], page_directory[2048];
extern uint8_t image_start[], image_end[];
void window_set(unsigned page, uint64_t pte);
/* A 2 MiB mapping of any physical address; returns the virtual address. */
volatile void *window_phys(uint64_t phys);

static inline void outb(uint16_t p, uint8_t v) { __asm__ volatile("outb %0, %1" :: "a"(v), "Nd"(p)); }
static inline void outw(uint16_t p, uint16_t v) { __asm__ volatile("outw %0, %1" :: "a"(v), "Nd"(p)); }
static inline void outl(uint16_t p, uint32_t v) { __asm__ volatile("outl %0, %1" :: "a"(v), "Nd"(p)); }
static inline uint8_t inb(uint16_t p) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline uint16_t inw(uint16_t p) { uint16_t v; __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline uint32_t inl(uint16_t p) { uint32_t v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline void wrmsr(uint32_t m, uint64_t v)
{
	__asm__ volatile("wrmsr" :: "c"(m), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}
static inline uint64_t rdmsr(uint32_t m)
{
	uint32_t a, d;
	__asm__ volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(m));
	return (uint64_t)d << 32 | a;
}
static inline uint64_t rdtsc(void)
{
	uint32_t a, d;
	__asm__ volatile("rdtsc" : "=a"(a), "=d"(d) :: "memory");
	return (uint64_t)d << 32 | a;
}
struct cpuid { uint32_t a, b, c, d; };
static inline struct cpuid cpuid(uint32_t leaf, uint32_t sub)
{
	struct cpuid r;
	__asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(sub) : "memory");
	return r;
}
#define CR_FUNCTIONS(n) \
	static inline uint64_t rdcr##n(void) { uint64_t v; __asm__ volatile("mov %%cr" #n ", %0" : "=r"(v)); return v; } \
	static inline void wrcr##n(uint64_t v) { __asm__ volatile("mov %0, %%cr" #n :: "r"(v) : "memory"); }
CR_FUNCTIONS(0) CR_FUNCTIONS(2) CR_FUNCTIONS(3) CR_FUNCTIONS(4) CR_FUNCTIONS(8)
static inline void cli(void) { __asm__ volatile("cli" ::: "memory"); }
static inline void sti(void) { __asm__ volatile("sti" ::: "memory"); }
static inline void hlt_wait(void) { __asm__ volatile("sti; hlt; cli" ::: "memory"); }
static inline uint64_t rflags(void) { uint64_t v; __asm__ volatile("pushfq; pop %0" : "=r"(v) :: "memory"); return v; }

static inline uint32_t mmio_read(uint64_t a) { return *(volatile uint32_t *)a; }
static inline void mmio_write(uint64_t a, uint32_t v) { *(volatile uint32_t *)a = v; }

/* Devices at their usual places. */
#define COM1        0x3f8
#define LAPIC       0xfee00000ull
#define LAPIC_ID    0x20
#define LAPIC_VER   0x30
#define LAPIC_TPR   0x80
#define LAPIC_PPR   0xa0
#define LAPIC_EOI   0xb0
#define LAPIC_LDR   0xd0
#define LAPIC_DFR   0xe0
#define LAPIC_SVR   0xf0
#define LAPIC_ISR   0x100
#define LAPIC_IRR   0x200
#define LAPIC_ICR   0x300
#define LAPIC_ICR_HI 0x310
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_LINT0 0x350
#define LAPIC_LVT_ERROR 0x370
#define LAPIC_INIT_COUNT 0x380
#define LAPIC_CUR_COUNT 0x390
#define LAPIC_DIVIDE 0x3e0
#define LAPIC_SELF_IPI 0x3f0 /* x2APIC mode only */
#define IOAPIC      0xfec00000ull
#define IOAPIC_WIN  0x10
#define PIC1        0x20
#define PIC2        0xa0
#define PIT         0x40
#define PIC_VECTOR  0x20
#define PIT_HZ      1193182
#define MSR_APIC_BASE 0x1b
#define MSR_X2APIC  0x800
#define MSR_EFER    0xc0000080
#define X2APIC_ENABLE BIT(10) /* of MSR_APIC_BASE */
static inline uint32_t lapic_read(unsigned r) { return mmio_read(LAPIC + r); }
static inline void lapic_write(unsigned r, uint32_t v) { mmio_write(LAPIC + r, v); }
/* In x2APIC mode, by the same offsets */
static inline uint64_t x2apic_read(unsigned r) { return rdmsr(MSR_X2APIC + r / 16); }
static inline void x2apic_write(unsigned r, uint64_t v) { wrmsr(MSR_X2APIC + r / 16, v); }

/* irq.c: the LAPIC on with all of its LVT masked but LINT0, which passes the PIC; the PIC at 20h with all masked. */
void irq_init(void);
void pic_unmask(unsigned irq);
void pic_mask_all(void);
void pic_eoi(unsigned irq);
void lapic_self_ipi(uint8_t vector);
/* Channel 0, periodic (mode 2). */
void pit_periodic(unsigned hz);
