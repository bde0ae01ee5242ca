/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telem.h - shared inside telem/ only: mw-telem's loop, its sources (events, flows), its way to the INS, its servers.
 * Trust: an INS may be compromised: what it wrote is checked where it is used. Clients are checked by their socket's mode, and
 * whatever they send is parsed with bounds.
 */
#ifndef MW_TELEM_TELEM_H
#define MW_TELEM_TELEM_H

#include <stdbool.h>
#include <stdint.h>

#include "link/samples.h"
#include "telem/flow.h"

/* --- loop.c: descriptors and times, one thread --- */
struct watch {
	int fd;
	void (*fn)(struct watch *w, uint32_t events); /* EPOLL */
};
struct timer {
	uint64_t due_ns;          /* CLOCK_MONOTONIC; 0: it does not run */
	void (*fn)(struct timer *t);
	struct timer *next;
};
int loop_init(void);
int loop_add(struct watch *w, uint32_t events);    /* 0 or -errno */
void loop_change(struct watch *w, uint32_t events);
void loop_remove(struct watch *w);                 /* its descriptor stays open; w may be freed at once */
void loop_timer(struct timer *t, uint32_t ms);     /* once, from now; again if it ran already */
void loop_timer_us(struct timer *t, uint64_t us);
void loop_timer_stop(struct timer *t);
_Noreturn void loop_run(void);
uint64_t loop_now_ns(void);                        /* CLOCK_REALTIME: when it was */
uint64_t loop_steady_ns(void);                     /* CLOCK_MONOTONIC: for how long; nobody sets it */

/* --- events.c: the INS's events, to whoever wants them --- */
struct consumer {
	void (*event)(struct consumer *c, const struct mw_event *e);
	void (*lost)(struct consumer *c, uint64_t count); /* so many went by before we could read them; may be NULL */
	/* Suspects and silent connections every sample-fast milliseconds, the rest every sample-slow seconds; may be NULL. */
	void (*sample)(struct consumer *c, const struct flow *f);
	struct consumer *next;
};
int events_init(void);
void events_add(struct consumer *c);
void events_remove(struct consumer *c);
void events_sample(const struct flow *f);          /* to every consumer that wants samples */

/* --- verbs.c: questions and orders to the INS --- */
typedef void verb_answer(void *arg, const struct verb_msg *m, const uint8_t *value);
int verbs_init(void);
/* Sends m and its value now or when the INS has answered others; then calls fn, unless that is NULL. 0 or -ENOMEM. */
int verbs_ask(const struct verb_msg *m, const void *value, verb_answer *fn, void *arg);

/* --- sample.c: the kernel's word on each connection, kept in struct flow's s while somebody wants it --- */
void sample_init(uint32_t fast_ms, uint32_t slow_s);
void sample_want(void);                            /* counted */
void sample_unwant(void);
typedef void sample_answer(void *arg, bool fresh);
void sample_fresh(sample_answer *fn, void *arg);   /* calls fn, perhaps at once, when all samples are of now; false: there are none */
/* --- control.c: `mw` and scripts, JSON lines --- */
int control_init(void);

/* --- metrics.c: HTTP, on TELEM_METRICS_FD if that is there; what it shows is in metric.c --- */
int metrics_init(void);

/* main.c */
struct telem {
	const char *app;           /* the application's name */
	struct flow_view flows;
	uint8_t *reader;           /* the memory of link/samples.h */
};
extern struct telem telem;
bool telem_given(int fd);          /* the broker gave one of that number: TELEM_*_FD. Others are soon files of our own */

int sandbox_enter(void);           /* sandbox.c: 0 or -errno */

#endif
