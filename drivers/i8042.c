#include "drivers/i8042.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/tsc.h"

#define PORT_DATA   0x60
#define PORT_STATUS 0x64 /* read; commands when written */

#define STATUS_OUTPUT_FULL BIT(0)
#define STATUS_INPUT_FULL  BIT(1)
#define STATUS_MOUSE       BIT(5) /* the byte is from the second port */
#define STATUS_ABSENT      0xff

#define COMMAND_READ_CONFIG     0x20
#define COMMAND_WRITE_CONFIG    0x60
#define COMMAND_MOUSE_OFF       0xa7
#define COMMAND_KEYBOARD_OFF    0xad
#define COMMAND_ENABLE_KEYBOARD 0xae

#define CONFIG_INTERRUPT       0x01
#define CONFIG_MOUSE_INTERRUPT 0x02
#define CONFIG_KEYBOARD_OFF    0x10
#define CONFIG_MOUSE_OFF       0x20
#define CONFIG_TRANSLATE       0x40 /* from set 2, which the keyboard sends, to set 1 */

#define KEYBOARD_ENABLE 0xf4
#define KEYBOARD_ACK    0xfa

#define WAIT_US     50000
#define FLUSH_LIMIT 64 /* bytes: more than any controller holds */
#define READ_LIMIT  64

static uint8_t status(void) { return inb(PORT_STATUS); }

/* Waits for status bits to be as wanted. */
static bool await(uint8_t mask, uint8_t want)
{
	uint64_t end = rdtsc() + tsc_from_us(WAIT_US);

	while ((status() & mask) != want) {
		if (rdtsc() > end)
			return false;
		pause();
	}
	return true;
}

static bool write(uint16_t port, uint8_t v)
{
	if (!await(STATUS_INPUT_FULL, 0))
		return false;
	outb(port, v);
	return true;
}

static bool read(uint8_t *v)
{
	if (!await(STATUS_OUTPUT_FULL, STATUS_OUTPUT_FULL))
		return false;
	*v = inb(PORT_DATA);
	return true;
}

static void flush(void)
{
	for (unsigned i = 0; i < FLUSH_LIMIT && (status() & STATUS_OUTPUT_FULL); i++)
		(void)inb(PORT_DATA);
}

bool i8042_init(void)
{
	uint8_t config, answer = 0;

	if (status() == STATUS_ABSENT)
		return false;
	/* Else the answer to the next command could be a key: that one released which chose the entry in the boot menu. */
	if (!write(PORT_STATUS, COMMAND_KEYBOARD_OFF) || !write(PORT_STATUS, COMMAND_MOUSE_OFF))
		return false;
	flush();
	if (status() & STATUS_OUTPUT_FULL) /* without end: whatever is there, it is no controller */
		return false;
	if (!write(PORT_STATUS, COMMAND_READ_CONFIG) || !read(&config))
		return false;
	config |= CONFIG_INTERRUPT | CONFIG_TRANSLATE | CONFIG_MOUSE_OFF;
	config &= (uint8_t)~(CONFIG_MOUSE_INTERRUPT | CONFIG_KEYBOARD_OFF);
	if (!write(PORT_STATUS, COMMAND_WRITE_CONFIG) || !write(PORT_DATA, config) ||
	    !write(PORT_STATUS, COMMAND_ENABLE_KEYBOARD))
		return false;
	/* A keyboard that is plugged in later is on by itself. */
	if (write(PORT_DATA, KEYBOARD_ENABLE))
		for (unsigned i = 0; i < FLUSH_LIMIT && answer != KEYBOARD_ACK && read(&answer); i++)
			;
	flush();
	return true;
}

size_t i8042_read(uint8_t *buf, size_t n)
{
	size_t took = 0;
	uint8_t s, v;

	for (unsigned i = 0; i < READ_LIMIT && took < n; i++) {
		s = status();
		if (!(s & STATUS_OUTPUT_FULL) || s == STATUS_ABSENT)
			break;
		v = inb(PORT_DATA);
		if (!(s & STATUS_MOUSE))
			buf[took++] = v;
	}
	return took;
}
