/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inss.h - the INSs of the application: started, drained, ended, looked up. Used by supervise.c, share.c, publish.c, insctl.c.
 * Trust: as in broker.h.
 *
 * Each has a number that is never used twice, a network namespace, telemetry, and a name in the application's namespace by which
 * shims find it. Who there is, every process of the application reads in the roster (chan/wire.h).
 */
#ifndef MW_BROKER_INSS_H
#define MW_BROKER_INSS_H

#include "broker/broker.h"
#include "broker/telem.h"
#include "chan/tele.h"
#include "lib/seldom.h"

struct one_ins {
	uint32_t number;
	uint8_t state;           /* MW_INS_; NONE: it is starting */
	struct child child;
	int netns, arena, tele, memory; /* netns -1: ours; memory: ins/state.h */
	struct next {
		struct child child;     /* the program that takes its place; pid 0: none does */
		int heir;               /* the old one's end between the two, until that has it */
		pid_t left;             /* a dead broker's, which may serve by now: the INS will say so; 0: none */
		bool alone;             /* the old one has ended */
		bool stays;             /* the old one has said that it goes on */
		bool ended;             /* it has; whether the old one goes on is still to be heard */
		int status;             /* of that */
		char why[128];          /* it cannot; or empty */
		char who[64];           /* asked for it, for the audit log */
		int64_t until_ms;       /* it must be ready */
	} next;                          /* upgrade.c */
	struct telem telem;
	bool adopted;            /* another's child: its end is that of child.fd */
	double started;
	char address[46];        /* of one that is another machine; else empty */
	struct mw_tele_view view;
	struct mw_arena *head;  /* of its arena */
	struct seldom said;      /* of what it can bring about */
	int64_t owes_until_ms;   /* for what it has kept us waiting: inss_send */
	struct {
		double at, cpu, rate;
		uint64_t ticks, opened;
	} load;                  /* when it was looked at last; figures of the time before */
};

/* Before all else: the roster. 0 or -errno. */
int inss_init(const struct run_options *o);
void inss_app(int netns);      /* the application's namespace is there: takes the descriptor */

/* Those of a broker that died, instead of inss_init and inss_app. 0 or -errno, with a line for the person in `why`. */
int inss_adopt(const struct run_options *o, char *why, size_t why_bytes);
/* After net_adopt and share_adopt: what it was in the midst of, of their way to up and to drained, is done. */
void inss_settle(struct net *net);

/* Starts the next one and waits until it serves. control: where shims find it, taken; -1: made here. *net: NULL when it is the
 * first and isolated: opened. 0 or -errno, with a line for the person in `why`. */
int inss_start(struct net **net, int control, char *why, size_t why_bytes);

/* One that is another machine, by the module's descriptors (kmod/uapi.h), taken: the arena, telemetry's memory, the events. *verbs: the
 * end of the socket of INS_VERBS_FD. 0 or -errno, with a line for the person in `why`. */
int inss_meet(const struct run_options *o, uint32_t number, const int fds[3], int *verbs, char *why, size_t why_bytes);
/* It is gone. */
void inss_part(struct one_ins *ins);

size_t inss_count(void);
struct one_ins *inss_at(size_t i);            /* by age */
struct one_ins *inss_find(uint32_t number);   /* NULL: it has ended, or never was */
struct one_ins *inss_of_pid(pid_t pid);
struct one_ins *inss_up(uint32_t seed);       /* one that gets new connections, by any number; NULL: none */

/* It gets nothing new from now on. */
void inss_drain(struct net *net, struct one_ins *ins);
void inss_leave(const struct one_ins *ins); /* with the depot, whenever its state or its process changes */
/* Its process has ended: all that is left of it goes, this struct too. */
void inss_ended(struct net *net, struct one_ins *ins);
/* BM_FAILED: what it says is made fit for a person: text of printable ASCII, a status that is 0 or -errno. */
void inss_failed(struct broker_msg *m);
/* The descriptor that leads to it. */
void inss_send(struct one_ins *ins, const struct broker_msg *m, const void *value, uint32_t n, const int *fds, int count);

#endif
