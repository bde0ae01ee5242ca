/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - asks the broker of an application on this host to start, drain and end INSs: its socket NAME/ins-ctl. Used by grow.c.
 * Trust: the broker is ours; its answer is parsed and looked up by name.
 *
 * One record of JSON there, {"do":"add"}, {"do":"drain","ins":3} or {"do":"kill","ins":3}, one back: {"error":"text"} when it could not.
 */
#ifndef MW_FRONT_CONTROL_H
#define MW_FRONT_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONTROL_WHY_BYTES = 160 };

struct control {
	int fd;			/* -1: nothing is asked */
	int64_t late_ms;
};

/* ins is not looked at for "add". 0, or -errno with `why`: the broker cannot be asked. */
int control_ask(struct control *c, const char *socket_path, const char *what, uint32_t ins, char why[CONTROL_WHY_BYTES]);

/* Readable, or late. True when it is over: `why` is empty if it was done. */
bool control_turn(struct control *c, int64_t now_ms, char why[CONTROL_WHY_BYTES]);

void control_stop(struct control *c);

#endif
