/* The console multiplexer: what a person sees on the line, and what the keys do. */
#include "console_fixture.h"

static void test_log_first(void **state)
{
	(void)state;
	log_line("one");
	log_line("two\n");
	log_line("th\nree\x1b[1m\r\n");
	assert_true(console_tx_pending(&mux));
	assert_string_equal(seen(), "one\r\ntwo\r\nth ree [1m\r\n");
	assert_false(console_tx_pending(&mux));
}

static void test_focused_is_raw(void **state)
{
	uint8_t all[256], got[256];

	(void)state;
	focus_on(&web);
	for (int i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	assert_int_equal(vconsole_write(&web.vc, all, 256), 256);
	console_pump(&mux);
	assert_int_equal(nscreen, 256);
	memcpy(got, screen, 256);
	assert_memory_equal(got, all, 256);
}

static void test_banner_and_replay(void **state)
{
	(void)state;
	say(&db, "hidden\r\ntext");
	assert_string_equal(seen(), "");
	keys(PREFIX "2");
	assert_string_equal(seen(), "--- console: db (Ctrl-] ? for help) ---\r\nhidden\r\ntext");
	say(&db, "!\r\n");
	assert_string_equal(seen(), "!\r\n");
	/* What has been seen is not shown again, but the unfinished line is. */
	say(&db, "/ # ");
	keys(PREFIX "1");
	assert_string_equal(seen(), "/ # \r\n--- console: web (Ctrl-] ? for help) ---\r\n");
	say(&db, "more\r\n");
	keys(PREFIX "2");
	assert_string_equal(seen(), "--- console: db (Ctrl-] ? for help) ---\r\n/ # more\r\n");
}

static void test_replay_is_bounded(void **state)
{
	char line[32];
	const char *s;
	unsigned skipped, n = 10000;

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		snprintf(line, sizeof(line), "line %u\r\n", i);
		assert_int_equal(say(&db, line), strlen(line));
	}
	keys(PREFIX "2");
	s = seen();
	assert_int_equal(sscanf(s, "--- console: db (Ctrl-] ? for help) ---\r\n--- %u earlier bytes not shown ---", &skipped), 1);
	assert_int_equal(db.vc.lost, skipped);
	s = strstr(s, "line");
	assert_non_null(s);
	assert_int_equal(*(s - 1), '\n'); /* starts with a whole line, and ends with the newest */
	assert_true(strlen(s) <= CONSOLE_REPLAY_MAX && strlen(s) > CONSOLE_REPLAY_MAX - 64);
	assert_string_equal(s + strlen(s) - 11, "line 9999\r\n");
	assert_int_equal(skipped + strlen(s), 10 * 8 + 90 * 9 + 900 * 10 + 9000 * 11);
	keys(PREFIX "1" PREFIX "2");
	assert_null(strstr(seen(), "not shown"));
	/* The unfinished line is not put in front of text that does not belong to it. */
	say(&db, "/ # ");
	keys(PREFIX "1");
	for (unsigned i = 0; i < n; i++)
		say(&db, "another line\r\n");
	seen();
	keys(PREFIX "2");
	s = seen();
	assert_non_null(strstr(s, "not shown"));
	assert_null(strstr(s, "/ # "));
}

static void test_write_larger_than_history(void **state)
{
	static uint8_t big[HISTORY + 1000];

	(void)state;
	memset(big, 'x', sizeof(big));
	assert_int_equal(vconsole_write(&db.vc, big, sizeof(big)), sizeof(big));
	assert_int_equal(db.vc.lost, 1000);
}

/* What was on the screen before there was a multiplexer comes again when the log is asked for, and not before. */
static void test_log_from_before(void **state)
{
	(void)state;
	console_log_shown(&mux, "early one", 9);
	console_log_shown(&mux, "early two", 9);
	assert_string_equal(seen(), "");
	log_line("late");
	assert_string_equal(seen(), "late\r\n");
	console_focus(&mux, &web.vc);
	seen();
	log_line("with the guest");
	assert_null(strstr(seen(), "early"));
	console_focus(&mux, NULL);
	assert_non_null(strstr(seen(), "early one\r\nearly two\r\nlate\r\nwith the guest\r\n"));
}

static void test_log_never_waits(void **state)
{
	static uint8_t big[OUT_SIZE * 2];
	const char *s;
	char line[80];
	unsigned lost;

	(void)state;
	focus_on(&web);
	budget = 0;
	memset(big, 'x', sizeof(big));
	vconsole_write(&web.vc, big, sizeof(big));
	for (int i = 0; i < 2000; i++) {
		snprintf(line, sizeof(line), "log line %05d and some text behind it", i);
		log_line(line);
	}
	s = seen();
	assert_non_null(strstr(s, "log line 00000")); /* the reserve took the first ones at once */
	assert_non_null(strstr(s, "log line 01999"));
	assert_non_null(strstr(s, "--- log: "));
	assert_int_equal(sscanf(strstr(s, "--- log: "), "--- log: %u lines not shown ---", &lost), 1);
	assert_int_equal(count(s, "log line"), 2000 - lost);
	assert_true(lost > 0 && lost < 2000);
}

