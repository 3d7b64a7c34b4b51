/* The line is slower than its guests: who waits, who is told when, and that nothing shown is lost. */
#include "console_fixture.h"

static void test_backpressure_loses_nothing(void **state)
{
	char *sent = malloc(SCREEN);
	size_t n = 0, room, took;
	unsigned rounds = 0;

	(void)state;
	assert_non_null(sent);
	focus_on(&web);
	srand(1);
	while (n < 200000) {
		uint8_t chunk[700];
		size_t want = 1 + (size_t)rand() % sizeof(chunk);

		for (size_t i = 0; i < want; i++)
			chunk[i] = "abcdefg\r\n"[(n + i) % 9];
		room = vconsole_room(&web.vc);
		took = vconsole_write(&web.vc, chunk, want);
		assert_true(took <= want && took >= MIN(room, want));
		memcpy(sent + n, chunk, took);
		n += took;
		budget = (size_t)rand() % 400;
		console_pump(&mux);
		assert_true(++rounds < 100000);
	}
	budget = SIZE_MAX;
	console_pump(&mux);
	assert_int_equal(nscreen, n);
	assert_memory_equal(screen, sent, n);
	assert_int_equal(web.vc.lost, 0);
	assert_true(web.readies > 0);
	free(sent);
}

static void test_ready_comes_once_per_wait(void **state)
{
	static uint8_t big[OUT_SIZE * 2];
	size_t took;

	(void)state;
	focus_on(&web);
	memset(big, 'x', sizeof(big));
	took = vconsole_write(&web.vc, big, sizeof(big));
	assert_true(took >= SHARE && took <= SHARE + CONSOLE_BACKLOG + CONSOLE_GRACE);
	assert_int_equal(vconsole_room(&web.vc), 0);
	assert_int_equal(vconsole_write(&web.vc, big, 1), 0);
	budget = 16;
	console_pump(&mux);
	assert_int_equal(web.readies, 0);
	seen();
	assert_int_equal(web.readies, 1);
	assert_true(vconsole_room(&web.vc) > 0);
	seen();
	assert_int_equal(web.readies, 1);
	/* A guest that only asked is told as well; so is one that goes out of view. */
	vconsole_write(&web.vc, big, sizeof(big));
	console_focus(&mux, &db.vc);
	budget = 0;
	console_pump(&mux);
	assert_int_equal(web.readies, 2);
	assert_true(vconsole_room(&web.vc) > 0);
}

/* A 16550 driver looks once and then fills the FIFO: whatever happens in between, 16 bytes must be taken. */
static void test_room_is_a_promise(void **state)
{
	static uint8_t big[OUT_SIZE * 2];

	(void)state;
	memset(big, 'x', sizeof(big));
	for (int i = 0; i < 8; i++)
		vconsole_write(&db.vc, big, sizeof(big)); /* hidden, with a full history */
	assert_true(vconsole_room(&db.vc) >= 16);
	console_focus(&mux, &db.vc);
	assert_int_equal(vconsole_room(&db.vc), 0);
	assert_int_equal(vconsole_write(&db.vc, big, 16), 16);
	while (vconsole_room(&db.vc) == 0) {
		budget = 50;
		console_pump(&mux);
	}
	/* Just room enough to say so; then the log takes all it can get. */
	budget = 0;
	for (int i = 0; i < 100; i++)
		log_line("a line of the log that needs room in the output ring, and a rather long one at that");
	assert_int_equal(vconsole_write(&db.vc, big, 16), 16);
}

/* Two guests that write as fast as they may share the line; neither loses a byte. */
static void test_fair_shares(void **state)
{
	static const char a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n";
	static const char b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n";
	size_t na = 0, nb = 0, sa = 0, sb = 0;
	const char *s;

	(void)state;
	focus_on(&web);
	console_show_all(&mux, true);
	for (int i = 0; i < 20000; i++) {
		size_t n = vconsole_write(&web.vc, (const uint8_t *)a + na % 64, 64 - na % 64);

		na += n;
		n = vconsole_write(&db.vc, (const uint8_t *)b + nb % 64, 64 - nb % 64);
		nb += n;
		budget = 16;
		console_pump(&mux);
	}
	s = seen();
	for (; *s; s++) {
		sa += *s == 'a';
		sb += *s == 'b';
	}
	assert_true(sa > 50000 && sb > 50000);
	assert_true(sb >= nb / 64 * 62); /* every line of the prefixed one, once, but for its own "db| " */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_backpressure_loses_nothing, setup),
		cmocka_unit_test_setup(test_ready_comes_once_per_wait, setup),
		cmocka_unit_test_setup(test_room_is_a_promise, setup),
		cmocka_unit_test_setup(test_fair_shares, setup),
	};

	return cmocka_run_group_tests_name("console pressure", tests, NULL, NULL);
}
