// SPDX-License-Identifier: Apache-2.0
/*
 * keeper.c - the process that holds everything and does nothing: it starts the worker, and another when that one dies.
 * Trust: nobody; it reads no byte of anybody's.
 *
 * clone(CLONE_FILES): both have one table of descriptors, and no memory but what is shared. So when the worker is killed,
 * crashes, or is killed from here because its loop does not go round, every socket stays open, and the next worker finds all
 * that is to be known in the state's memory.
 *
 * The watchdog costs nothing while all sleep: then the keeper waits for the worker's epoll instance to have something, and
 * only from there on looks twice a second whether the loop goes round.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ins/ins.h"

#define TICK_MS    500
#define TICKS_MAX  4     /* without a round: it hangs */
#define YOUNG_NS   1000000000ull
#define BACKOFF_MS 10    /* doubled with each young death by its own fault */
#define YOUNG_MAX  12    /* then there is no help: 40 s */

static int signals;

int keeper_init(void)
{
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	ins.fixed_fd = signals;
	return signals < 0 ? -errno : 0;
}

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static pid_t start(void (*work)(void))
{
	pid_t self = getpid(), pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);

	if (pid == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != self)
			_exit(EXIT_LOST);
		work();
	}
	mw_store(&observe_header()->worker_pid, (uint32_t)pid);
	mw_store(&observe_header()->workers, ++journal->workers);
	return pid;
}

static bool has_events(void)
{
	struct pollfd p = { .fd = ins.epoll, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

/* Until it has died: how. *hung: it was killed from here. */
static int watch(pid_t pid, bool *hung)
{
	struct pollfd p[] = { { .fd = signals, .events = POLLIN }, { .fd = ins.epoll, .events = POLLIN } };
	uint64_t last = 0, now;
	bool sleeps = false;
	int status, ticks = 0;

	for (;;) {
		struct signalfd_siginfo i;
		int n = poll(p, sleeps ? 2 : 1, sleeps ? -1 : TICK_MS);

		if (p[0].revents && read(signals, &i, sizeof(i)) > 0 && waitpid(pid, &status, WNOHANG) == pid)
			return status;
		if (sleeps || n != 0) {
			sleeps = sleeps && !(p[1].revents & POLLIN);
			continue;
		}
		now = mw_load(&observe_header()->heartbeat);
		sleeps = now == last && mw_load(&journal->asleep) && !has_events();
		ticks = now == last && !sleeps ? ticks + 1 : 0;
		last = now;
		if (ticks < TICKS_MAX)
			continue;
		*hung = true;
		kill(pid, SIGKILL);
		ticks = 0;
	}
}

/* Whose turn it was, and how often in a row. */
static void note_crash(void)
{
	if (journal->at && journal->crash_at == journal->at && journal->crash_gen == journal->at_gen) {
		journal->crashes++;
		return;
	}
	journal->crash_at = journal->at;
	journal->crash_gen = journal->at_gen;
	journal->crashes = 1;
}

static void tell(int status, bool hung)
{
	struct broker_msg m = { .kind = BM_WORKER, .status = status, .slot = journal->workers, .gen = hung };

	uplink_send(&m);
}

int keeper(void (*work)(void))
{
	int young = 0;

	for (;;) {
		uint64_t started = clock_ns();
		pid_t pid = start(work);
		bool hung = false;
		int status = pid < 0 ? -1 : watch(pid, &hung);

		if (pid < 0 || !journal->ready || WIFEXITED(status))
			return pid >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		if (WTERMSIG(status) != SIGKILL || hung) {
			note_crash();
			young = clock_ns() - started < YOUNG_NS ? young + 1 : 0;
		}
		tell(status, hung);
		if (young == YOUNG_MAX)
			return 1;
		if (young)
			poll(NULL, 0, BACKOFF_MS << young);
	}
}
