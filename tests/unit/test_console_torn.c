/* Log lines in the middle of what a guest writes: both stay readable. */
#include "console_fixture.h"
#include "core/vt.h"

static void test_log_tears_a_line_cleanly(void **state)
{
	(void)state;
	focus_on(&web);
	say(&web, "done\r\n/ # l");
	log_line("first");
	log_line("second");
	assert_string_equal(seen(), "done\r\n/ # l\r\nfirst\r\nsecond\r\n/ # l");
	say(&web, "s\r\n");
	assert_string_equal(seen(), "s\r\n");
	log_line("between lines");
	say(&web, "next");
	assert_string_equal(seen(), "between lines\r\nnext");
}

static void test_torn_details(void **state)
{
	char longline[CONSOLE_LINE_MAX + 2];

	(void)state;
	focus_on(&web);
	/* CR and LF torn apart: no empty line, nothing twice. */
	say(&web, "text\r");
	log_line("log");
	say(&web, "\nnext\r\n");
	assert_string_equal(seen(), "text\r\r\nlog\r\nnext\r\n");
	say(&web, "text\r");
	log_line("log");
	say(&web, "50%");
	assert_string_equal(seen(), "text\r\r\nlog\r\n50%");
	/* A query to the terminal and a bell are not repeated; an unfinished sequence is cancelled first. */
	say(&web, "\r\n\a# \x1b[1mls\x1b[6n");
	log_line("log");
	assert_string_equal(seen(), "\r\n\a# \x1b[1mls\x1b[6n" PLAIN_RESTORE "\r\nlog\r\n# \x1b[1mls");
	say(&web, "\x1b[m\r\n\x1b[3");
	log_line("log");
	say(&web, "1mred");
	assert_string_equal(seen(), "\x1b[m\r\n\x1b[3\x18\r\nlog\r\n\x1b[31mred");
	/* What a progress line wrote over itself is not repeated. */
	say(&web, "\x1b[m\r\n10%\r20%");
	log_line("log");
	assert_string_equal(seen(), "\x1b[m\r\n10%\r20%\r\nlog\r\n20%");
	/* A guest that ends its lines with LF alone. */
	say(&web, "\none\ntwo");
	seen();
	log_line("log");
	assert_string_equal(seen(), "\r\nlog\r\ntwo");
	/* Too long to keep: goes on where it was. */
	say(&web, "\r\n");
	memset(longline, 'x', sizeof(longline));
	longline[sizeof(longline) - 1] = 0;
	say(&web, longline);
	seen();
	log_line("log");
	say(&web, "y\r\n");
	assert_string_equal(seen(), "\r\nlog\r\ny\r\n");
}

/* What stands in the terminal's row in which `text` begins, if it can be read there. */
static bool readable(const char *bytes, const char *text)
{
	static cell_t cells[80 * 25];
	struct vt vt;

	vt_init(&vt, cells, 80, 25);
	vt_write(&vt, (const uint8_t *)bytes, strlen(bytes));
	for (uint32_t y = 0; y < vt.rows; y++) {
		const cell_t *row = vt_row(&vt, y);
		size_t n = 0;

		while (text[n] && cell_glyph(row[n]) == (unsigned char)text[n] && cell_fg(row[n]) == CELL_WHITE &&
		       cell_bg(row[n]) == CELL_BLACK)
			n++;
		if (!text[n])
			return true;
	}
	return false;
}

static void test_log_is_readable_behind_anything(void **state)
{
	static const char *const nasty[] = {
		"\x1b[8m", "\x1b[8mx\n", "\x1b[30;40m\n", "\x1b[0;7m\n", "\x0e\x1b)0", "\x1b(0\n", "\x1b]0;title", "\x1b]0;title\n", "\x1bP\n",
		"\x1b[?7l\x1b[1;78H", "\x1b[4h\n", "\x1b[;31", "\x1b[8m\x1b" "7\x1b[m\x1b" "8\n", "\x1b[8m\x1b[s\x1b[m\x1b[u\n", "\x1b(", "\x1b",
		"\x1b[8m\x1b[0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0m\n", "\x1b[8m\x1b[?1049h\x1b[m\x1b[?1049l\n", "\x1b[1?\xff", "\x1bP\x1b\x01\x1b\a",
		"\x0e\x1b)0\x1b]\x0f\a\n", "\xe2\x80\r\n",
	};
	const char *log = "[    1.000000] cpu0 info test: event=seen with=ijklmnopq and=more";

	(void)state;
	focus_on(&web);
	for (size_t i = 0; i < ARRAY_SIZE(nasty); i++) {
		say(&web, nasty[i]);
		log_line(log);
		const char *all = seen(), *at = strstr(all, log);

		if (!readable(all, log))
			fail_msg("not readable behind number %zu", i);
		assert_true(at > all && at[-1] == '\n'); /* for those who search for it by line */
		assert_null(strstr(at, "\x1b[m"));
		say(&web, "\x1b" "c\n");
		seen();
	}
	/* All rows scroll again, with the cursor where it was. */
	say(&web, "\x1b[2;4r\x1b[3;1Hthree\n");
	for (unsigned i = 0; i < 8; i++)
		log_line(log);
	const char *all = seen();
	assert_true(readable(all, "three"));
	assert_int_equal(count(all, "\x1b[r"), 1);
}

/* What tidy programs send costs nothing. */
static void test_log_behind_tidy_output(void **state)
{
	static const char *const tidy[] = {
		"[  \x1b[0;32mOK\x1b[0m  ] Started.\n", "\x1b[1;31mred\x1b[m\n", "\x1b[?2004h\x1b[?25l\n", "\x1b(0lqk\x1b(B\n", "\x0elqk\x0f\n",
		"\x1b[1;5r\x1b[r\n", "\x1b]0;title\x07\n", "\x1b]0;title\x1b\\\n", "\x1b[4hx\x1b[4l\n", "\x1b[?7lx\x1b[?7h\n", "\x1b[2J\n",
	};

	(void)state;
	focus_on(&web);
	for (size_t i = 0; i < ARRAY_SIZE(tidy); i++) {
		char expected[128];

		say(&web, tidy[i]);
		log_line("log");
		snprintf(expected, sizeof(expected), "%slog\r\n", tidy[i]);
		assert_string_equal(seen(), expected);
	}
}

/* A prompt that sets the window's title must not come back without the title's end: it would swallow all that follows. */
static void test_torn_prompt_with_title(void **state)
{
	(void)state;
	focus_on(&web);
	say(&web, "\a\x1b]0;me@web\ame@web$ ");
	seen();
	log_line("log");
	assert_string_equal(seen(), "\r\nlog\r\n\x1b]0;me@web\ame@web$ ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_log_tears_a_line_cleanly, setup),
		cmocka_unit_test_setup(test_torn_details, setup),
		cmocka_unit_test_setup(test_log_is_readable_behind_anything, setup),
		cmocka_unit_test_setup(test_log_behind_tidy_output, setup),
		cmocka_unit_test_setup(test_torn_prompt_with_title, setup),
	};

	return cmocka_run_group_tests_name("console torn", tests, NULL, NULL);
}
