// SPDX-License-Identifier: Apache-2.0
/*
 * names_async.c - getaddrinfo_a and its kin: lookups by threads of ours, as libc does it by threads of its own.
 * Trust: as in names.h.
 *
 * One queue, at most WORKERS threads, which end when it is empty. A request is in the queue (can be cancelled), or in progress, or
 * done; its __return says which, and is written under the lock. `finished` counts requests that ended; whoever waits sleeps on it.
 */
#include <errno.h>
#include <linux/futex.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shim/interpose.h"
#include "shim/names.h"

#define WORKERS 20

/* The requests of one call. */
struct batch {
	int left; /* and one for the call itself until all are queued */
	struct sigevent notify;
};

struct job {
	struct gaicb *request;
	struct batch *batch;
	struct job *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct job *queue, **queue_end = &queue;
static int workers;
static pid_t owner;
static uint32_t finished;

static void *run_notify(void *arg)
{
	struct sigevent e = *(struct sigevent *)arg;

	free(arg);
	e.sigev_notify_function(e.sigev_value);
	return NULL;
}

static void notify_thread(const struct sigevent *e)
{
	struct sigevent *copy = malloc(sizeof(*copy));
	pthread_attr_t attr;
	pthread_t thread;

	if (!copy)
		return;
	*copy = *e;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, e->sigev_notify_attributes ? e->sigev_notify_attributes : &attr, run_notify, copy))
		free(copy);
	pthread_attr_destroy(&attr);
}

static void notify(const struct sigevent *e)
{
	siginfo_t i = { .si_signo = e->sigev_signo, .si_code = SI_ASYNCNL };

	i.si_pid = getpid();
	i.si_uid = getuid();
	i.si_value = e->sigev_value;
	if (e->sigev_notify == SIGEV_SIGNAL)
		syscall(SYS_rt_sigqueueinfo, getpid(), e->sigev_signo, &i);
	else if (e->sigev_notify == SIGEV_THREAD)
		notify_thread(e);
}

static void wake(void)
{
	__atomic_fetch_add(&finished, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &finished, FUTEX_WAKE_PRIVATE, 1 << 30, NULL, NULL, 0);
}

/* With the lock held: one less; the last one takes the lock off, says so, and takes it again. */
static void batch_put(struct batch *b)
{
	if (--b->left)
		return;
	pthread_mutex_unlock(&lock);
	notify(&b->notify);
	free(b);
	pthread_mutex_lock(&lock);
}

/* With the lock held. */
static void job_end(struct job *j, int result)
{
	__atomic_store_n(&j->request->__return, result, __ATOMIC_RELEASE);
	wake();
	batch_put(j->batch);
	free(j);
}

static struct job *take(void)
{
	struct job *j = queue;

	if (j) {
		queue = j->next;
		if (!queue)
			queue_end = &queue;
	}
	return j;
}

static void *work(void *arg)
{
	struct job *j;

	pthread_mutex_lock(&lock);
	while ((j = take())) {
		struct gaicb *r = j->request;
		int result;

		pthread_mutex_unlock(&lock);
		result = getaddrinfo(r->ar_name, r->ar_service, r->ar_request, &r->ar_result);
		pthread_mutex_lock(&lock);
		job_end(j, result);
	}
	workers--;
	pthread_mutex_unlock(&lock);
	return arg;
}

/* With the lock held. No signal of the application's is delivered to a thread of ours. */
static bool start_worker(void)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	bool good;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	good = pthread_create(&thread, &attr, work, NULL) == 0;
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	workers += good;
	return good || workers;
}

/* A forked child has the parent's queue, and none of its threads. */
static void enter(void)
{
	pthread_mutex_lock(&lock);
	if (owner == getpid())
		return;
	owner = getpid();
	queue = NULL;
	queue_end = &queue;
	workers = 0;
}

/* With the lock held. */
static bool enqueue(struct gaicb *request, struct batch *b)
{
	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return false;
	if (workers < WORKERS && !start_worker()) {
		free(j);
		return false;
	}
	j->request = request;
	j->batch = b;
	b->left++;
	request->__return = EAI_INPROGRESS;
	*queue_end = j;
	queue_end = &j->next;
	return true;
}

static bool in_progress(const struct gaicb *r)
{
	return r && __atomic_load_n(&r->__return, __ATOMIC_ACQUIRE) == EAI_INPROGRESS;
}

static int count_in_progress(struct gaicb *const list[], int count)
{
	int n = 0;

	for (int i = 0; i < count; i++)
		n += in_progress(list[i]);
	return n;
}

EXPORT int getaddrinfo_a(int mode, struct gaicb *list[restrict], int count, struct sigevent *restrict e)
{
	struct batch *b;
	int r = 0;

	if (mode != GAI_WAIT && mode != GAI_NOWAIT) {
		errno = EINVAL;
		return EAI_SYSTEM;
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		return EAI_MEMORY;
	b->left = 1;
	b->notify.sigev_notify = SIGEV_NONE;
	if (e && mode == GAI_NOWAIT)
		b->notify = *e;
	enter();
	for (int i = 0; i < count; i++)
		if (list[i] && !enqueue(list[i], b))
			r = EAI_SYSTEM;
	batch_put(b);
	pthread_mutex_unlock(&lock);
	while (mode == GAI_WAIT) {
		uint32_t seen = __atomic_load_n(&finished, __ATOMIC_ACQUIRE);

		if (!count_in_progress(list, count))
			break;
		syscall(SYS_futex, &finished, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
	}
	return r;
}

EXPORT int gai_suspend(const struct gaicb *const list[], int count, const struct timespec *timeout)
{
	struct gaicb *const *requests = (struct gaicb *const *)(unsigned long)list;
	uint32_t seen = __atomic_load_n(&finished, __ATOMIC_ACQUIRE);
	int before = count_in_progress(requests, count);
	struct timespec until = { 0 };

	if (!before)
		return EAI_ALLDONE;
	clock_gettime(CLOCK_MONOTONIC, &until);
	if (timeout) {
		until.tv_sec += timeout->tv_sec + (until.tv_nsec + timeout->tv_nsec) / 1000000000;
		until.tv_nsec = (until.tv_nsec + timeout->tv_nsec) % 1000000000;
	}
	while (count_in_progress(requests, count) == before) {
		if (syscall(SYS_futex, &finished, FUTEX_WAIT_BITSET_PRIVATE, seen, timeout ? &until : NULL, NULL,
			    FUTEX_BITSET_MATCH_ANY) < 0 && errno != EAGAIN)
			return errno == EINTR ? EAI_INTR : EAI_SYSTEM; /* also when the time is up: libc says no better */
		seen = __atomic_load_n(&finished, __ATOMIC_ACQUIRE);
	}
	return 0;
}

EXPORT int gai_cancel(struct gaicb *request)
{
	int r = EAI_ALLDONE;

	enter();
	for (struct job **at = &queue, *j; (j = *at); at = &j->next) {
		if (j->request != request)
			continue;
		*at = j->next;
		if (!j->next)
			queue_end = at;
		job_end(j, EAI_CANCELED);
		r = EAI_CANCELED;
		break;
	}
	if (r == EAI_ALLDONE && in_progress(request))
		r = EAI_NOTCANCELED;
	pthread_mutex_unlock(&lock);
	return r;
}

EXPORT int gai_error(struct gaicb *request)
{
	return __atomic_load_n(&request->__return, __ATOMIC_ACQUIRE);
}
