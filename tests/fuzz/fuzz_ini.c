/* Any bytes end in a bounded number of events, each with terminated texts. */
#include "lib/ini.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned line = 0;
	struct ini_event ev;
	struct ini p;

	ini_init(&p, (const char *)data, size);
	for (size_t events = 0;; events++) {
		memset(&ev, 0xee, sizeof(ev));
		ini_next(&p, &ev);
		if (!memchr(ev.name, 0, sizeof(ev.name)) || !memchr(ev.value, 0, sizeof(ev.value)))
			abort();
		if (ev.kind == INI_END)
			break;
		/* At most one event a line, in order. */
		if (ev.line <= line || events > size)
			abort();
		line = ev.line;
		if (ev.kind == INI_ERROR ? !ev.value[0] : !ev.name[0])
			abort();
	}
	return 0;
}
