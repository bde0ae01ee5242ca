// SPDX-License-Identifier: GPL-2.0
/*
 * grant.c - see grant.h.
 * Trust: as in the header.
 *
 * Pages that a domain has still mapped when they are taken back are parked here until it lets go, which an honest one does as
 * soon as it has read that the meeting is over. (The kernel's grant table would park them too, but looks at ten a second.)
 */
#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <xen/grant_table.h>
#include <xen/page.h>

#include "kmod/grant.h"
#include "kmod/main.h"

#define PARKED_TIME  (HZ / 10)
#define PARTING_TIME (5 * HZ)

/* A page that is ours when its domain lets go of it. */
struct parked {
	struct list_head node;
	struct page *page;
	grant_ref_t ref;
};

static LIST_HEAD(parked);
static DEFINE_SPINLOCK(parked_lock);
static atomic_t parked_count = ATOMIC_INIT(0); /* also of those that unpark() has in hand */
static DECLARE_WAIT_QUEUE_HEAD(parked_wait);

static void unpark(struct work_struct *work);
static DECLARE_DELAYED_WORK(unpark_work, unpark);

int mwk_grant(domid_t domain, struct page *page, u32 *ref)
{
	int r = gnttab_grant_foreign_access(domain, xen_page_to_gfn(page), 0);

	if (r < 0) {
		pr_warn_ratelimited("mwcomms: INS domain %u: the grant table is full; give this machine more by max_grant_frames in its xl configuration\n",
				    domain);
		return -ENOSPC;
	}
	*ref = (u32)r;
	return 0;
}

static struct parked *taken_back(struct parked *p)
{
	if (!gnttab_try_end_foreign_access(p->ref))
		return p;
	put_page(p->page);
	kfree(p);
	return NULL;
}

static void park(struct parked *p)
{
	spin_lock(&parked_lock);
	list_add_tail(&p->node, &parked);
	spin_unlock(&parked_lock);
}

static void unpark(struct work_struct *work)
{
	struct parked *p, *next;
	LIST_HEAD(these);

	spin_lock(&parked_lock);
	list_splice_init(&parked, &these);
	spin_unlock(&parked_lock);
	list_for_each_entry_safe(p, next, &these, node) {
		list_del(&p->node);
		p = taken_back(p);
		if (p)
			park(p);
		else
			atomic_dec(&parked_count);
	}
	if (!atomic_read(&parked_count))
		wake_up_all(&parked_wait);
	else
		queue_delayed_work(mwk_slow_wq, &unpark_work, PARKED_TIME);
}

void mwk_grant_end(struct page *page, u32 ref)
{
	struct parked *p = kmalloc(sizeof(*p), GFP_KERNEL);

	if (!p) {
		gnttab_end_foreign_access(ref, page);
		return;
	}
	p->page = page;
	p->ref = ref;
	p = taken_back(p);
	if (!p)
		return;
	atomic_inc(&parked_count);
	park(p);
	queue_delayed_work(mwk_slow_wq, &unpark_work, PARKED_TIME);
}

void mwk_grant_fini(void)
{
	struct parked *p, *next;

	wait_event_timeout(parked_wait, !atomic_read(&parked_count), PARTING_TIME);
	cancel_delayed_work_sync(&unpark_work);
	list_for_each_entry_safe(p, next, &parked, node) {
		gnttab_end_foreign_access(p->ref, p->page);
		kfree(p);
	}
	INIT_LIST_HEAD(&parked);
}
