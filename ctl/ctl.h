/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl.h - shared inside ctl/ only: the subcommands, and asking a broker.
 * Trust: a broker's answer is parsed by jansson and looked up by name.
 */
#ifndef MW_CTL_CTL_H
#define MW_CTL_CTL_H

#include <jansson.h>

#include "lib/usage.h"
#include "telem/flow.h"

/* Exit codes. */
#define EXIT_OK      0
#define EXIT_PROBLEM 1
#define EXIT_USAGE   USAGE_STATUS

struct app {
	char name[33];
	json_t *info;
	struct flow_view view; /* read-only; view.ins: which of its INSs */
	bool first;            /* of its INSs, in ask_each */
};

/* ask.c: calls fn for each INS of an application; what it gets is its own, for app_free. 0, or -errno, of which nothing is said. */
int ask(const char *name, void (*fn)(struct app *a, void *arg), void *arg);
void app_free(struct app *a);
/* Tells the person that nobody answers under that name, and why. */
void ask_absent(const char *name);
/* Calls fn for each INS of the named application, or of all of them; prints the error. Returns EXIT_. */
int ask_each(const char *name, int (*fn)(struct app *a, void *arg), void *arg);

/* control.c: a connection to telemetry on which events come, and with `samples` those too; or a negative number */
int control_follow(const char *name, uint32_t ins, bool samples);
/* The kernel was just asked about all sockets. False when telemetry does not answer, or cannot. */
bool control_fresh(const char *name, uint32_t ins);
/* The file of the socket in the registry. Returns text. */
#define CONTROL_BYTES 24
const char *control_file(uint32_t ins, char text[CONTROL_BYTES]);
/* Or requests, and their answers. EXIT_; what went wrong is said. */
struct link {
	FILE *f;
};
int link_open(struct link *l, const char *name, uint32_t ins);
int link_send(struct link *l, json_t *request); /* takes it */
json_t *link_line(struct link *l);              /* the caller's; NULL, said, when telemetry went away */
json_t *link_answer(const char *name, uint32_t ins, json_t *request); /* all of these, for a request with one answer */

/* Calls fn for each INS that has an entry in the registry's directory, with that file; nobody is asked. How many there are. */
size_t ask_entries(const char *name, void (*fn)(uint32_t ins, const char *path, void *arg), void *arg);
/* Which INSs an application has: how many of at most `max`; said when there is none. */
size_t ask_numbers(const char *name, uint32_t *out, size_t max);

/* follow.c: until the applications end. EXIT_ */
int flows_follow(const char *name, bool as_json);
/* flows.c: one line */
void flows_json(const char *event, const struct flow *f);

/* run.c: one option of `mw run`, whose argument is in optarg; and what is wrong with all of --netflow. EXIT_ */
struct run_options;
struct netflow_options;
int run_option(struct run_options *o, int c);
void run_options_of(const char *command); /* of whose they are, in complaints: "run" unless said */
int run_check_netflow(const struct netflow_options *o);
int run_xen(struct run_options *o); /* `mw run --xen`: becomes the command, or EXIT_ */

int cmd_run(int argc, char **argv);
int cmd_serve(int argc, char **argv); /* `mw xen serve` */
int cmd_ps(int argc, char **argv);
int cmd_flows(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_gate(int argc, char **argv);
int cmd_ins(int argc, char **argv);
int cmd_xen(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_front(int argc, char **argv); /* argv[0] says which */
int cmd_verb(int argc, char **argv); /* argv[0] says which */
int cmd_list(int argc, char **argv);
int cmd_undo(int argc, char **argv);

#endif
