/* The ways to a UART's registers: I/O ports and device memory. */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/paging.h"
#include "drivers/uart.h"

static uint16_t port_of(const struct uart *u, unsigned reg) { return (uint16_t)(u->place.base + reg * u->place.stride); }
static uint8_t port_get(const struct uart *u, unsigned reg) { return inb(port_of(u, reg)); }
static void port_put(const struct uart *u, unsigned reg, uint8_t v) { outb(port_of(u, reg), v); }

static volatile void *reg_of(const struct uart *u, unsigned reg)
{
	return (volatile uint8_t *)u->regs + reg * u->place.stride;
}

static uint8_t get8(const struct uart *u, unsigned reg) { return *(volatile uint8_t *)reg_of(u, reg); }
static void put8(const struct uart *u, unsigned reg, uint8_t v) { *(volatile uint8_t *)reg_of(u, reg) = v; }
static uint8_t get16(const struct uart *u, unsigned reg) { return (uint8_t)*(volatile uint16_t *)reg_of(u, reg); }
static void put16(const struct uart *u, unsigned reg, uint8_t v) { *(volatile uint16_t *)reg_of(u, reg) = v; }
static uint8_t get32(const struct uart *u, unsigned reg) { return (uint8_t)*(volatile uint32_t *)reg_of(u, reg); }
static void put32(const struct uart *u, unsigned reg, uint8_t v) { *(volatile uint32_t *)reg_of(u, reg) = v; }

bool uart_open(struct uart *u, const struct uart_place *at)
{
	*u = (struct uart){ .place = *at, .get = port_get, .put = port_put };
	if (at->mmio) {
		u->regs = paging_map_device(HPA(at->base), UART_REGISTERS * at->stride);
		if (!u->regs)
			return false;
		u->get = at->width == 4 ? get32 : at->width == 2 ? get16 : get8;
		u->put = at->width == 4 ? put32 : at->width == 2 ? put16 : put8;
	}
	return uart_init(u);
}
