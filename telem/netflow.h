/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netflow.h - the MAGICWAND stream's server: clients (netflow.c), and what they ask for (feature.c). Used inside telem/.
 * Trust: whoever may connect may end any connection: the UNIX socket is the user's, TCP is checked by prefix. What they send is
 * parsed by mwnf.c.
 */
#ifndef MW_TELEM_NETFLOW_H
#define MW_TELEM_NETFLOW_H

#include "telem/mwnf.h"
#include "telem/telem.h"

#define NETFLOW_INS ((uint8_t)telem.flows.ins) /* the INS's number in socket ids */

/* arguments: of mw-telem's behind the application's name; "netflow-allow=[PREFIX,...]" says that there is TCP. 0 or -errno. */
int netflow_init(char **arguments);

/* --- feature.c --- */
typedef void feature_done(void *arg, int32_t status, uint64_t value, uint64_t micros);
/* Reads or writes all but the monitor, which is the connection's. who, for the audit log, lives until fn is called: exactly once,
 * maybe at once. */
void feature_ask(const struct mwnf_request *q, const char *who, feature_done *fn, void *arg);

/* The listening socket of another INS's telemetry, which has ended. */
void netflow_take(int fd);

#endif
