/*
 * What a Linux does for a living, as the first process of one that has nothing else: each workload in ticks of the TSC, which
 * on an emulator whose tick is one instruction are instructions. The same program runs on the bare machine and in a guest.
 *
 * A sample is long enough to hold its share of timer interrupts, and a line says what one operation of it costs:
 *     bench name=getppid median=355.20 p99=356.10 max=356.10 n=20
 */
#define _GNU_SOURCE
#include "workloads.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MAX_SAMPLES 100
#define PAGE        4096
#define AREA        (32ul << 20)
#define ALU_LOOPS   10000000ul /* of two instructions */

static const char program[] = "/init";

static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static void alu(uint64_t n)
{
	n *= ALU_LOOPS;
	__asm__ volatile("1: dec %0; jnz 1b" : "+r"(n) :: "cc");
}

static void getppid_each(uint64_t n)
{
	while (n--)
		syscall(SYS_getppid);
}

/* An operation is one page. */
static void touch(uint64_t n)
{
	char *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED && !madvise(p, n * PAGE, MADV_NOHUGEPAGE), "mmap");
	for (uint64_t i = 0; i < n; i++)
		((volatile char *)p)[i * PAGE] = 1;
	must(!munmap(p, n * PAGE), "munmap");
}

static void reap(pid_t pid)
{
	int status;

	must(pid > 0 && waitpid(pid, &status, 0) == pid && !status, "child");
}

static void fork_exit_wait(uint64_t n)
{
	while (n--) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		reap(pid);
	}
}

static void vfork_exec(uint64_t n)
{
	while (n--) {
		pid_t pid = vfork();

		if (!pid) {
			execl(program, program, "exit", NULL);
			_exit(1);
		}
		reap(pid);
	}
}

static void pong(int from, int to)
{
	char c;

	while (read(from, &c, 1) == 1)
		if (write(to, &c, 1) != 1)
			_exit(1);
	_exit(0);
}

/* An operation is a byte to the other process and back: two context switches. */
static void pipe_ping_pong(uint64_t n)
{
	int there[2], back[2];
	char c = 0;

	must(!pipe(there) && !pipe(back), "pipe");
	pid_t pid = fork();
	if (!pid) {
		close(there[1]);
		pong(there[0], back[1]);
	}
	while (n--)
		must(write(there[1], &c, 1) == 1 && read(back[0], &c, 1) == 1, "ping");
	close(there[1]);
	reap(pid);
	close(there[0]), close(back[0]), close(back[1]);
}

static void nanosleep_1ms(uint64_t n)
{
	const struct timespec t = { .tv_nsec = 1000000 };

	while (n--)
		must(!nanosleep(&t, NULL), "nanosleep");
}

static uint8_t *area;

static void sha256_32_mib(uint64_t n)
{
	uint32_t digest[8];

	while (n--)
		sha256(area, AREA, digest);
}

/* `each`: operations in a sample. */
static const struct workload {
	const char *name;
	void (*run)(uint64_t each);
	uint64_t each;
	unsigned samples;
} workloads[] = {
	{ "alu", alu, 1, 20 },
	{ "getppid", getppid_each, 10000, 20 },
	{ "touch", touch, AREA / PAGE, 10 },
	{ "fork-exit-wait", fork_exit_wait, 20, 20 },
	{ "vfork-exec", vfork_exec, 20, 20 },
	{ "pipe-ping-pong", pipe_ping_pong, 1000, 20 },
	{ "nanosleep-1ms", nanosleep_1ms, 20, 20 },
	{ "sha256", sha256_32_mib, 1, 3 },
};

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void measure(const struct workload *w)
{
	uint64_t ticks[MAX_SAMPLES];
	double per = (double)w->each;

	w->run(w->each); /* what is needed once: page tables, caches of the kernel */
	for (unsigned i = 0; i < w->samples; i++) {
		uint64_t start = __builtin_ia32_rdtsc();

		w->run(w->each);
		ticks[i] = __builtin_ia32_rdtsc() - start;
	}
	qsort(ticks, w->samples, sizeof(ticks[0]), ascending);
	printf("bench name=%s median=%.2f p99=%.2f max=%.2f n=%u\n", w->name, (double)ticks[w->samples / 2] / per,
	       (double)ticks[(w->samples - 1) * 99 / 100] / per, (double)ticks[w->samples - 1] / per, w->samples);
	must(!fflush(stdout) && !tcdrain(STDOUT_FILENO), "output"); /* or the line's interrupts are the next one's */
}

int main(int argc, char **argv)
{
	uint64_t entered = __builtin_ia32_rdtsc();
	const char *what = argv[argc - 1]; /* before it may be what the kernel does not know of its command line */

	if (!strcmp(what, "exit")) /* as vfork_exec() starts it */
		return 0;
	printf("bench init=%lu\n", entered);
	must(!fflush(stdout), "output");
	while (!strcmp(what, "sleep"))
		pause();
	area = malloc(AREA);
	must(area != NULL, "malloc");
	for (uint64_t i = 0; i < AREA; i++)
		area[i] = (uint8_t)i;
	for (unsigned i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
		measure(&workloads[i]);
	printf("bench done\n");
	must(!fflush(stdout) && !tcdrain(STDOUT_FILENO), "output"); /* the machine is switched off next */
	return reboot(RB_POWER_OFF);
}
