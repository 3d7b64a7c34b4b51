/* The INI reader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/ini.h"

struct want { enum ini_kind kind; unsigned line; const char *name, *value; };

/* The text is handed over in a block of exactly its size, so that a read beyond it is caught. */
static void expect(const char *text, size_t len, const struct want *want)
{
	char *copy = malloc(len ? len : 1);
	struct ini_event ev;
	struct ini p;

	assert_non_null(copy);
	memcpy(copy, text, len);
	ini_init(&p, copy, len);
	for (;; want++) {
		ini_next(&p, &ev);
		assert_int_equal(ev.kind, want->kind);
		if (want->line)
			assert_int_equal(ev.line, want->line);
		if (want->name)
			assert_string_equal(ev.name, want->name);
		if (want->value)
			assert_string_equal(ev.value, want->value);
		if (ev.kind == INI_ERROR)
			assert_true(ev.value[0]);
		if (ev.kind == INI_END)
			break;
	}
	ini_next(&p, &ev);
	assert_int_equal(ev.kind, INI_END);
	free(copy);
}

#define EXPECT(text, ...) \
	expect(text, sizeof(text) - 1, (const struct want[]){ __VA_ARGS__, { INI_END, 0, NULL, NULL } })

static void sections_and_keys(void **state)
{
	(void)state;
	EXPECT("[trefoil]\nfocus = alpha\n\n[vm alpha]\r\n  memory=256M\r\nmodule.x-y_Z =  a b\t c \n[ vm   two  words "
	       "]",
	       { INI_SECTION, 1, "trefoil", "" }, { INI_KEY, 2, "focus", "alpha" }, { INI_SECTION, 4, "vm", "alpha" },
	       { INI_KEY, 5, "memory", "256M" }, { INI_KEY, 6, "module.x-y_Z", "a b\t c" },
	       { INI_SECTION, 7, "vm", "two  words" });
}

static void nothing(void **state)
{
	struct ini_event ev;
	struct ini p;

	(void)state;
	ini_init(&p, NULL, 0);
	ini_next(&p, &ev);
	assert_int_equal(ev.kind, INI_END);
	expect("\n\n  \t\n", 6, (const struct want[]){ { INI_END, 3, "", "" } });
	expect("\xef\xbb\xbf[a]", 6, (const struct want[]){ { INI_SECTION, 1, "a", "" }, { INI_END, 1, "", "" } });
	expect("\xef\xbb", 2, (const struct want[]){ { INI_ERROR, 1, NULL, NULL }, { INI_END, 1, "", "" } });
}

static void comments(void **state)
{
	(void)state;
	EXPECT("# one\n ; two\n[s] # three\nk = v ; four\nk = a#b;c\nk=# five\nk = \"a # b\" # six\nk = a \"b # "
	       "c\"\n#[x",
	       { INI_SECTION, 3, "s", "" }, { INI_KEY, 4, "k", "v" }, { INI_KEY, 5, "k", "a#b;c" },
	       { INI_KEY, 6, "k", "" }, { INI_KEY, 7, "k", "a # b" }, { INI_KEY, 8, "k", "a \"b" });
}

static void quotes(void **state)
{
	(void)state;
	EXPECT("k = \"\"\nk = \"  x  \"\nk = \"x\nk = \"x\"y\nk = \"\nk = x\"y\"\n",
	       { INI_KEY, 1, "k", "" }, { INI_KEY, 2, "k", "  x  " }, { INI_ERROR, 3, "k", NULL },
	       { INI_ERROR, 4, "k", NULL }, { INI_ERROR, 5, "k", NULL }, { INI_KEY, 6, "k", "x\"y\"" });
}

static void equals_signs_belong_to_the_value(void **state)
{
	(void)state;
	EXPECT("cmdline=console=ttyS0,115200 root==x\nk =\n", { INI_KEY, 1, "cmdline", "console=ttyS0,115200 root==x" },
	       { INI_KEY, 2, "k", "" });
}

static void errors_cost_one_line(void **state)
{
	(void)state;
	EXPECT("nonsense\n= v\n[\n[]\n[ ]\n[a b\n[a] b\n[a/b]\nk v\nk\x01 = v\nk = \x7f\n[a]\nok = 1",
	       { INI_ERROR, 1, "nonsense", NULL }, { INI_ERROR, 2, "", NULL }, { INI_ERROR, 3, "[", NULL },
	       { INI_ERROR, 4, "[", NULL }, { INI_ERROR, 5, "[", NULL }, { INI_ERROR, 6, "[", NULL },
	       { INI_ERROR, 7, "[", NULL }, { INI_ERROR, 8, "[", NULL }, { INI_ERROR, 9, "k", NULL },
	       { INI_ERROR, 10, NULL, NULL }, { INI_ERROR, 11, NULL, NULL }, { INI_SECTION, 12, "a", "" },
	       { INI_KEY, 13, "ok", "1" });
	/* A NUL, also in a section header, and a lone CR. */
	EXPECT("a = b\0c\n[s\0]\na = b\rc\nd = e\r", { INI_ERROR, 1, NULL, NULL }, { INI_ERROR, 2, "[", NULL },
	       { INI_ERROR, 3, NULL, NULL }, { INI_KEY, 4, "d", "e" });
}

static void limits(void **state)
{
	char text[INI_VALUE_MAX + 100];
	size_t n;

	(void)state;
	for (size_t extra = 0; extra < 2; extra++) {
		enum ini_kind kind = extra ? INI_ERROR : INI_KEY;

		n = INI_VALUE_MAX - 1 + extra;
		memcpy(text, "k=", 2);
		memset(text + 2, 'v', n);
		expect(text, n + 2, (const struct want[]){ { kind, 1, "k", NULL }, { INI_END, 0, NULL, NULL } });

		n = INI_NAME_MAX - 1 + extra;
		memset(text, 'k', n);
		memcpy(text + n, "=v", 2);
		expect(text, n + 2, (const struct want[]){ { kind, 1, NULL, NULL }, { INI_END, 0, NULL, NULL } });

		text[0] = '[';
		memset(text + 1, 's', n);
		text[n + 1] = ']';
		expect(text, n + 2, (const struct want[]){ { extra ? INI_ERROR : INI_SECTION, 1, NULL, NULL },
							    { INI_END, 0, NULL, NULL } });
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sections_and_keys), cmocka_unit_test(nothing), cmocka_unit_test(comments),
		cmocka_unit_test(quotes), cmocka_unit_test(equals_signs_belong_to_the_value),
		cmocka_unit_test(errors_cost_one_line), cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests_name("ini", tests, NULL, NULL);
}
