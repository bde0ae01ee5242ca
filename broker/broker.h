/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker.h - shared inside broker/, and with ctl/, whose program it is a part of.
 * Trust: the command line is the user's; the INS may be compromised; the application asks nothing here.
 */
#ifndef MW_BROKER_BROKER_H
#define MW_BROKER_BROKER_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "broker/net.h"
#include "broker/netflow.h"
#include "broker/registry.h"
#include "link/broker.h"
#include "link/samples.h"

#define MAPS_MAX 64
#define GATES_MAX 64

enum lane { LANE_AUTO, LANE_RING, LANE_STREAM };

struct run_options {
	char name[REGISTRY_NAME_MAX + 1];
	bool isolated;
	bool xen;                    /* no broker: the stack is another machine's, behind /dev/mwcomms */
	bool resume;                 /* take over what runs under that name, if its broker has died */
	enum lane lane;              /* of the command; its children choose by themselves on the ring lane */
	bool host_loopback;          /* the application may reach what listens on the host's loopback */
	char audit[256];             /* --audit-log; empty: the default */
	uint32_t sample_fast_ms, sample_slow_s; /* how often telemetry asks the kernel about suspects, about the rest */
	uint32_t ins_count;          /* to start with */
	bool core;                   /* --core: of INSs that crash */
	uint32_t max_sockets;        /* 0: as many as descriptors allow */
	struct plan_port maps[MAPS_MAX]; /* -p: ins_port is the application's */
	size_t map_count;
	const char *gates[GATES_MAX]; /* --gate, each parsed by gate_parse already */
	size_t gate_count;
	struct mw_addr metrics;      /* --metrics; no family: none */
	const char *ipfix[TELEM_IPFIX_MAX]; /* collectors: broker/ipfix.h */
	size_t ipfix_count;
	uint32_t ipfix_timeout_s;    /* a living flow is reported this often; 0: the default */
	struct netflow_options netflow;
	bool pvm;                    /* INSs are other machines: pvm.h */
	int (*port_socket)(int family); /* makes the TCP sockets of --metrics and --netflow; NULL: this machine's */
	const char *etcd;            /* where INSs are published for other hosts; NULL: nowhere */
	uint32_t block;              /* of addresses that they have then; PLAN_BLOCKS: from the host's name */
	char **command;
	int argc;                    /* of the command line from which all this was parsed: an heir parses it again */
	char **argv;
};

struct child {
	pid_t pid;
	int fd;   /* to it: the INS's record socket; the application's start pipe */
};

struct one_ins;

/* spawn.c. Each returns 0 or -errno, with a line for the person in `why`. */
int spawn_app(struct child *app, int control[2], const struct run_options *o, char *why, size_t why_bytes);
int spawn_app_go(struct child *app, char *const argv[], char *why, size_t why_bytes);
int spawn_ins(struct one_ins *ins, const struct run_options *o, int control, int roster, char *why, size_t why_bytes);
int spawn_ins_go(struct child *ins);
int spawn_next(struct one_ins *ins, const struct run_options *o, int heir, char *why, size_t why_bytes); /* the program that takes its place */
int spawn_paths(char *why, size_t why_bytes); /* finds mw-ins, mw-names, mw-telem and the shim beside this program */
const char *spawn_shim_path(void);
bool spawn_is_closed(char at[PATH_MAX]); /* to what a server's processes execute as other users; at: which directory is */
const char *spawn_ins_path(void);
const char *spawn_names_path(void);
const char *spawn_telem_path(void);
int spawn_telem_find(char *why, size_t why_bytes); /* as spawn_paths, of that program alone */
int spawn_become(const struct run_options *o); /* the command, one way or the other: -errno */
void spawn_choose_lane(struct run_options *o); /* by what kind of program the command is; says so when it is not the shim's */

/* publish.c */
/* One record of that INS, with what came with it or -1. 0, or -EPROTO for what no honest INS says. */
int publish_handle(struct net *net, const struct run_options *o, struct one_ins *ins, struct broker_msg *m, const int in[2]);
void publish_forget(struct net *net, uint32_t ins); /* it has ended: what it alone served */
void publish_adopt(void);                   /* what a dead broker had published */
bool publish_serves(const struct plan_port *port);
size_t publish_list(const struct plan_port **list);

/* privilege.c: netns is the application's; `have` bytes of value came; fds: the socket and its asker's control connection, or -1 */
void privilege_handle(const struct one_ins *ins, ino_t netns, const struct broker_msg *m, const uint8_t *value, uint32_t have, const int fds[2]);

/* What the broker has of `mw run` and the depot. */
struct seat {
	int lifeline;  /* to `mw run`: it sends signals to pass on (int), and is told the exit status; its end is that of `mw run` */
	int lock;      /* of the name */
	int depot;     /* depot.h */
	pid_t front;   /* `mw run` */
};

typedef int run_parse(struct run_options *o, int argc, char **argv);

/* supervise.c: the broker proper; returns the exit status of `mw run` */
int supervise(struct run_options *o, const struct seat *s);
/* The same in the place of a broker that died. Negative: it was not to be had, and the person has been told why. */
int supervise_heir(struct run_options *o, const struct seat *s, run_parse *parse);

/* run.c */
int run(const struct run_options *o, run_parse *parse);
int run_adopt(const char *name, run_parse *parse);

#endif
