// SPDX-License-Identifier: Apache-2.0
/*
 * control_fuzz.c - libFuzzer target: a client of the control socket that writes anything in any pieces, while events go by and the INS
 * answers anything.
 * Trust: none. Bytes below 8 are not written: they are what happens next. Each line has one last answer, which says ok or why not, and
 * whatever is told is JSON.
 */
#include <jansson.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "chan/msg.h"
#include "link/memfd.h"
#include "telem/ipfix.h"
#include "telem/metric.h"
#include "telem/policy.h"
#include "test/fuzz/input.h"

#define SLOTS     64
#define ASKED_MAX 8192
#define TIMERS    8
#define TEXT_MAX  (8u << 20)

int LLVMFuzzerInitialize(int *argc, char ***argv);

struct telem telem;
static struct watch *listener, *client; /* client NULL: the connection was ended */
static struct consumer *consumer;
static struct timer *timers[TIMERS];
static uint32_t wanted;                 /* EPOLL, of the client */
static uint8_t *verdicts;               /* policy.c's memory */

static struct asked {
	struct verb_msg m;
	verb_answer *verb;
	sample_answer *fresh; /* or this */
	void *arg;
} asked[ASKED_MAX];
static uint32_t asked_count, lies;

static int far;
static char *heard;
static size_t heard_bytes;
static uint32_t lines, answers;

/* --- what mw-telem has beside it --- */

static int asks(const struct asked *a)
{
	if (asked_count == ASKED_MAX)
		return -ENOMEM;
	asked[asked_count++] = *a;
	return 0;
}

int verbs_ask(const struct verb_msg *m, const void *value, verb_answer *fn, void *arg)
{
	(void)value;
	must(m->bytes <= VERB_VALUE_MAX);
	return fn ? asks(&(struct asked){ .m = *m, .verb = fn, .arg = arg }) : 0;
}

void sample_fresh(sample_answer *fn, void *arg)
{
	must(asks(&(struct asked){ .fresh = fn, .arg = arg }) == 0);
}

int loop_add(struct watch *w, uint32_t events)
{
	if (w->fd == TELEM_CONTROL_FD) {
		listener = w;
		return 0;
	}
	client = w;
	wanted = events;
	return 0;
}

void loop_change(struct watch *w, uint32_t events)
{
	must(w == client);
	wanted = events;
}

void loop_remove(struct watch *w)
{
	must(w == client);
	client = NULL;
}

void loop_timer(struct timer *t, uint32_t ms)
{
	size_t i = 0;

	t->due_ns = ms + 1u;
	while (i < TIMERS && timers[i] && timers[i] != t)
		i++;
	must(i < TIMERS);
	timers[i % TIMERS] = t;
}

void loop_timer_stop(struct timer *t)
{
	t->due_ns = 0;
	for (size_t i = 0; i < TIMERS; i++)
		if (timers[i] == t)
			timers[i] = NULL;
}

uint64_t loop_now_ns(void)
{
	return 1800000000ull * 1000000000u;
}

uint64_t loop_steady_ns(void)
{
	return 1800000000ull * 1000000000u;
}

void events_add(struct consumer *c)
{
	must(!consumer);
	consumer = c;
}

void events_remove(struct consumer *c)
{
	must(consumer == c);
	consumer = NULL;
}

void audit(const struct verdict *v, const char *event)
{
	must(*event && *verb_name(v->verb));
}

void minrate_watch(void)
{
}

void metric_lost(enum metric_lost what, uint64_t count)
{
	must(what == LOST_CONTROL && count);
}

void metric_refused(enum metric_refused what)
{
	must(what == REFUSED_CONTROL);
}

json_t *ipfix_send_json(void)
{
	return json_array();
}

/* --- the target --- */

static void listen_anywhere(int at)
{
	struct sockaddr_un any = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	must(fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof(any.sun_family)) == 0 && listen(fd, 1) == 0 && dup2(fd, at) == at);
	close(fd);
}

