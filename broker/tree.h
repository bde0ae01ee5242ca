/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.h - the processes below us. Used by broker/ and ctl/.
 * Trust: /proc.
 */
#ifndef MW_BROKER_TREE_H
#define MW_BROKER_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* How a process ended, as wait tells it: "signal 9", "status 1". Returns text. */
#define TREE_HOW_BYTES 24
const char *tree_how(int status, char text[TREE_HOW_BYTES]);

/* True: it is in the namespace of that kind ("net", "user") that has this inode; 0: in ours. */
bool tree_in_namespace(pid_t pid, const char *kind, ino_t wanted);

/* A child of ours that is no part of the application: tree_signal passes it by, unless `except` is 0. -pid: it has ended. */
void tree_spare(pid_t pid);

/* The children of that process, a depot's, count as ours. */
void tree_also(pid_t pid);

/* Sends sig to our direct children but `except`. Returns how many. */
size_t tree_signal(int sig, pid_t except);

/* Ends all that is below us, whatever it forks meanwhile; we must be its subreaper. Waits at most limit_ms. */
void tree_kill(pid_t except, int limit_ms);

#endif
