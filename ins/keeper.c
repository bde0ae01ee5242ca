// SPDX-License-Identifier: Apache-2.0
/*
 * keeper.c - the process that holds everything and does nothing: it has a worker started, and another when that one dies.
 * Trust: nobody; it reads no byte of anybody's.
 *
 * clone(CLONE_FILES), by starter.c: both have one table of descriptors, and no memory but what is shared. So when the worker is killed,
 * crashes, or is killed from here because its loop does not go round, every socket stays open, and the next worker finds all
 * that is to be known in the state's memory.
 *
 * The watchdog costs nothing while all sleep: then the keeper waits until the worker says that it has waked, or does not and
 * has something to wake for; from there on it looks twice a second whether the loop goes round.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ins/journal.h"
#include "ins/keeper.h"
#include "ins/observe.h"
#include "ins/poll.h"
#include "ins/sandbox.h"
#include "ins/starter.h"
#include "ins/upgrade.h"
#include "ins/uplink.h"
#include "lib/clock.h"
#include "link/broker.h"

#define TICK_MS    500
#define TICKS_MAX  4     /* without a round: it hangs */
#define YOUNG_MS   1000
#define BACKOFF_MS 10    /* doubled with each young death by its own fault */
#define YOUNG_MAX  12    /* then there is no help: 40 s */

int keeper_init(void)
{
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	if (ins.taken)
		return 0;
	ins.fd->signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	ins.fd->poke = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ins.fd->last = ins.fd->poke;
	return ins.fd->signals < 0 || ins.fd->poke < 0 ? -errno : 0;
}

void keeper_poke(void)
{
	mw_store(&journal->unwatched, 0u);
	if (write(ins.fd->poke, &(uint64_t){ 1 }, sizeof(uint64_t)) < 0)
		return; /* it has been told */
}

static pid_t start(void)
{
	pid_t pid = starter_worker();

	mw_store(&observe_header()->worker_pid, (uint32_t)pid);
	mw_store(&observe_header()->workers, ++journal->workers);
	return pid;
}

/* It waits, and for something that has not come. */
static bool is_idle(void)
{
	struct pollfd p = { .fd = ins.fd->epoll, .events = POLLIN };

	return mw_load(&journal->asleep) && !poll_left() && poll(&p, 1, 0) == 0;
}

/* With nothing to do until something happens. */
static void wait_idle(void)
{
	struct pollfd p[] = { { .fd = ins.fd->signals, .events = POLLIN }, { .fd = ins.fd->epoll, .events = POLLIN },
			      { .fd = ins.fd->poke, .events = POLLIN } };
	uint64_t count;

	mw_store(&journal->unwatched, 1u);
	mw_fence(); /* pairs with the worker's, between its wait and its look */
	if (is_idle())
		poll(p, 3, -1);
	mw_store(&journal->unwatched, 0u);
	if (read(ins.fd->poke, &count, sizeof(count)) < 0)
		return; /* it was not that */
}

/* Until it has died: how. *hung: it was killed from here. */
static int watch(pid_t pid, bool *hung)
{
	struct pollfd p = { .fd = ins.fd->signals, .events = POLLIN };
	uint64_t last = 0, now;
	int status, ticks = 0;

	for (;;) {
		struct signalfd_siginfo i;

		if (poll(&p, 1, TICK_MS) > 0 && read(ins.fd->signals, &i, sizeof(i)) > 0 && waitpid(pid, &status, WNOHANG) == pid)
			return status;
		if (p.revents)
			continue;
		now = mw_load(&observe_header()->heartbeat);
		if (now == last && is_idle()) {
			wait_idle();
			ticks = 0;
		} else {
			ticks = now == last ? ticks + 1 : 0;
		}
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

/* The INS's exit status. */
static int keep(void)
{
	int young = 0;

	for (;;) {
		int64_t started = clock_ms();
		pid_t pid = start();
		bool hung = false;
		int status;

		if (ins.taken && pid >= 0)
			uplink_send(&(struct broker_msg){ .kind = BM_UPGRADED });
		ins.taken = false;
		status = pid < 0 ? -1 : watch(pid, &hung);

		if (pid >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_MOVED && !upgrade_give())
			continue;
		if (pid < 0 || !journal->ready || WIFEXITED(status))
			return pid >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		if (WTERMSIG(status) != SIGKILL || hung) {
			note_crash();
			young = clock_ms() - started < YOUNG_MS ? young + 1 : 0;
		}
		tell(status, hung);
		if (young == YOUNG_MAX)
			return 1;
		if (young)
			poll(NULL, 0, BACKOFF_MS << young);
	}
}

int keeper(void (*work)(void))
{
	int status = 1;

	if (starter_begin(work) < 0)
		return 1;
	if (sandbox_keeper() == 0)
		status = keep();
	starter_end();
	return status;
}