static void test_log_view(void **state)
{
	const char *s;
	char line[80];

	(void)state;
	focus_on(&web);
	keys(PREFIX "g");
	assert_string_equal(seen(), "--- log lines are hidden ---\r\n");
	for (int i = 0; i < 1000; i++) {
		snprintf(line, sizeof(line), "log line %05d and some text behind it", i);
		log_line(line);
	}
	assert_string_equal(seen(), "");
	keys(PREFIX "0");
	s = seen();
	assert_memory_equal(s, "--- console: hypervisor log", 27);
	s = strchr(s, '\n') + 1;
	assert_memory_equal(s, "log line", 8);
	assert_true(strlen(s) > CONSOLE_REPLAY_MAX - 64);
	assert_non_null(strstr(s, "log line 00999"));
	log_line("fresh");
	assert_string_equal(seen(), "fresh\r\n");
	/* Leaving the log in the middle of its replay does not pour the rest over the guest. */
	budget = 0;
	keys(PREFIX "0" PREFIX "1");
	log_line("hidden");
	s = seen();
	s = strstr(s, "console: web");
	assert_non_null(s);
	assert_null(strstr(s, "log line"));
	assert_null(strstr(s, "hidden"));
	keys(PREFIX "g");
	log_line("shown again");
	s = seen();
	assert_non_null(strstr(s, "shown again\r\n"));
	assert_null(strstr(s, "hidden\r\n"));
	/* The same with log lines shown, but for those that are new. */
	budget = 0;
	keys(PREFIX "0");
	log_line("new one");
	keys(PREFIX "1");
	s = strstr(seen(), "console: web");
	assert_non_null(s);
	assert_null(strstr(s, "log line"));
	assert_null(strstr(s, "shown again"));
	assert_int_equal(count(s, "new one\r\n"), 1);
}

static void test_show_all(void **state)
{
	(void)state;
	focus_on(&web);
	keys(PREFIX "a");
	assert_string_equal(seen(), "--- other guests are shown ---\r\n");
	say(&web, "/ # ");
	say(&db, "\x1b[1;31mhel");
	assert_string_equal(seen(), "/ # ");
	say(&db, "lo\x1b[0m\tyou\x07\r\nsecond\r\nthird");
	assert_string_equal(seen(), "\r\ndb| hello\tyou\r\ndb| second\r\n/ # ");
	/* Taking the focus shows the rest of the line as it is. */
	keys(PREFIX "2");
	assert_string_equal(seen(), "\r\n--- console: db (Ctrl-] ? for help) ---\r\nthird");
	keys(PREFIX "a" PREFIX "1");
	assert_non_null(strstr(seen(), "other guests are hidden"));
	say(&db, "x\r\n");
	assert_string_equal(seen(), "");
	/* An unfinished line that was ended with a prefix is not shown again. */
	keys(PREFIX "2");
	say(&db, "/ # ");
	keys(PREFIX "a" PREFIX "1");
	say(&db, "ls\r\n");
	seen();
	keys(PREFIX "2");
	assert_string_equal(seen(), "\r\n--- console: db (Ctrl-] ? for help) ---\r\n");
}

static void test_show_all_breaks_long_lines(void **state)
{
	char text[CONSOLE_LINE_MAX + 21];
	const char *s;

	(void)state;
	focus_on(&web);
	console_show_all(&mux, true);
	memset(text, 'x', sizeof(text));
	strcpy(text + sizeof(text) - 3, "\r\n");
	say(&db, text);
	s = seen();
	assert_int_equal(count(s, "db| "), 2);
	assert_int_equal(count(s, "x"), CONSOLE_LINE_MAX + 18);
	assert_int_equal(count(s, "\r\n"), 2);
}

static void test_show_all_catches_up(void **state)
{
	const char *s;

	(void)state;
	for (int i = 0; i < 10000; i++)
		say(&db, "one of many lines\r\n");
	focus_on(&web);
	console_show_all(&mux, true);
	s = seen();
	assert_non_null(strstr(s, "bytes not shown)\r\ndb| one of"));
	assert_true(count(s, "db| one of many lines\r\n") > 800);
	assert_int_equal(count(s, "db| "), count(s, "db| one of many lines\r\n") + 1);
	assert_string_equal(seen(), "");
}

static void test_input(void **state)
{
	(void)state;
	keys("nobody");
	focus_on(&web);
	keys("hello\r" PREFIX PREFIX "\x03");
	assert_string_equal(web.typed, "hello\r\x1d\x03");
	keys(PREFIX "2world");
	assert_string_equal(db.typed, "world");
	assert_string_equal(web.typed, "hello\r\x1d\x03");
	/* The prefix and its key may come in two pieces. */
	keys(PREFIX);
	keys("1x");
	assert_string_equal(web.typed, "hello\r\x1d\x03x");
}

