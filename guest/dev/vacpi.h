/*
 * The ACPI fixed hardware of the emulated board: PM1a event and control block, PM timer (ACPI 6.5, 4.8.2 to 4.8.3),
 * and the ways to reset: port CF9h, the keyboard controller's pulse (FEh to port 64h), port 92h.
 */
#pragma once
#include <tf/dev.h>

#define VACPI_PM_BASE    0x600  /* +0 PM1_STS, +2 PM1_EN, +4 PM1_CNT, +8 PM_TMR */
#define VACPI_PM_LEN     16
#define VACPI_SCI_IRQ    9
#define VACPI_S5_TYP     5      /* SLP_TYP that the DSDT's \_S5 names */
#define VACPI_PM_TMR_HZ  3579545u
#define VACPI_RESET_PORT 0xcf9
#define VACPI_RESET_VALUE 0x06

enum vacpi_request { VACPI_POWER_OFF, VACPI_RESET };

struct vacpi {
	const struct dev_host *host;
	void *ctx;
	void (*request)(void *ctx, enum vacpi_request what);
	uint16_t pm1_sts, pm1_en, pm1_cnt;
	uint8_t cf9, port92;
	bool sci_level;
	uint64_t synced; /* TMR_STS is right up to this host time */
};

void vacpi_init(struct vacpi *v, const struct dev_host *host, void (*request)(void *ctx, enum vacpi_request what), void *ctx);
void vacpi_access_pm(void *v, struct dev_access *a);
void vacpi_access_cf9(void *v, struct dev_access *a);
void vacpi_access_92(void *v, struct dev_access *a);
void vacpi_access_64(void *v, struct dev_access *a);
/* PM timer carry status (TMR_STS: bit 31 changed, as the FADT says TMR_VAL_EXT) that is due. */
void vacpi_tick(struct vacpi *v);
/* The user pressed the power button: PWRBTN_STS, SCI if enabled. */
void vacpi_power_button(struct vacpi *v);
