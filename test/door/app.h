/* SPDX-License-Identifier: Apache-2.0 */
/*
 * app.h - the application's side of a door in one process, for tests: memory and control by chan/ alone, no kernel module. The
 * carrier is `file`: one memory file, and a pair of sockets to be told by.
 * Trust: an honest side. Hostile tests write into what it shows.
 */
#ifndef MW_TEST_DOOR_APP_H
#define MW_TEST_DOOR_APP_H

#include <sys/types.h>

#include "chan/arena.h"
#include "chan/door.h"
#include "chan/tele.h"

#define APP_SLOTS   128u
#define APP_RX_ROOM 131072u
#define APP_TX_ROOM 262144u

struct sock {
	uint32_t slot, gen;
	uint64_t rx_cons, tx_prod;
};

struct app {
	struct mw_view view;
	struct mw_door_view door;
	struct mw_tele_view tele;
	struct mw_ring_sizes sizes[APP_SLOTS + 1]; /* tests name one slot too many */
	uint8_t *file;           /* all of it */
	uint64_t file_bytes;
	uint32_t arena_page;     /* of the file */
	int fd, news;
	pid_t pid;               /* mw-ins, or 0 */
	uint64_t req_prod, rep_cons;
	uint32_t seq;
	uint64_t notified, notifies;
	const char *word;        /* for mw-ins, one more; or NULL */
	struct {
		bool there;
		struct mw_reply r;
		uint8_t value[256];
	} replies[64];           /* by seq */
};

/* Makes the memory, without an INS. */
void app_make(struct app *a);
void app_spawn(struct app *a, const char *mw_ins, const char *how); /* how: "door", or "xen": after a meeting in XenStore */
/* Both, and waits until it serves, and says HELLO. */
void app_start(struct app *a, const char *mw_ins);
void app_hello(struct app *a); /* waits until it serves, and says HELLO */
/* Ends it and lets go of the memory. Its exit status. */
int app_stop(struct app *a);
int app_wait_end(struct app *a); /* it ends by itself */
int app_worker(const struct app *a); /* its worker's process id; 0: there is none for the moment */

/* Looks at everything, and sleeps at most so long when there is no news. */
bool app_turn(struct app *a, int ms);
void app_kick(struct app *a);

uint32_t app_ask(struct app *a, struct mw_req *q, uint32_t op, const void *value, uint32_t n);
int app_answer(struct app *a, uint32_t seq, struct mw_reply *r); /* waits: status */
int app_call(struct app *a, struct mw_req *q, uint32_t op, const void *value, uint32_t n, struct mw_reply *r);

int app_grant(struct app *a, uint32_t slot, uint32_t rx_pages, uint32_t tx_pages);
int app_revoke(struct app *a, uint32_t slot);
struct mw_slot *app_slot(const struct app *a, uint32_t slot);

/* Blocking calls; each gives up after 20 s with -ETIMEDOUT. */
int sock_new(struct app *a, struct sock *s, uint16_t family, uint16_t type);
int sock_bind(struct app *a, const struct sock *s, uint32_t ip4, uint16_t port);
int sock_listen(struct app *a, const struct sock *s, int backlog);
int sock_connect(struct app *a, const struct sock *s, uint32_t ip4, uint16_t port);
int sock_accept(struct app *a, struct sock *l, struct sock *s);
ssize_t sock_send(struct app *a, struct sock *s, const void *from, size_t n);
ssize_t sock_recv(struct app *a, struct sock *s, void *to, size_t room);
int sock_setopt(struct app *a, const struct sock *s, int level, int name, int value);
int sock_getopt(struct app *a, const struct sock *s, int level, int name, int *value);
ssize_t sock_sendto(struct app *a, struct sock *s, const void *from, size_t n, uint32_t ip4, uint16_t port, uint32_t tag);
ssize_t sock_recvfrom(struct app *a, struct sock *s, void *to, size_t room, struct mw_addr *peer);
void sock_flag(struct app *a, const struct sock *s, uint32_t flag); /* MW_APP_, and a mark */
void sock_close(struct app *a, struct sock *s); /* and waits until the slot has ended */

/* A network namespace of our own, with loopback up. */
void app_own_network(void);

#define must(e) do { if (!(e)) app_die(__FILE__, __LINE__, #e); } while (0)
_Noreturn void app_die(const char *file, int line, const char *what);

#endif
