/*
 * A boot loader that behaves like the worst firmware: GRUB starts it with trefoil.elf and Trefoil's modules as its
 * modules; it makes of the machine and of the boot information what its command line says, and enters Trefoil.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE       4096u
#define KIB(n)     ((uint32_t)(n) << 10)
#define MIB(n)     ((uint32_t)(n) << 20)
#define GIB(n)     ((uint64_t)(n) << 30)
#define BIT(n)     (1u << (n))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum memory { RAM = 1, RESERVED = 2, ACPI = 3, NVS = 4, BAD = 5 };

extern char shim_begin[], shim_end[];
extern uint32_t faulted; /* the last RDMSR or WRMSR */

/* shim.c: the value of `name=value` on the command line, "" for `name` alone, NULL without it */
const char *option(const char *name);
bool option_is(const char *name, const char *value);
__attribute__((noreturn)) void fail(const char *why);
bool same(const void *a, const void *b, size_t n);
/* Does the page hold a module, Trefoil, its boot information, or the shim? */
bool page_used(uint32_t page);
void shim_main(uint32_t magic, uint32_t information);
__attribute__((noreturn)) void shim_enter(uint32_t entry, const void *information); /* start.asm */
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);

/* map.c */
struct __attribute__((packed)) range { uint64_t base, len; uint32_t type, zero; };
extern struct range map[];
extern unsigned map_n;
void map_add(uint64_t base, uint64_t len, enum memory type);
/* Gives [base, base + len) another type, or with type 0 takes it out of the map. */
void map_punch(uint64_t base, uint64_t len, enum memory type);
void map_edit(void); /* option map= */
uint64_t map_ram_top(void); /* below 4 GiB */

/* acpi.c: option acpi=; changes the tables and the copy of the RSDP */
void acpi_edit(uint8_t *rsdp, uint32_t len);
bool acpi_hidden(void);

/* machine.c, apic.c: the state that is left behind */
void machine_spoil(void *information);
void apic_spoil(void);
uint64_t rdmsr(uint32_t msr);
void wrmsr(uint32_t msr, uint64_t v);
struct cpuid { uint32_t a, b, c, d; };
struct cpuid cpuid(uint32_t leaf);
static inline void outb(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static inline void outl(uint16_t port, uint32_t v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port)); }
