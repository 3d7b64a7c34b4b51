/* A binary min-heap of nodes that live in their owners; each knows its place, so that a change costs O(log n). Pure. */
#pragma once
#include <tf/types.h>

#define HEAP_NOWHERE UINT32_MAX

struct heap_node { uint64_t key; uint32_t at; };
struct heap { struct heap_node **slots; uint32_t n, max; };

static inline void heap_node_init(struct heap_node *n) { n->at = HEAP_NOWHERE; }
static inline bool heap_holds(const struct heap_node *n) { return n->at != HEAP_NOWHERE; }
/* The storage of `max` pointers belongs to the caller. */
void heap_init(struct heap *h, struct heap_node **slots, uint32_t max);
/* Inserts the node, or moves it if it is in already. Asserts that there is room. */
void heap_set(struct heap *h, struct heap_node *n, uint64_t key);
/* Takes it out; nothing if it is not in. */
void heap_remove(struct heap *h, struct heap_node *n);
static inline struct heap_node *heap_top(const struct heap *h) { return h->n ? h->slots[0] : NULL; }
