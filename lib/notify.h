/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify.h - tells systemd, or whoever started us so, that we are ready and alive: sd_notify(3)'s protocol. Used by broker/ and front/.
 * Trust: the environment is whose who started us.
 *
 * Without NOTIFY_SOCKET all of it does nothing.
 */
#ifndef MW_LIB_NOTIFY_H
#define MW_LIB_NOTIFY_H

#include <stdbool.h>

/* Takes the variables out of the environment, so that what we start does not speak for us. A child that we fork may go on telling. */
void notify_take(void);

/* To an abstract name. */
bool notify_is_abstract(void);

void notify_ready(void);
void notify_stopping(void);

/* To be called when the loop turns. */
void notify_alive(void);

/* For poll: milliseconds until notify_alive wants to be called; -1: never. */
int notify_wait_ms(void);

#endif
