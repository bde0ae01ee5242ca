/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll.h - events: what an epoll tag belongs to. Nobody else knows epoll. Used by ins/.
 * Trust: as in poll.c.
 */
#ifndef MW_INS_POLL_H
#define MW_INS_POLL_H

#include "ins/ins.h"

/* What an event belongs to: kind, sub-index, slot (or connection), generation, packed into epoll's 64 bits. */
enum event_kind { EV_TCP, EV_LISTEN, EV_BELL, EV_TOMB, EV_CONN, EV_CONTROL, EV_KICK, EV_BROKER, EV_VERB, EV_KINDS };
struct event {
	enum event_kind kind;
	uint32_t sub, index, gen, mask;
};

#define TCP_MASK (EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET) /* of every connection's handle */
int poll_init(void);
int poll_add(int fd, enum event_kind kind, uint32_t sub, uint32_t index, uint32_t gen, uint32_t mask);
int poll_change(int fd, enum event_kind kind, uint32_t sub, uint32_t index, uint32_t gen, uint32_t mask);
int poll_wait(int timeout_ms);                  /* how many events the journal has now */
void poll_event(int i, struct event *e);
int poll_left(void);                            /* what the last wait told, of a worker that died */

#endif
