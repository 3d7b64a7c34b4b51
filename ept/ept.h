/*
 * A guest-physical address space: four levels of EPT (SDM 3C, "EPT Translation Mechanism"). Pure: tables are frames
 * that the caller allocates and maps through `struct ept_host`; invalidation is the caller's, when told so.
 */
#pragma once
#include <tf/err.h>
#include <tf/x86.h>

#define EPT_R  BIT(0)
#define EPT_W  BIT(1)
#define EPT_X  BIT(2)
#define EPT_RWX (EPT_R | EPT_W | EPT_X)

struct ept_host {
	void *ctx;
	/* A zeroed frame for a table; TF_ENOMEM. */
	enum tf_err (*alloc)(void *ctx, hpa_t *frame);
	void (*free)(void *ctx, hpa_t frame);
	void *(*virt)(void *ctx, hpa_t frame);
};

struct ept {
	struct ept_host host;
	hpa_t root;
	bool large_2m, large_1g; /* page sizes that the CPU offers (IA32_VMX_EPT_VPID_CAP) */
	bool small_exec;         /* set before anything is mapped: only 4 KiB pages are executable, see ept_make_executable() */
	uint64_t tables;         /* frames in use for tables, the root included */
};

/* What a walk found. */
struct ept_leaf { hpa_t hpa; uint64_t size; uint32_t prot; enum x86_memtype type; };

__must_check enum tf_err ept_init(struct ept *e, const struct ept_host *host, bool large_2m, bool large_1g);
/* Frees all tables (not what they map). */
void ept_destroy(struct ept *e);
/*
 * Maps [gpa, gpa + len) to [hpa, ...) with the largest pages that alignment and the CPU allow. All multiples of
 * 4 KiB, gpa + len at most 2^48. TF_EEXIST if anything is mapped there already, TF_ENOMEM; nothing stays half done.
 * TF_EINVAL for what would be an EPT misconfiguration: a prot without EPT_R, a type that EPT does not have.
 */
__must_check enum tf_err ept_map(struct ept *e, gpa_t gpa, hpa_t hpa, uint64_t len, uint32_t prot, enum x86_memtype type);
/*
 * Unmaps, splitting large pages at the edges; holes are fine. TF_ENOMEM, and nothing has changed. Empty tables are
 * freed: the caller must flush before their frames are used again, and while no other CPU runs in this space.
 */
__must_check enum tf_err ept_unmap(struct ept *e, gpa_t gpa, uint64_t len);
/*
 * Changes permissions of what is mapped in the range, splitting at the edges. TF_ENOENT at a hole, TF_ENOMEM, and
 * then nothing has changed. The caller flushes.
 */
__must_check enum tf_err ept_protect(struct ept *e, gpa_t gpa, uint64_t len, uint32_t prot);
/*
 * With small_exec, for a fetch that the EPT refused: if the large page around `gpa` was mapped with EPT_X, it is split
 * until the fetch can succeed. TF_OK also if it can already (the CPU knew an older entry); TF_ENOENT if the address is
 * not to be executed, TF_ENOMEM. The caller flushes.
 */
__must_check enum tf_err ept_make_executable(struct ept *e, gpa_t gpa);
/* How many tables that can take for all that is mapped. */
uint64_t ept_exec_tables(const struct ept *e);
/* The translation of one address (hpa is that of the byte itself, size that of its page). TF_ENOENT. */
__must_check enum tf_err ept_walk(const struct ept *e, gpa_t gpa, struct ept_leaf *out);
/* Calls fn for each mapped page, in order of address, until it returns false. */
void ept_for_each(const struct ept *e, bool (*fn)(void *ctx, gpa_t gpa, const struct ept_leaf *leaf), void *ctx);
/* The EPTP of this space for a CPU that has accessed and dirty flags or not. */
uint64_t ept_pointer(const struct ept *e, bool access_dirty);
