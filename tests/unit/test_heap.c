/* lib/heap.c against a plain list of keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "lib/heap.h"
#include "tests/unit/asserts.h"
#include "tests/unit/rng.h"

#define NODES  40
#define STEPS  200000

static void empty(void **state)
{
	struct heap_node *slots[1], n;
	struct heap h;

	(void)state;
	heap_init(&h, slots, 1);
	heap_node_init(&n);
	assert_null(heap_top(&h));
	assert_false(heap_holds(&n));
	heap_remove(&h, &n); /* not in: nothing happens */
	assert_null(heap_top(&h));
	heap_set(&h, &n, UINT64_MAX);
	assert_ptr_equal(heap_top(&h), &n);
	assert_true(heap_holds(&n));
	heap_remove(&h, &n);
	assert_null(heap_top(&h));
	assert_false(heap_holds(&n));
}

static void full(void **state)
{
	struct heap_node *slots[2], a, b, c;
	struct heap h;

	(void)state;
	heap_init(&h, slots, 2);
	heap_node_init(&a);
	heap_node_init(&b);
	heap_node_init(&c);
	heap_set(&h, &a, 1);
	heap_set(&h, &b, 2);
	heap_set(&h, &a, 3); /* a move needs no room */
	assert_ptr_equal(heap_top(&h), &b);
	assert_true(ASSERTS(heap_set(&h, &c, 0)));
}

/* What must hold after every step: order, each node's place, and the least key of the model on top. */
static void check(const struct heap *h, const struct heap_node *nodes, const bool *in, const uint64_t *key)
{
	uint32_t count = 0;
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < NODES; i++) {
		assert_int_equal(heap_holds(&nodes[i]), in[i]);
		if (!in[i])
			continue;
		count++;
		least = key[i] < least ? key[i] : least;
		assert_int_equal(nodes[i].key, key[i]);
		assert_true(nodes[i].at < h->n);
		assert_ptr_equal(h->slots[nodes[i].at], &nodes[i]);
	}
	assert_int_equal(h->n, count);
	for (uint32_t i = 1; i < h->n; i++)
		assert_true(h->slots[(i - 1) / 2]->key <= h->slots[i]->key);
	if (count)
		assert_int_equal(heap_top(h)->key, least);
	else
		assert_null(heap_top(h));
}

static void against_a_list(void **state)
{
	struct heap_node *slots[NODES], nodes[NODES];
	uint64_t key[NODES] = { 0 };
	bool in[NODES] = { false };
	struct heap h;

	(void)state;
	heap_init(&h, slots, NODES);
	for (unsigned i = 0; i < NODES; i++)
		heap_node_init(&nodes[i]);
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned i = (unsigned)(rng() % NODES);

		/* By turns more goes in or out; keys are few, so that there are equal ones, or large. */
		if (rng() % 4 < (step / 1000 % 2 ? 1 : 3)) {
			key[i] = rng() % 3 ? rng() % 16 : rng();
			in[i] = true;
			heap_set(&h, &nodes[i], key[i]);
		} else {
			in[i] = false;
			heap_remove(&h, &nodes[i]);
		}
		check(&h, nodes, in, key);
	}
}

static void drains_in_order(void **state)
{
	struct heap_node *slots[NODES], nodes[NODES];
	uint64_t last = 0;
	struct heap h;

	(void)state;
	heap_init(&h, slots, NODES);
	for (unsigned i = 0; i < NODES; i++) {
		heap_node_init(&nodes[i]);
		heap_set(&h, &nodes[i], rng() % 100);
	}
	for (unsigned i = 0; i < NODES; i++) {
		struct heap_node *top = heap_top(&h);

		assert_true(top->key >= last);
		last = top->key;
		heap_remove(&h, top);
	}
	assert_null(heap_top(&h));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty), cmocka_unit_test(full), cmocka_unit_test(against_a_list),
		cmocka_unit_test(drains_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
