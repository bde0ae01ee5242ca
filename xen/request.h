/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.h - requests on the socket NAME/ins-ctl, as of an application on one host (broker/insctl.h). Used by xen/broker.c.
 * Trust: whoever may connect is the user; a request is parsed by jansson and looked up by name.
 */
#ifndef MW_XEN_REQUEST_H
#define MW_XEN_REQUEST_H

#include <jansson.h>
#include <poll.h>
#include <stdint.h>

enum { REQUEST_CLIENTS = 8, REQUEST_POLLS = REQUEST_CLIENTS + 1 };

/* What to answer; NULL: later, by request_answer. `by` tells who asks. */
typedef json_t *request_fn(const json_t *q, uint64_t by);

int request_listen(const char *name); /* 0 or -errno */
size_t request_polls(struct pollfd *p);
void request_events(const struct pollfd *p, size_t n, request_fn *answer);
void request_answer(uint64_t by, json_t *a); /* takes it; who has hung up is not answered */

#endif
