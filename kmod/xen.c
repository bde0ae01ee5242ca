// SPDX-License-Identifier: GPL-2.0
/*
 * xen.c - the carrier `xen`: INSs that are other domains, found and met in XenStore (doc/xen.md), grants, an event channel each.
 * Trust: /mw and /mw/D are dom0's, so D in a path is D. What D wrote is text to parse, never an id or a length to use; the grant
 * table and the event channel are for D alone, whatever it says.
 *
 * One work item looks at all of /mw when a watch says that something there has changed, and does what the two sides' states ask
 * for; so every step is taken from what is written, not from the order in which news came.
 *
 * A peer is a domain that has a directory; it lives while that does. A link is one meeting with it; it lives as long as its struct
 * mwk_ins, whose end may come from there (release).
 */
#include <linux/atomic.h>
#include <linux/interrupt.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <xen/events.h>
#include <xen/interface/event_channel.h>
#include <xen/xen.h>
#include <xen/xenbus.h>
#include <asm/xen/hypercall.h>

#include "kmod/carrier.h"
#include "kmod/grant.h"
#include "kmod/main.h"
#include "kmod/xen.h"

#define ROOT       "/mw"
#define PEERS      1024
#define VERSION    1u
#define AGAIN_TIME (5 * HZ) /* what could not be had may be there by then */

struct link {
	struct mwk_ins *ins;
	domid_t domain;
	evtchn_port_t port;
	int irq;               /* 0: no channel */
	spinlock_t eoi;        /* irq becoming 0, as long as an EOI is given */
	atomic_t owed;         /* an interrupt waits for its EOI: none comes before */
	bool up;
	bool lost;             /* detached: the INS has died */
};

struct peer {
	struct list_head node;
	domid_t domain;
	struct link *link;     /* the scan's; NULL: not met */
	bool fresh;            /* nothing of an earlier module is there for it to see */
	bool present;          /* in this scan */
	char dir[16];          /* "/mw/D" */
};

static LIST_HEAD(peers);
static u32 peer_count;
static atomic_t links = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(links_wait);
static struct workqueue_struct *scan_wq;
static bool watching, stopping;

static void scan(struct work_struct *work);
static DECLARE_WORK(scan_work, scan);
static DECLARE_DELAYED_WORK(again_work, scan);

/* --- the carrier --- */

static int share(struct mwk_ins *i, struct page *page, u32 *ref)
{
	struct link *l = mwk_ins_private(i);

	return mwk_grant(l->domain, page, ref);
}

static void unshare(struct mwk_ins *i, struct page *page, u32 ref)
{
	mwk_grant_end(page, ref);
}

static void notify(struct mwk_ins *i)
{
	struct link *l = mwk_ins_private(i);
	int irq = READ_ONCE(l->irq);

	if (irq > 0)
		notify_remote_via_irq(irq);
}

static irqreturn_t interrupt(int irq, void *arg)
{
	struct link *l = arg;
	struct mwk_ins *i = READ_ONCE(l->ins);

	if (!i) {
		xen_irq_lateeoi(irq, XEN_EOI_FLAG_SPURIOUS);
		return IRQ_HANDLED;
	}
	atomic_set(&l->owed, 1);
	mwk_ins_news(i);
	return IRQ_HANDLED;
}

/* Late: who notifies faster than we serve waits, and who does so for nothing waits longer. */
static void served(struct mwk_ins *i, bool any)
{
	struct link *l = mwk_ins_private(i);

	spin_lock(&l->eoi);
	if (l->irq > 0 && atomic_xchg(&l->owed, 0))
		xen_irq_lateeoi((unsigned int)l->irq, any ? 0 : XEN_EOI_FLAG_SPURIOUS);
	spin_unlock(&l->eoi);
}

static void close_channel(struct link *l)
{
	int irq = l->irq;

	spin_lock(&l->eoi);
	WRITE_ONCE(l->irq, 0); /* whose number may be another's from now on */
	spin_unlock(&l->eoi);
	if (irq > 0)
		unbind_from_irqhandler(irq, l);
}

static void look_again(void)
{
	if (!READ_ONCE(stopping))
		queue_work(scan_wq, &scan_work);
}

static void detach(struct mwk_ins *i)
{
	struct link *l = mwk_ins_private(i);

	close_channel(l);
	WRITE_ONCE(l->lost, true);
	look_again();
}

static void free_link(struct link *l)
{
	kfree(l);
	if (atomic_dec_and_test(&links))
		wake_up_all(&links_wait);
}

static void release(struct mwk_ins *i)
{
	free_link(mwk_ins_private(i));
}

static const struct mwk_carrier carrier = {
	.name = "xen",
	.share = share,
	.unshare = unshare,
	.notify = notify,
	.served = served,
	.detach = detach,
	.release = release,
};

