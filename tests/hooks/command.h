/* The words of the hypervisor's command line that the hooks know; in GRUB's menu entry, behind the image's name. */
#pragma once
#include <tf/types.h>

#define WORD_MAX 192

/* Is `key` there, alone or as key=VALUE? Then *value is what follows it, up to the next blank; "" if nothing does. */
bool command_word(const char *key, char value[WORD_MAX]);
/* "NAME:NUMBER" taken apart; false if it is not of this form. */
bool command_count(const char *value, char name[WORD_MAX], uint64_t *count);
