// SPDX-License-Identifier: Apache-2.0
/*
 * linger.c - close() with SO_LINGER and a time: it waits until all is acknowledged, or the time is over.
 * Trust: the INS's word that the slot has ended; a liar makes close() last as long as the application asked for.
 *
 * The INS is told before (MW_APP_LINGERS), so that it keeps the connection until the peer has acknowledged FIN; then the
 * slot ends, and its generation says so. Only the last reference's close waits: INS has seen by its answer whether it was.
 * A signal ends the wait, as in Linux.
 */
#include <errno.h>
#include <sys/socket.h>
#include <time.h>

#include "shim/linger.h"
#include "shim/fork.h"
#include "shim/option.h"
#include "shim/sock.h"
#include "shim/token.h"
#include "shim/twin.h"

#define FIRST_NS 50000
#define MOST_NS  5000000

int linger_begin(struct sock *k)
{
	struct linger l = { 0 };
	socklen_t n = sizeof(l);

	if (IS_DGRAM(k) || !(APP_FLAGS(k) & MW_APP_LINGER_SET) || SLOT_INS(k, state) != MW_ST_ESTABLISHED || !in_own_process() ||
	    option_get(k, SOL_SOCKET, SO_LINGER, &l, &n) < 0 || !l.l_onoff || l.l_linger <= 0)
		return 0;
	APP_SET(k, MW_APP_LINGERS);
	return l.l_linger;
}

static bool is_over(const struct timespec *since, int seconds)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - since->tv_sec > seconds || (now.tv_sec - since->tv_sec == seconds && now.tv_nsec >= since->tv_nsec);
}

void linger_wait(struct sock *k, uint32_t gen, int seconds)
{
	struct timespec since, pause = { .tv_nsec = FIRST_NS };
	int saved = errno;

	clock_gettime(CLOCK_MONOTONIC, &since);
	if (twin_ask(k, gen) == -EBADF)
		while (SLOT_INS(k, gen) == gen && !is_over(&since, seconds) && nanosleep(&pause, NULL) == 0)
			pause.tv_nsec = pause.tv_nsec * 2 < MOST_NS ? pause.tv_nsec * 2 : MOST_NS;
	if (SLOT_INS(k, gen) == gen) { /* the INS goes on without us */
		APP_CLR(k, MW_APP_LINGERS);
		token_service(k);
	}
	errno = saved;
}
