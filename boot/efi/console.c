/* The firmware's console: screen, keyboard, and usually a serial line. */
#include "boot/efi/loader.h"
#include <tf/string.h>

#define LINE_MAX       640
#define TIMER_PER_SECOND 10000000ull /* 100 ns */

static void put_text(const char *text)
{
	CHAR16 wide[2 * LINE_MAX + 1];
	size_t n = 0;

	if (!loader_system->ConOut)
		return;
	for (; *text && n + 2 < ARRAY_SIZE(wide); text++) {
		if (*text == '\n')
			wide[n++] = '\r';
		wide[n++] = (uint8_t)*text < 0x80 ? (CHAR16)*text : '?';
	}
	wide[n] = 0;
	(void)loader_system->ConOut->OutputString(loader_system->ConOut, wide);
}

void say(const char *fmt, ...)
{
	char line[LINE_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)tf_vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	put_text("trefoil: ");
	put_text(line);
	put_text("\n");
}

const char *status_text(EFI_STATUS status)
{
	switch (status) {
	case EFI_SUCCESS:             return "no error";
	case EFI_LOAD_ERROR:          return "load error";
	case EFI_INVALID_PARAMETER:   return "invalid parameter";
	case EFI_UNSUPPORTED:         return "not supported by the firmware, or not a file";
	case EFI_BAD_BUFFER_SIZE:     return "bad buffer size";
	case EFI_BUFFER_TOO_SMALL:    return "buffer too small";
	case EFI_NOT_READY:           return "not ready";
	case EFI_DEVICE_ERROR:        return "device error";
	case EFI_OUT_OF_RESOURCES:    return "out of memory";
	case EFI_VOLUME_CORRUPTED:    return "the file system is damaged";
	case EFI_NO_MEDIA:            return "the medium has been removed";
	case EFI_MEDIA_CHANGED:       return "the medium has been changed";
	case EFI_NOT_FOUND:           return "not found";
	case EFI_ACCESS_DENIED:       return "access denied";
	case EFI_END_OF_FILE:         return "the file ends early";
	case EFI_TIMEOUT:             return "time-out";
	case EFI_SECURITY_VIOLATION:  return "security violation";
	default:                      return "firmware error";
	}
}

void wait_key(unsigned seconds)
{
	SIMPLE_INPUT_INTERFACE *in = loader_system->ConIn;
	EFI_EVENT events[2];
	EFI_INPUT_KEY key;
	UINTN n = 0, which;

	/* A key that was pressed before the message was read does not count. */
	for (unsigned i = 0; in && i < 64 && in->ReadKeyStroke(in, &key) == EFI_SUCCESS; i++)
		;
	if (loader_boot->CreateEvent(EVT_TIMER, 0, NULL, NULL, &events[0]) != EFI_SUCCESS) {
		(void)loader_boot->Stall(seconds * 1000000ul);
		return;
	}
	n = 1;
	if (in && in->WaitForKey)
		events[n++] = in->WaitForKey;
	if (loader_boot->SetTimer(events[0], TimerRelative, seconds * TIMER_PER_SECOND) != EFI_SUCCESS ||
	    loader_boot->WaitForEvent(n, events, &which) != EFI_SUCCESS)
		(void)loader_boot->Stall(seconds * 1000000ul);
	else if (which == 1)
		(void)in->ReadKeyStroke(in, &key);
	(void)loader_boot->CloseEvent(events[0]);
}
