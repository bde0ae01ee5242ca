/* SPDX-License-Identifier: Apache-2.0 */
/*
 * app.h - the application's control connections. Used by ins/.
 * Trust: as in app.c.
 */
#ifndef MW_INS_APP_H
#define MW_INS_APP_H

#include "ins/ins.h"

struct mw_req;

int app_init(void);
int app_watch(void);
void app_recover(void);
void app_know(void (*know)(int fd));
void app_take(int fd);          /* a new connection */
void app_again(void);
void app_reply_late(const struct isock *s, int status); /* to whom wait_for_broker() noted; the deed is begun */
void app_accept(void);
void app_event(uint32_t conn, uint32_t gen);
#define DOOR_CONN 0             /* the door counts as a connection */
void app_door(uint64_t limit);  /* door: its requests up to there */
void app_reply(uint32_t conn, uint32_t conn_gen, const struct mw_req *q, int status, uint32_t slot, const struct answer *a);
int app_conn_fd(uint32_t conn);
void app_reply_verb(uint32_t seq, const struct answer *a); /* door; the deed is begun */
/* As app_reply, but when all is handled that the request set off on this machine: after another look at what is ready. */
void app_reply_settled(uint32_t conn, uint32_t conn_gen, const struct mw_req *q, int status, uint32_t slot);
bool app_settling(void);        /* such a reply waits: do not sleep */
void app_settled(void);         /* at the end of each loop */
void app_reply_hello(uint32_t conn, const struct mw_req *q);
uint32_t app_conn_gen(uint32_t conn);

#endif