static void test_input_waits(void **state)
{
	char text[CONSOLE_INPUT + 101];
	const char *s;

	(void)state;
	focus_on(&web);
	web.takes = 3;
	keys("abcdef");
	assert_string_equal(web.typed, "abc");
	web.takes = 1;
	console_pump(&mux);
	assert_string_equal(web.typed, "abcd");
	web.takes = SIZE_MAX;
	keys("g");
	assert_string_equal(web.typed, "abcdefg");
	/* Overflow is counted, and said once. */
	web.takes = 0;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	keys(text);
	keys("y");
	assert_int_equal(web.vc.input_lost, 101);
	s = seen();
	assert_int_equal(count(s, "web does not read its input"), 1);
	keys(PREFIX "i");
	assert_non_null(strstr(seen(), "input lost 101"));
	web.takes = SIZE_MAX;
	console_pump(&mux);
	assert_int_equal(web.ntyped, 7 + CONSOLE_INPUT);
	web.takes = 0;
	keys("stale");
	vconsole_flush_input(&web.vc);
	web.takes = SIZE_MAX;
	console_pump(&mux);
	assert_int_equal(web.ntyped, 7 + CONSOLE_INPUT);
}

static void test_commands(void **state)
{
	const char *s;

	(void)state;
	keys(PREFIX "r");
	assert_non_null(strstr(seen(), "choose a guest"));
	assert_string_equal(acts, "");
	focus_on(&db);
	keys(PREFIX "r" PREFIX "k" PREFIX "b");
	assert_string_equal(acts, "restart db;stop db;start db;");
	acts[0] = 0;
	db.takes = 0;
	keys("stale" PREFIX "r");
	db.takes = SIZE_MAX;
	console_pump(&mux);
	assert_string_equal(db.typed, "");
	acts[0] = 0;
	keys(PREFIX "qn" PREFIX "q" PREFIX "x");
	assert_string_equal(acts, "");
	assert_string_equal(db.typed, "x"); /* the prefix was the answer to the question */
	keys(PREFIX "qy");
	assert_string_equal(acts, "off;");
	seen();
	say(&db, "/ # ");
	keys(PREFIX "v");
	assert_string_equal(acts, "off;audit;");
	assert_string_equal(seen(), "/ # \r\n--- verifying: the log tells ---\r\n/ # ");
	keys(PREFIX "i");
	s = seen();
	assert_non_null(strstr(s, "*2 db: state of db;"));
	assert_non_null(strstr(s, " 1 web: state of web;"));
	keys(PREFIX "?");
	assert_non_null(strstr(seen(), "restart the guest"));
	keys(PREFIX "3" PREFIX "!");
	s = seen();
	assert_non_null(strstr(s, "no guest 3"));
	assert_non_null(strstr(s, "no such key"));
	keys(PREFIX "\x1b");
	assert_string_equal(seen(), "");
}

static void test_next_and_previous(void **state)
{
	(void)state;
	keys(PREFIX "n");
	assert_ptr_equal(mux.focus, &web.vc);
	keys(PREFIX "N");
	assert_ptr_equal(mux.focus, &db.vc);
	keys(PREFIX "n");
	assert_null(mux.focus);
	keys(PREFIX "p");
	assert_ptr_equal(mux.focus, &db.vc);
	keys(PREFIX "p" PREFIX "p");
	assert_null(mux.focus);
}

static void test_print_is_cut_not_blocked(void **state)
{
	char big[1000];
	const char *s;

	(void)state;
	budget = 0;
	for (int i = 0; i < 1000; i++)
		console_print(&mux, "number %d\n", i);
	s = seen();
	assert_non_null(strstr(s, "number 0\r\n"));
	assert_null(strstr(s, "number 999\r\n"));
	assert_int_equal(count(s, "output cut"), 1);
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = 0;
	console_print(&mux, "%s", big);
	s = seen();
	assert_int_equal(count(s, "x"), 510);
	assert_non_null(strstr(s, "x\r\n--- output cut"));
}
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_log_first, setup),
		cmocka_unit_test_setup(test_log_from_before, setup),
		cmocka_unit_test_setup(test_focused_is_raw, setup),
		cmocka_unit_test_setup(test_banner_and_replay, setup),
		cmocka_unit_test_setup(test_replay_is_bounded, setup),
		cmocka_unit_test_setup(test_write_larger_than_history, setup),
		cmocka_unit_test_setup(test_log_never_waits, setup),
		cmocka_unit_test_setup(test_log_view, setup),
		cmocka_unit_test_setup(test_show_all, setup),
		cmocka_unit_test_setup(test_show_all_breaks_long_lines, setup),
		cmocka_unit_test_setup(test_show_all_catches_up, setup),
		cmocka_unit_test_setup(test_input, setup),
		cmocka_unit_test_setup(test_input_waits, setup),
		cmocka_unit_test_setup(test_commands, setup),
		cmocka_unit_test_setup(test_next_and_previous, setup),
		cmocka_unit_test_setup(test_print_is_cut_not_blocked, setup),
	};

	return cmocka_run_group_tests_name("console", tests, NULL, NULL);
}
