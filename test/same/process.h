/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.h - what the process scripts share: a peer, words for results, children.
 * Trust: a test's own processes.
 */
#ifndef MW_SAME_PROCESS_H
#define MW_SAME_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PEER 0 /* the channel that commands the peer */

struct script {
	const char *name;
	void (*run)(void);
};

/* Ended by a row without a name. */
extern const struct script exec_scripts[], pass_scripts[], own_scripts[], leave_scripts[], signal_scripts[],
	cancel_scripts[], thread_scripts[], space_scripts[];

/* A line of the transcript; goes out at once. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *word(long r);            /* "ok", or errno's name when r < 0 */

int dial(void);                      /* a socket connected to the peer */
int dial_port(int port, int type_flags); /* -1 with errno */
int listening(int *port);            /* on any port of 127.0.0.1 */
void pair_of(int ends[2]);           /* two sockets of ours, connected to each other */
int pending(void);                   /* a connect() that waits: non-blocking, to a queue that is full */
void talk(int fd, const char *what); /* bytes both ways with the peer */
void fill(int fd);                   /* until it is not writable for a while */

pid_t child(void (*run)(int), int arg);  /* forked; ends with _exit(0) */
const char *end_of(pid_t pid);       /* waits: "ended with N" or the signal's name */
const char *self(void);              /* this program's path */
int child_main(int argc, char **argv); /* after exec: process --child WHAT FD */
int child_space(void);               /* its "space" */

#endif
