/*
 * The INI dialect of trefoil.conf: `[section name]`, `key = value`, comments from `#` or `;` at the start of a line
 * (or after white space), values optionally in double quotes. Untrusted bytes: any input ends in events or an error.
 */
#pragma once
#include <tf/types.h>

#define INI_NAME_MAX  64
#define INI_VALUE_MAX 2048

enum ini_kind { INI_SECTION, INI_KEY, INI_ERROR, INI_END };
struct ini_event {
	enum ini_kind kind;
	unsigned line;                /* from 1 */
	char name[INI_NAME_MAX];      /* INI_SECTION: first word; INI_KEY: the key; INI_ERROR: the key if there */
	                              /* is one, "[" if it should have been a section */
	char value[INI_VALUE_MAX];    /* INI_SECTION: the rest, trimmed; INI_KEY: the value; INI_ERROR: what was */
	                              /* expected */
};
struct ini { const char *text; size_t len, at; unsigned line; };

void ini_init(struct ini *p, const char *text, size_t len);
/* The next event. After INI_ERROR the parser goes on with the following line. */
void ini_next(struct ini *p, struct ini_event *ev);
