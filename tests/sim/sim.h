/*
 * A machine that is only time: CPUs that do what core/sched.c does with core/runq.h, and vCPUs that compute and sleep as they
 * are told. Events in the order of their times, so that a run repeats to the tick.
 */
#pragma once
#include "core/runq.h"

#define SIM_HZ     100000000ull
#define SIM_US     (SIM_HZ / 1000000)
#define SIM_MS     (SIM_HZ / 1000)
#define SIM_SLICE  (5 * SIM_MS)
#define SIM_PERIOD (50 * SIM_MS)
#define SIM_KICK   (1 * SIM_US)  /* until another CPU looks */
#define SIM_SPIN   (20 * SIM_US) /* until the CPU notices that a vCPU spins */
#define SIM_VCPUS  4096

struct sim;

struct sim_vcpu {
	struct runq_entity e;
	struct sim *sim;
	uint64_t deadline, ran, waited;
	uint64_t run, sleep;        /* ticks of a burst and of the sleep behind it; run = 0: computes for ever */
	bool vary;                  /* both are drawn anew each time, from nothing to twice that */
	uint32_t vm;                /* not 0: it spins for the others of this number that wait for a CPU */
	uint64_t left;              /* of this burst */
	uint64_t woken;             /* when it wanted the CPU; RUNQ_NEVER: it has had it since */
	uint64_t wakes, worst, late; /* and how long it took then: at worst, and in sum */
	uint64_t queued;            /* it waits for a CPU since; RUNQ_NEVER: it does not. With check_idle */
	uint64_t migrations;
	int32_t last;               /* CPU, or -1 */
};

struct sim_cpu {
	struct runq q;
	struct heap_node event;     /* the time of its next step */
	struct heap_node *slots[RUNQ_HEAPS * SIM_VCPUS];
	struct sim_vcpu *running;
	uint64_t resumed;           /* `running` runs since */
	uint64_t idle, idle_since;
	uint64_t picks, resumes, switches;
};

struct sim {
	struct runqs all;
	struct sim_cpu *cpus;
	struct sim_vcpu *vcpus;
	uint32_t ncpus, nvcpus;
	uint64_t now;
	struct heap events;
	struct heap_node *slots[MAX_CPUS];
	struct sim_cpu *stepping;
	bool check_idle;            /* after each step: is a CPU idle that should not be? */
	uint64_t wrongly_idle;      /* times that it was */
};

struct sim *sim_new(uint32_t ncpus);
void sim_free(struct sim *s);
/* A further vCPU that computes for ever with this weight, asleep. `cpus`: where it may run, a bit each for the first 64; 0: all. */
struct sim_vcpu *sim_add(struct sim *s, uint32_t weight, uint64_t cpus);
/* The same with more to its shares. */
struct sim_vcpu *sim_add_rates(struct sim *s, uint32_t weight, uint64_t cpus, uint32_t cap, uint32_t reservation, bool low);
void sim_wake(struct sim_vcpu *v);
void sim_wake_all(struct sim *s);
/* It sleeps after at most a tick of computing, until it is woken. */
void sim_stop(struct sim_vcpu *v);
void sim_run(struct sim *s, uint64_t ticks);
/* What it ran, up to now. */
uint64_t sim_ran(const struct sim_vcpu *v);
/* What each would get of `ncpus` CPUs if time were fluid: by weight, and none more than one CPU. */
void sim_ideal(const uint32_t *weights, uint32_t n, uint32_t ncpus, double *shares);
