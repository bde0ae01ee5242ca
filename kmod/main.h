/* SPDX-License-Identifier: GPL-2.0 */
/*
 * main.h - what all of the module shares: its queues, its parameters, its counts. Used by kmod/.
 * Trust: parameters are root's; what is out of range is bounded where it is used.
 */
#ifndef MW_KMOD_MAIN_H
#define MW_KMOD_MAIN_H

#include <linux/types.h>

struct workqueue_struct;

struct mwk_counts {
	atomic64_t sockets, ring_pages, ring_slots, shared_pages, requests, notified, news, accepted, sent, received, quarantined, broken;
};

extern struct mwk_counts mwk_count;
extern struct workqueue_struct *mwk_wq;       /* news: never waits for an INS */
extern struct workqueue_struct *mwk_slow_wq;  /* what asks an INS */
extern unsigned int mwk_slots, mwk_rx_kib, mwk_tx_kib, mwk_spare, mwk_idle_s, mwk_wait_s, mwk_limit_mib;

#endif
