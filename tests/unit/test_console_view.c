/* What is asked for by the console's keys and comes later: reports in pieces, and the view. */
#include "console_fixture.h"

#define PAINTED "\x1b[Hone\x1b[K\r\ntwo\x1b[K\r\n\x1b[J"

static void paint(void) { console_paint(&mux, "one\ntwo\n", 8); }

static void test_keys(void **state)
{
	(void)state;
	keys(PREFIX "s" PREFIX "z" PREFIX "d" PREFIX "t" PREFIX "x");
	assert_string_equal(acts, "stats;zero;dump;trace;trace dump;");
	assert_string_equal(seen(), "");
	mux.cmds.ask = NULL;
	keys(PREFIX "s" PREFIX "l" "q");
	assert_null(strstr(seen(), "no such key"));
}

static void test_report_between_output(void **state)
{
	(void)state;
	focus_on(&web);
	say(&web, "/ # ");
	assert_true(console_report(&mux, "a\nb\n", 4));
	assert_string_equal(seen(), "/ # \r\na\r\nb\r\n/ # ");
}

static void test_report_loses_nothing(void **state)
{
	char line[32], want[SCREEN / 16] = "";
	unsigned said = 0;

	(void)state;
	focus_on(&web);
	nscreen = 0;
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(line, sizeof(line), "line %u of a report\n", i);
		snprintf(want + strlen(want), sizeof(want) - strlen(want), "line %u of a report\r\n", i);
		budget = 0;
		while (!console_report(&mux, line, strlen(line))) {
			/* Half of the ring is left, and of that log lines have enough. */
			assert_true(ring_free(&mux.out) < OUT_SIZE / 2 && ring_free(&mux.out) > OUT_SIZE / 4);
			assert_false(console_report_due(&mux));
			said++;
			for (budget = 10; !console_report_due(&mux); budget = 10)
				console_pump(&mux);
			budget = 0;
		}
	}
	assert_in_range(said, 5, 50);
	assert_string_equal(seen(), want);
}

/* A guest that is shown has its share of the line while there is a report. */
static void test_report_starves_nobody(void **state)
{
	size_t took = 0, lines = 0;

	(void)state;
	focus_on(&web);
	for (unsigned i = 0; i < 100; i++) {
		while (console_report(&mux, "a line\n", 7))
			lines++;
		while (!console_report_due(&mux)) {
			budget = 10;
			console_pump(&mux);
			took += say(&web, "guest's text ");
		}
	}
	assert_true(took > 100 * SHARE / 2);
	assert_true(lines > 100 * SHARE / 2 / 8);
}

static void test_view(void **state)
{
	const char *s;

	(void)state;
	focus_on(&web);
	say(&web, "/ # \x1b[1m");
	seen();
	paint();
	assert_string_equal(seen(), ""); /* there is no view yet */
	keys(PREFIX "l");
	assert_string_equal(acts, "view on;");
	paint();
	s = seen();
	assert_int_equal(strlen(strstr(s, "\x1b[H")), strlen(PAINTED)); /* behind what ends the guest's colours */
	assert_string_equal(strstr(s, "\x1b[H"), PAINTED);
	paint();
	assert_string_equal(seen(), PAINTED);
	/* Nothing else is shown meanwhile. */
	say(&web, "ls\r\n");
	say(&db, "hello\r\n");
	log_line("a log line");
	assert_false(console_report(&mux, "report\n", 7));
	assert_string_equal(seen(), "");
	keys("q");
	assert_string_equal(acts, "view on;view off;");
	assert_int_equal(web.ntyped, 0);
	assert_string_equal(seen(), "\r\n--- console: web (Ctrl-] ? for help) ---\r\na log line\r\n/ # \x1b[1mls\r\n");
	paint();
	assert_string_equal(seen(), "");
	keys("x");
	assert_string_equal(web.typed, "x");
}

static void test_view_of_the_log(void **state)
{
	(void)state;
	log_line("one");
	keys(PREFIX "l");
	log_line("two");
	assert_string_equal(seen(), "one\r\n");
	keys("q");
	assert_string_equal(seen(), "--- console: hypervisor log (Ctrl-] ? for help) ---\r\ntwo\r\n");
	/* Hidden lines stay hidden. */
	focus_on(&web);
	console_show_log(&mux, false);
	keys(PREFIX "l");
	log_line("three");
	keys("q");
	assert_null(strstr(seen(), "three"));
}

/* The key that ends the view may be the begin of a command. */
static void test_view_ends_by_a_command(void **state)
{
	(void)state;
	focus_on(&web);
	keys(PREFIX "l" PREFIX "z");
	assert_string_equal(acts, "view on;view off;zero;");
	assert_int_equal(web.ntyped, 0);
}

/* Guests do not wait for the end of the view, and their newest output is shown then. */
static void test_view_holds_up_nobody(void **state)
{
	const char *s;

	(void)state;
	focus_on(&web);
	console_show_all(&mux, true);
	budget = 0;
	while (say(&web, "waits\r\n") == 7)
		continue;
	keys(PREFIX "l");
	console_pump(&mux);
	assert_int_equal(web.readies, 1);
	for (unsigned i = 0; i < 20000; i++) {
		assert_int_equal(say(&web, "0123456789abcde\n"), 16);
		assert_int_equal(say(&db, "fedcba9876543210"), 16);
	}
	say(&web, "last\r\n");
	say(&db, "\r\nof db\r\n");
	seen();
	keys("q");
	s = seen();
	assert_non_null(strstr(s, "earlier bytes not shown"));
	assert_non_null(strstr(s, "last\r\n"));
	assert_non_null(strstr(s, "db| of db\r\n"));
}

static void test_paint_is_whole_or_not_at_all(void **state)
{
	(void)state;
	focus_on(&web);
	keys(PREFIX "l");
	budget = 0;
	for (unsigned i = 0; i < 1000; i++)
		paint();
	assert_int_equal(strlen(seen()) % strlen(PAINTED), 0);
	assert_true(ring_empty(&mux.out));
	paint();
	assert_string_equal(seen(), PAINTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_keys, setup),
		cmocka_unit_test_setup(test_report_between_output, setup),
		cmocka_unit_test_setup(test_report_loses_nothing, setup),
		cmocka_unit_test_setup(test_report_starves_nobody, setup),
		cmocka_unit_test_setup(test_view, setup),
		cmocka_unit_test_setup(test_view_of_the_log, setup),
		cmocka_unit_test_setup(test_view_ends_by_a_command, setup),
		cmocka_unit_test_setup(test_view_holds_up_nobody, setup),
		cmocka_unit_test_setup(test_paint_is_whole_or_not_at_all, setup),
	};

	return cmocka_run_group_tests_name("console view", tests, NULL, NULL);
}
