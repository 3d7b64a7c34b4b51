#include "tests/hooks/command.h"
#include "core/main.h"
#include "tests/hooks/faults.h"
#include <tf/err.h>
#include <tf/string.h>

static const char *line = "";

void test_hook_boot(const struct boot_info *bi)
{
	line = bi->cmdline;
	faults_read();
}

bool command_word(const char *key, char value[WORD_MAX])
{
	size_t n = strlen(key);

	for (const char *s = line, *end; *s; s = *end ? end + 1 : end) {
		end = strchr(s, ' ');
		end = end ? end : s + strlen(s);
		if (strncmp(s, key, n) || (s + n != end && s[n] != '='))
			continue;
		s += s + n == end ? n : n + 1;
		return tf_strncpy(value, s, (size_t)(end - s), WORD_MAX);
	}
	return false;
}

bool command_count(const char *value, char name[WORD_MAX], uint64_t *count)
{
	const char *colon = strchr(value, ':');

	return colon && tf_strncpy(name, value, (size_t)(colon - value), WORD_MAX) &&
	       tf_parse_u64(colon + 1, false, count) == TF_OK;
}
