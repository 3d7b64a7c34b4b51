/* The keys of trefoil.conf: what each is called, what it takes, and where that goes. For config.c. Pure. */
#pragma once
#include "core/config.h"

#define TEXT_OF(n)   TEXT_OF_(n)
#define TEXT_OF_(n)  #n
#define LOG_NAME     "log" /* what focus calls the hypervisor's log */
#define CONFIG_WORDS 7

struct config_key {
	const char *name, *expected;
	bool (*set)(void *obj, const struct config_key *k, const char *value);
	size_t at;          /* offset in the object, which is a struct vm_config or a struct config */
	size_t size;        /* of text */
	uint32_t min, max;  /* of numbers */
	const char *words[CONFIG_WORDS]; /* of choices */
	bool required, repeatable;
};

struct config_keys {
	const struct config_key *key;
	size_t n; /* 32 at most: a bit each in a mask of keys seen */
};

extern const struct config_keys config_vm_keys, config_global_keys;
