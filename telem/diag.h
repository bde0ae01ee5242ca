/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diag.h - NETLINK_SOCK_DIAG's records of TCP sockets: the question, and what an answer says. Used by sample.c and tests.
 * Trust: the kernel's word, yet every length in it is checked before it is used.
 */
#ifndef MW_TELEM_DIAG_H
#define MW_TELEM_DIAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link/samples.h"

#define DIAG_TIME_WAIT 6 /* kernel_state: TCP_TIME_WAIT, TCP_LISTEN */
#define DIAG_LISTEN    10
#define DIAG_STATES    13
#define DIAG_PROBES    4 /* timer: the peer's window is too small for what is to be sent */

enum diag_end {
	DIAG_MORE,  /* another record will follow */
	DIAG_DONE,  /* that was all of the family */
	DIAG_FAILED /* the kernel does not answer this */
};

struct diag {
	uint64_t cookie;   /* SO_COOKIE */
	struct sample s;   /* without id, times, and all that a single look cannot know */
};

/* Asks for every TCP socket of AF_INET or AF_INET6. 0 or -errno. */
int diag_ask(int fd, int family, uint32_t seq, bool time_wait);

/* One record, as received: calls fn for each socket in it that answers question `seq`. */
enum diag_end diag_parse(const void *record, size_t bytes, uint32_t seq, void (*fn)(void *arg, const struct diag *d), void *arg);

const char *diag_state_name(uint32_t kernel_state); /* "established", as ss(8) with underscores */

#endif