static void fill_flows(void)
{
	must(memfd_make(&telem.flows.arena, SLOTS, 4096, 4096) >= 0 && memfd_make_tele(&telem.flows.tele, SLOTS) >= 0);
	mw_store(MW_WORD(&tele_header(&telem.flows.tele)->slots_high), SLOTS);
	for (uint32_t i = 0; i < SLOTS; i += 16) {
		struct mw_flow *f = (struct mw_flow *)(mw_uintptr)tele_flow(&telem.flows.tele, i);

		*f = (struct mw_flow){ .id = 1ull << 32 | i, .state = i ? MW_ST_ESTABLISHED : MW_ST_LISTEN, .type = MW_TYPE_STREAM };
		f->local.port = 80;
		f->local.family = MW_FAMILY_IP4;
		f->peer = i ? (struct mw_addr){ .family = MW_FAMILY_IP4, .addr = { 192, 0, 2, (uint8_t)i } } : f->peer;
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int state = memfd_make_plain("state", POLICY_BYTES, (void **)&verdicts);

	(void)argc;
	(void)argv;
	telem.app = "fuzz";
	telem.reader = calloc(1, SAMPLES_BYTES);
	heard = malloc(TEXT_MAX);
	must(telem.reader && heard && dup2(state, TELEM_STATE_FD) == TELEM_STATE_FD);
	fill_flows();
	listen_anywhere(TELEM_CONTROL_FD);
	must(policy_init() == 0 && control_init() == 0);
	return 0;
}

/* A line that was told: the last one of an answer is counted. */
static void told(const char *line, size_t n)
{
	json_t *o = json_loadb(line, n, 0, NULL), *ok = json_object_get(o, "ok");

	must(json_is_object(o));
	answers += ok != NULL;
	must(!ok || json_is_true(ok) || json_is_string(json_object_get(o, "error")));
	json_decref(o);
}

static void read_all(void)
{
	const char *at = heard, *end;
	ssize_t n;

	while ((n = recv(far, heard + heard_bytes, TEXT_MAX - heard_bytes, MSG_DONTWAIT)) > 0)
		heard_bytes += (size_t)n;
	while ((end = memchr(at, '\n', heard_bytes - (size_t)(at - heard)))) {
		told(at, (size_t)(end - at));
		at = end + 1;
	}
	heard_bytes -= (size_t)(at - heard);
	memmove(heard, at, heard_bytes);
}

/* Those that are due; one that is set meanwhile waits. */
static void run_timers(void)
{
	for (size_t i = 0; i < TIMERS; i++) {
		struct timer *t = timers[i];

		timers[i] = NULL;
		if (!t || !t->due_ns)
			continue;
		t->due_ns = 0;
		t->fn(t);
	}
}

/* Until nothing more leaves. */
static void turn(uint32_t events)
{
	if (client)
		client->fn(client, events);
	run_timers();
	read_all();
	while (client && wanted & EPOLLOUT) {
		client->fn(client, EPOLLOUT);
		read_all();
	}
}

/* Some have ended, some refuse, and values and numbers are what they like. */
static void answer_all(void)
{
	for (uint32_t i = 0; i < asked_count; i++) {
		struct asked a = asked[i];
		uint8_t value[VERB_VALUE_MAX];

		lies = lies * 1103515245 + 12345;
		memset(value, (int)(lies >> 16), sizeof(value));
		a.m.status = lies >> 24 & 3 ? 0 : -(int32_t)(1 + (lies >> 8 & 127));
		a.m.number = lies & 0x10000 ? UINT64_MAX : lies >> 20;
		a.m.bytes = lies & 0x20000 ? lies >> 18 & 31 : a.m.bytes;
		if (a.fresh)
			a.fresh(a.arg, a.m.status == 0);
		else
			a.verb(a.arg, &a.m, value);
	}
	asked_count = 0;
}

static void happens(uint8_t what)
{
	struct mw_event e = { .kind = (uint8_t)(lies >> 8), .id = lies };
	struct flow f = { .f = { .id = lies } };

	switch (what) {
	case 1: answer_all(); break;
	case 2: if (consumer) consumer->event(consumer, &e); break;
	case 3: if (consumer && consumer->sample) consumer->sample(consumer, &f); break;
	case 4: if (consumer) consumer->lost(consumer, 1 + lies % 9); break;
	default: break; /* what was written so far has come */
	}
	turn(EPOLLIN);
}

static void begin(void)
{
	struct sockaddr_un un;
	socklen_t n = sizeof(un);

	far = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(far >= 0 && getsockname(TELEM_CONTROL_FD, (struct sockaddr *)&un, &n) == 0 && connect(far, (struct sockaddr *)&un, n) == 0);
	listener->fn(listener, EPOLLIN);
	must(client != NULL);
	heard_bytes = lines = answers = 0;
}

/* Nothing of it lasts. */
static void end(void)
{
	uint64_t orders;

	close(far);
	if (client)
		client->fn(client, EPOLLIN | EPOLLRDHUP);
	must(!client && !consumer);
	answer_all();
	memcpy(&orders, verdicts + 8, sizeof(orders));
	memset(verdicts + 8, 0, 8);
	memset(verdicts + 64, 0, (orders < VERDICTS ? orders : VERDICTS) * sizeof(struct verdict));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	size_t at = 0;

	lies = (uint32_t)n;
	begin();
	for (size_t i = 0; i < n; i++) {
		if (data[i] >= 8)
			continue;
		must(send(far, data + at, i - at, MSG_NOSIGNAL) == (ssize_t)(i - at));
		at = i + 1;
		happens(data[i]);
	}
	must(send(far, data + at, n - at, MSG_NOSIGNAL) == (ssize_t)(n - at));
	for (size_t i = 0; i < n; i++)
		lines += data[i] == '\n';
	turn(EPOLLIN);
	if (n && data[n - 1] != 7) { /* else it hangs up at once */
		for (uint32_t i = 0; i <= lines && answers < lines; i++) {
			answer_all();
			turn(EPOLLIN);
		}
		must(client && answers == lines);
	}
	end();
	return 0;
}
