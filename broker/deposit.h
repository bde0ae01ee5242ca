/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deposit.h - what a broker leaves with the depot, and what its heir finds there. Used by broker/.
 * Trust: the depot, and what the dead broker wrote.
 *
 * A thing is deposited before anybody relies on it, and dropped before it is closed: what a killed broker had made and not
 * deposited goes with it, by the kernel. Without a depot (in tests, or when it has died) all of it does nothing.
 */
#ifndef MW_BROKER_DEPOSIT_H
#define MW_BROKER_DEPOSIT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "broker/depot.h"

#define DEPOSIT_FDS (DEPOT_FDS - 1)

struct deposit {
	char key[DEPOT_KEY];
	void *bytes;
	size_t n;
	int fds[DEPOSIT_FDS];    /* -1: none */
	int pid, status;
};

struct deposit_about {
	enum depot_life life;
	pid_t pid;
	int status;
};

void deposit_to(int depot);  /* the connection; -1: none */
int deposit_depot(void);     /* for poll: when it can be read, the depot has died */

/* The key is printf-like only by deposit_key. about NULL: a thing. A descriptor of -1 is none. */
void deposit_put(const char *key, const void *bytes, size_t n, const int *fds, int count, const struct deposit_about *about);
void deposit_drop(const char *key);
const char *deposit_key(char key[DEPOT_KEY], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * One page that an heir finds as it was at the last instruction. `who` is an INS's number + 1 while a record of it is in hand: it is
 * looked at, carried out, answered, and taken off the socket only then; the kernel writes msg_len in the call that does it.
 */
struct deposit_words {
	uint32_t last_share;
	uint32_t who;
	struct mmsghdr answered, taken;
};
struct deposit_words *deposit_words(void);

void deposit_end(void);      /* it closes everything and ends; waits until it has */

/*
 * Adopts, for that `mw run`: takes all that is there from the depot behind that connection, which is deposit_to's from then on. *deaths: where it tells of
 * its children. 0; -EBUSY: *pid is the living broker; -EPROTO: another version's: *version; or -errno.
 */
int deposit_adopt(int depot, pid_t front, int *deaths, pid_t *pid, uint32_t *version);
/* NULL: there is none. Valid until deposit_forget; who uses a descriptor puts -1 in its place. */
struct deposit *deposit_find(const char *key);
/* The next whose key begins so, from *i on; NULL: no more. */
struct deposit *deposit_next(const char *prefix, size_t *i);
void deposit_forget(void);   /* what nobody has used is closed */

#endif