static int open_channel(struct link *l)
{
	struct evtchn_alloc_unbound a = { .dom = DOMID_SELF, .remote_dom = l->domain };
	struct evtchn_close c;
	int e = HYPERVISOR_event_channel_op(EVTCHNOP_alloc_unbound, &a);

	if (e)
		return e;
	l->port = a.port;
	l->irq = bind_evtchn_to_irqhandler_lateeoi(a.port, interrupt, 0, "mwcomms", l);
	if (l->irq > 0)
		return 0;
	e = l->irq;
	l->irq = 0;
	c.port = a.port;
	HYPERVISOR_event_channel_op(EVTCHNOP_close, &c);
	return e;
}

/* --- keys --- */

/* A key's text, at most room - 1 bytes of it; "" when it is missing, or not for us. */
static void get(const struct peer *p, const char *key, char *text, size_t room)
{
	char *value = xenbus_read(XBT_NIL, p->dir, key, NULL);

	strscpy(text, IS_ERR(value) ? "" : value, room);
	if (!IS_ERR(value))
		kfree(value);
}

static bool is(const struct peer *p, const char *key, const char *wanted)
{
	char text[16];

	get(p, key, text, sizeof(text));
	return !strcmp(text, wanted);
}

static int put(const struct peer *p, const char *key, const char *text)
{
	int e = xenbus_write(XBT_NIL, p->dir, key, text);

	if (e)
		pr_warn_ratelimited("mwcomms: INS domain %u: cannot write %s/%s: error %d; run `mw xen setup` on dom0\n", p->domain, p->dir, key, -e);
	return e;
}

static int put_number(const struct peer *p, const char *key, const char *format, u32 value)
{
	char text[16];

	snprintf(text, sizeof(text), format, value);
	return put(p, key, text);
}

static void refuse(const struct peer *p, const char *why)
{
	char text[100];

	pr_warn_ratelimited("mwcomms: INS domain %u: %s\n", p->domain, why);
	snprintf(text, sizeof(text), "error: %s", why);
	put(p, "pvm_state", text);
}

/* --- meeting and parting --- */

/* "1" or "1-2". */
static bool speaks_ours(const char *text)
{
	unsigned int low, high;
	char end;
	int n = sscanf(text, "%u-%u%c", &low, &high, &end);

	return n == 2 ? low <= VERSION && VERSION <= high : kstrtouint(text, 10, &low) == 0 && low == VERSION;
}

static int announce(struct peer *p, u32 directory)
{
	int e = put_number(p, "pvm_version", "%u", VERSION);

	e = e ?: put_number(p, "gnt_ref_1", "%x", directory);
	e = e ?: put_number(p, "vm_evt_chn_prt", "%u", p->link->port);
	e = e ?: put(p, "pvm_state", "init");
	return e ?: put(p, "gnt_ref_chunks", "1");
}

static void part(struct peer *p, const char *why, const char *state);

static void meet(struct peer *p)
{
	char version[16], slots_text[16];
	u32 slots, directory;
	struct link *l;

	get(p, "ins_version", version, sizeof(version));
	get(p, "ins_slots", slots_text, sizeof(slots_text));
	if (!speaks_ours(version)) {
		refuse(p, "it speaks another version of the protocol than 1");
		return;
	}
	if (kstrtou32(slots_text, 10, &slots) || slots < 64) {
		refuse(p, "ins_slots is no number of at least 64");
		return;
	}
	l = kzalloc(sizeof(*l), GFP_KERNEL);
	if (!l)
		return;
	atomic_inc(&links);
	l->domain = p->domain;
	spin_lock_init(&l->eoi);
	if (open_channel(l)) {
		refuse(p, "no event channel can be had for it");
		free_link(l);
		return;
	}
	l->ins = mwk_ins_add(&carrier, l, p->domain, min(slots, mwk_slots), &directory);
	if (!l->ins) {
		close_channel(l);
		free_link(l);
		refuse(p, "no memory, or no grant references, to share with it");
		queue_delayed_work(scan_wq, &again_work, AGAIN_TIME);
		return;
	}
	p->link = l;
	if (announce(p, directory))
		part(p, "its keys cannot be written", NULL);
}

static void part(struct peer *p, const char *why, const char *state)
{
	struct link *l = p->link;

	p->link = NULL;
	mwk_ins_gone(l->ins, why); /* may free l */
	if (!state)
		return;
	xenbus_write(XBT_NIL, p->dir, "gnt_ref_chunks", ""); /* which may be gone with the domain */
	xenbus_write(XBT_NIL, p->dir, "pvm_state", state);
}

static void come_up(struct peer *p)
{
	p->link->up = true;
	put(p, "pvm_state", "ready");
	mwk_ins_up(p->link->ins);
}

