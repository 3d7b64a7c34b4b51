#include "lib/heap.h"
#include <tf/assert.h>

void heap_init(struct heap *h, struct heap_node **slots, uint32_t max) { *h = (struct heap){ slots, 0, max }; }

static void put(struct heap *h, uint32_t at, struct heap_node *n)
{
	h->slots[at] = n;
	n->at = at;
}

static void sift_up(struct heap *h, uint32_t at, struct heap_node *n)
{
	while (at > 0 && h->slots[(at - 1) / 2]->key > n->key) {
		put(h, at, h->slots[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	put(h, at, n);
}

static void sift_down(struct heap *h, uint32_t at, struct heap_node *n)
{
	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child >= h->n)
			break;
		if (child + 1 < h->n && h->slots[child + 1]->key < h->slots[child]->key)
			child++;
		if (h->slots[child]->key >= n->key)
			break;
		put(h, at, h->slots[child]);
		at = child;
	}
	put(h, at, n);
}

static void settle(struct heap *h, uint32_t at, struct heap_node *n)
{
	if (at > 0 && h->slots[(at - 1) / 2]->key > n->key)
		sift_up(h, at, n);
	else
		sift_down(h, at, n);
}

void heap_set(struct heap *h, struct heap_node *n, uint64_t key)
{
	n->key = key;
	if (!heap_holds(n)) {
		ASSERT(h->n < h->max);
		sift_up(h, h->n++, n);
	} else {
		settle(h, n->at, n);
	}
}

void heap_remove(struct heap *h, struct heap_node *n)
{
	uint32_t at = n->at;

	if (!heap_holds(n))
		return;
	n->at = HEAP_NOWHERE;
	struct heap_node *last = h->slots[--h->n];
	if (last != n)
		settle(h, at, last);
}