/* What an earlier module left must not look like an offer of ours. */
static void clear(struct peer *p)
{
	if (!put(p, "gnt_ref_chunks", "") && !put(p, "pvm_state", "closed"))
		p->fresh = true;
}

static bool is_there(const struct peer *p)
{
	char wanted[8], text[16];

	snprintf(wanted, sizeof(wanted), "%u", p->domain);
	get(p, "ins_dom_id", text, sizeof(text));
	if (*text && strcmp(text, wanted))
		pr_warn_ratelimited("mwcomms: INS domain %u says that it is another; it is not met\n", p->domain);
	return !strcmp(text, wanted);
}

static void visit(struct peer *p)
{
	char state[16];
	struct link *l = p->link;
	bool there = is_there(p), begins;

	if (!p->fresh)
		clear(p);
	get(p, "ins_state", state, sizeof(state));
	begins = !strcmp(state, "init");
	if (l && READ_ONCE(l->lost))
		part(p, "given up", "closed");
	else if (l && !there)
		part(p, "its domain is gone", "closed"); /* or it has lost its key, and lives: then it begins anew */
	else if (l && l->up && begins)
		part(p, "it begins anew", "closed");
	else if (l && !begins && strcmp(state, "ready"))
		part(p, "it is closing", "closed");
	else if (l && !l->up && is(p, "vm_evt_chn_is_bound", "1"))
		come_up(p);
	if (p->link && p->link->up && is(p, "drain", "1"))
		mwk_ins_drain(p->link->ins);
	if (!p->link && there && begins && p->fresh)
		meet(p);
}

/* --- all of /mw --- */

static struct peer *peer_of(domid_t domain)
{
	struct peer *p;

	list_for_each_entry(p, &peers, node)
		if (p->domain == domain)
			return p;
	p = peer_count < PEERS ? kzalloc(sizeof(*p), GFP_KERNEL) : NULL;
	if (!p)
		return NULL;
	p->domain = domain;
	snprintf(p->dir, sizeof(p->dir), ROOT "/%u", domain);
	list_add_tail(&p->node, &peers);
	peer_count++;
	return p;
}

static void forget(struct peer *p, const char *why, const char *state)
{
	if (p->link)
		part(p, why, state);
	list_del(&p->node);
	peer_count--;
	kfree(p);
}

static void scan(struct work_struct *work)
{
	unsigned int count = 0;
	struct peer *p, *next;
	char **names;
	u16 domain;

	if (READ_ONCE(stopping)) /* it was queued by who had not seen that: the peers are mwk_xen_fini()'s now */
		return;
	names = xenbus_directory(XBT_NIL, ROOT, "", &count);
	list_for_each_entry(p, &peers, node)
		p->present = false;
	for (unsigned int n = 0; !IS_ERR(names) && n < count; n++) {
		if (kstrtou16(names[n], 10, &domain) || domain >= DOMID_FIRST_RESERVED)
			continue;
		p = peer_of(domain);
		if (!p)
			continue;
		p->present = true;
		visit(p);
	}
	if (!IS_ERR(names))
		kfree(names);
	list_for_each_entry_safe(p, next, &peers, node)
		if (!p->present)
			forget(p, "its directory is gone", NULL);
}

/* Values that change each second are nothing to us, nor are our own. */
static bool matters(const char *key)
{
	return strcmp(key, "/heartbeat") && strcmp(key, "/network_stats") && strcmp(key, "/load") && strncmp(key, "/pvm_", 5) && strncmp(key, "/gnt_", 5);
}

static void changed(struct xenbus_watch *watch, const char *path, const char *token)
{
	const char *key = strrchr(path, '/');

	if (!key || matters(key))
		look_again();
}

static struct xenbus_watch watch = { .node = ROOT, .callback = changed };

int mwk_xen_init(void)
{
	int e;

	if (!xen_domain())
		return 0;
	scan_wq = alloc_ordered_workqueue("mwcomms-xen", 0);
	if (!scan_wq)
		return -ENOMEM;
	e = register_xenbus_watch(&watch); /* which fires at once */
	if (e) {
		destroy_workqueue(scan_wq);
		scan_wq = NULL;
		return e;
	}
	watching = true;
	return 0;
}

void mwk_xen_fini(void)
{
	struct peer *p, *next;

	if (!watching)
		return;
	WRITE_ONCE(stopping, true);
	unregister_xenbus_watch(&watch);
	cancel_work_sync(&scan_work);
	cancel_delayed_work_sync(&again_work);
	list_for_each_entry_safe(p, next, &peers, node)
		forget(p, "the module is unloaded", "closed");
	wait_event(links_wait, atomic_read(&links) == 0);
	mwk_grant_fini();
	destroy_workqueue(scan_wq);
	watching = false;
}
