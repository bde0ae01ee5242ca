// SPDX-License-Identifier: Apache-2.0
/*
 * etcd.c - see etcd.h.
 * Trust: as in the header. The connection is libcurl's.
 *
 * Five questions, each with a handle of its own, at most one of each under way:
 *   LOOK   /v3/kv/range, all there is; then /v3/watch from the next revision on, a line of JSON for each change, until it breaks
 *   PING   while it watches: what was written before a question that is answered has come, or comes with what is read next
 *   LEASE  grant, then keep-alive three times in its life
 *   PUT    what is to be published or withdrawn, one after the other
 * Any that fails makes etcd be away: all are given up, and begin anew after a while, with the next URL. When it is there again, the
 * others have to find it too, and to publish again what it may have lost: until they had the time for it nothing counts as gone.
 */
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/name.h"
#include "registry/etcd.h"
#include "registry/wire.h"

#define ANSWER_MAX (16u << 20)
#define ANSWER_MS 3000
#define PING_MS 500
#define KEEP_MS (ETCD_LEASE_S * 1000 / 3)
#define AGAIN_MS 250
#define AGAIN_MAX_MS 4000
#define SILENT_MS 4000 /* of a connection on which nothing is acknowledged */

enum ask { LOOK, PING, LEASE, PUT, ASKS };

struct answer {
	CURL *curl;
	enum ask ask;
	bool busy;
	int64_t asked_ms;
	char *text; /* `bytes` of `room` */
	size_t bytes, room;
};

struct paper {
	char key[ENTRY_KEY_BYTES];
	char *text; /* NULL: withdrawn */
	size_t bytes;
	bool dirty;
};

struct etcd {
	struct store s; /* first */
	char urls[ETCD_URLS_MAX][256];
	size_t url_count, url;
	CURLM *multi;
	struct curl_slist *headers;
	struct answer answers[ASKS];
	int64_t timer_ms;             /* libcurl's, -1: none */
	int64_t due_ms, again_ms;     /* when away: until then nothing is asked; the next pause */
	int64_t ping_ms, keep_ms;
	int64_t settle_ms;            /* until then others may not have found it again; 0: they have */
	int64_t lease, revision;
	bool away, watching, granted, refused, closing;
	struct paper papers[STORE_ENTRIES_MAX];
	size_t paper_count;
	ptrdiff_t putting;            /* the paper under way */
};

static const struct store_place place;

/* --- asking --- */

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
	struct answer *a = arg;

	(void)size;
	if (a->bytes + n > ANSWER_MAX)
		return 0;
	if (a->bytes + n + 1 > a->room) {
		size_t room = (a->bytes + n + 1) * 2;
		char *text = realloc(a->text, room);

		if (!text)
			return 0;
		a->text = text;
		a->room = room;
	}
	memcpy(a->text + a->bytes, data, n);
	a->bytes += n;
	a->text[a->bytes] = 0;
	return n;
}

/* A watch is silent for long: that its other end is gone is the kernel's to see. */
static int on_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	int on = 1, second = 1, silent = SILENT_MS;

	(void)arg;
	(void)purpose;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &second, sizeof(second));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &second, sizeof(second));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silent, sizeof(silent));
	return CURL_SOCKOPT_OK;
}

static int on_interest(CURL *curl, curl_socket_t fd, int what, void *arg, void *socket)
{
	struct etcd *e = arg;
	struct epoll_event ev = { .data.fd = fd, .events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u) };

	(void)curl;
	(void)socket;
	if (what == CURL_POLL_REMOVE)
		epoll_ctl(e->s.fd, EPOLL_CTL_DEL, fd, NULL);
	else if (epoll_ctl(e->s.fd, EPOLL_CTL_MOD, fd, &ev) < 0)
		epoll_ctl(e->s.fd, EPOLL_CTL_ADD, fd, &ev);
	return 0;
}

static int on_timer(CURLM *multi, long ms, void *arg)
{
	struct etcd *e = arg;

	(void)multi;
	e->timer_ms = ms < 0 ? -1 : clock_ms() + ms;
	return 0;
}

/* Takes `body`. */
static void ask(struct etcd *e, enum ask what, const char *path, char *body)
{
	struct answer *a = &e->answers[what];
	char url[320];

	snprintf(url, sizeof(url), "%s%s", e->urls[e->url], path);
	curl_easy_setopt(a->curl, CURLOPT_URL, url);
	curl_easy_setopt(a->curl, CURLOPT_COPYPOSTFIELDS, body ? body : "");
	curl_easy_setopt(a->curl, CURLOPT_TIMEOUT_MS, what == LOOK && e->watching ? 0L : (long)ANSWER_MS);
	free(body);
	a->bytes = 0;
	a->asked_ms = clock_ms();
	a->busy = curl_multi_add_handle(e->multi, a->curl) == CURLM_OK;
}

static void give_up(struct etcd *e, enum ask what)
{
	struct answer *a = &e->answers[what];

	if (a->busy)
		curl_multi_remove_handle(e->multi, a->curl);
	a->busy = false;
	a->bytes = 0;
}

static void go_away(struct etcd *e, const char *why)
{
	for (enum ask i = 0; i < ASKS; i++)
		give_up(e, i);
	if (!e->away && !e->closing)
		store_say(&e->s, "etcd at %s does not answer: %s; what is known stays, and it is asked again", e->urls[e->url], why);
	e->away = true;
	e->watching = e->granted = false;
	e->settle_ms = e->s.heard_ms ? INT64_MAX : 0;
	e->url = (e->url + 1) % e->url_count;
	e->due_ms = clock_ms() + e->again_ms;
	e->again_ms = e->again_ms * 2 > AGAIN_MAX_MS ? AGAIN_MAX_MS : e->again_ms * 2;
}

static void is_there(struct etcd *e)
{
	if (e->away)
		store_say(&e->s, "etcd at %s answers again", e->urls[e->url]);
	e->away = false;
	e->again_ms = AGAIN_MS;
}

/* --- what is there --- */

/* "HOST/APP/N" with our APP in the middle. */
static bool is_mine(const struct etcd *e, const char *key)
{
	const char *app = strchr(key, '/'), *end = app ? strchr(app + 1, '/') : NULL;

	return end && (size_t)(end - app - 1) == strlen(e->s.app) && !strncmp(app + 1, e->s.app, strlen(e->s.app));
}

static void take_kv(struct etcd *e, const json_t *kv, bool gone)
{
	static struct wire_kv k;

	if (!wire_kv(&k, kv) || !is_mine(e, k.key))
		return;
	if (gone)
		store_drop(&e->s, k.key);
	else
		store_feed(&e->s, k.key, k.text, k.bytes, k.too_large ? "it is too large" : k.has_lease ? NULL :
			   "it has no lease, so it would outlive its host");
}

static void start_watch(struct etcd *e)
{
	e->watching = true;
	e->ping_ms = 0;
	ask(e, LOOK, "/v3/watch", wire_watch(e->revision + 1));
}

static void take_range(struct etcd *e, const json_t *j)
{
	json_t *kvs = json_object_get(j, "kvs");

	e->revision = wire_number(json_object_get(json_object_get(j, "header"), "revision"));
	store_begin(&e->s);
	for (size_t i = 0; i < json_array_size(kvs); i++)
		take_kv(e, json_array_get(kvs, i), false);
	if (e->settle_ms) {
		e->settle_ms = clock_ms() + ETCD_LEASE_S * 1000;
	} else {
		store_end(&e->s);
		e->s.heard_ms = e->answers[LOOK].asked_ms;
	}
	start_watch(e);
}

/* One line of a watch. False when it is over. */
static bool take_changes(struct etcd *e, const char *line, size_t n)
{
	json_t *j = json_loadb(line, n, 0, NULL), *result = json_object_get(j, "result"), *events = json_object_get(result, "events");
	bool good = result && !json_is_true(json_object_get(result, "canceled"));

	for (size_t i = 0; good && i < json_array_size(events); i++) {
		const json_t *event = json_array_get(events, i);
		const char *type = json_string_value(json_object_get(event, "type"));

		take_kv(e, json_object_get(event, "kv"), type && !strcmp(type, "DELETE"));
	}
	json_decref(j);
	return good;
}

static void failed(struct etcd *e, const char *why);

static void take_lines(struct etcd *e)
{
	struct answer *a = &e->answers[LOOK];
	char *at = a->text, *end;
	bool good = true;

	while (good && a->bytes && (end = memchr(at, '\n', a->bytes))) {
		good = take_changes(e, at, (size_t)(end - at));
		a->bytes -= (size_t)(end + 1 - at);
		at = end + 1;
	}
	if (a->bytes)
		memmove(a->text, at, a->bytes);
	if (!good)
		failed(e, "it ended our watch");
}

/* --- what is published --- */

static void take_ping(struct etcd *e)
{
	e->ping_ms = clock_ms() + PING_MS;
	if (clock_ms() < e->settle_ms)
		return;
	if (e->settle_ms)
		store_end(&e->s);
	e->settle_ms = 0;
	e->s.heard_ms = e->answers[PING].asked_ms;
}

static void take_lease(struct etcd *e, const json_t *j)
{
	const json_t *result = json_object_get(j, "result"); /* of a keep-alive */
	int64_t ttl = wire_number(json_object_get(result ? result : j, "TTL"));

	e->keep_ms = clock_ms() + KEEP_MS;
	if (!result && ttl > 0) {
		e->lease = wire_number(json_object_get(j, "ID"));
		for (size_t i = 0; i < e->paper_count; i++)
			e->papers[i].dirty = true;
	}
	e->granted = ttl > 0 && e->lease;
	if (!e->granted)
		e->lease = e->keep_ms = 0; /* it has expired: another */
}

static void take_put(struct etcd *e)
{
	struct paper *p = e->putting >= 0 ? &e->papers[e->putting] : NULL;

	if (p && !p->text && !p->dirty)
		*p = e->papers[--e->paper_count];
	e->putting = -1;
	e->refused = false;
}

static void ask_put(struct etcd *e)
{
	for (size_t i = 0; i < e->paper_count; i++) {
		struct paper *p = &e->papers[i];

		if (!p->dirty)
			continue;
		p->dirty = false;
		e->putting = (ptrdiff_t)i;
		if (p->text)
			ask(e, PUT, "/v3/kv/put", wire_put(p->key, p->text, p->bytes, e->lease));
		else
			ask(e, PUT, "/v3/kv/deleterange", wire_delete(p->key));
		return;
	}
}

/* --- turns --- */

static void ask_due(struct etcd *e)
{
	int64_t now = clock_ms();

	if (now < e->due_ms)
		return;
	if (e->s.watch.changed && !e->answers[LOOK].busy)
		ask(e, LOOK, "/v3/kv/range", wire_range());
	if (e->watching && !e->answers[PING].busy && now >= e->ping_ms)
		ask(e, PING, "/v3/kv/range", wire_ping());
	if (e->paper_count && !e->answers[LEASE].busy && now >= e->keep_ms)
		ask(e, LEASE, e->lease ? "/v3/lease/keepalive" : "/v3/lease/grant", e->lease ? wire_lease(e->lease) : wire_grant(ETCD_LEASE_S));
	if (e->granted && !e->answers[PUT].busy)
		ask_put(e);
}

static void take(struct etcd *e, enum ask what, const json_t *j)
{
	is_there(e);
	switch (what) {
	case LOOK:
		take_range(e, j);
		break;
	case PING:
		take_ping(e);
		break;
	case LEASE:
		take_lease(e, j);
		break;
	default:
		take_put(e);
	}
}

/* A put that failed is to be made again, with another lease. */
static void unput(struct etcd *e)
{
	e->lease = 0;
	e->granted = false;
	if (e->putting >= 0)
		e->papers[e->putting].dirty = true;
	e->putting = -1;
}

/* It is there, but will not have it. */
static void refused(struct etcd *e, const char *why)
{
	if (!e->refused)
		store_say(&e->s, "etcd at %s refuses what is published from here: %s", e->urls[e->url], why);
	e->refused = true;
	e->keep_ms = clock_ms() + AGAIN_MAX_MS;
	unput(e);
}

static void failed(struct etcd *e, const char *why)
{
	unput(e);
	e->keep_ms = 0;
	go_away(e, why);
}

static void on_end(struct etcd *e, struct answer *a, CURLcode code)
{
	json_t *j = code == CURLE_OK ? json_loadb(a->text ? a->text : "", a->bytes, 0, NULL) : NULL;
	const char *message = json_string_value(json_object_get(j, "error"));
	const char *why = code ? curl_easy_strerror(code) : message ? message : "its answer makes no sense";
	long status = 0;

	curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &status);
	give_up(e, a->ask);
	if (a->ask == LOOK && e->watching)
		failed(e, code ? why : "it ended our watch");
	else if (status == 200 && json_is_object(j) && !message)
		take(e, a->ask, j);
	else if (message && (a->ask == PUT || a->ask == LEASE))
		refused(e, message);
	else
		failed(e, why);
	json_decref(j);
}

static void run_curl(struct etcd *e)
{
	struct epoll_event ev[16];
	int n = epoll_wait(e->s.fd, ev, 16, 0), running, left;
	CURLMsg *m;

	for (int i = 0; i < n; i++)
		curl_multi_socket_action(e->multi, ev[i].data.fd, (ev[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
				(ev[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) | (ev[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0),
				&running);
	if (e->timer_ms >= 0 && clock_ms() >= e->timer_ms) {
		e->timer_ms = -1;
		curl_multi_socket_action(e->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	if (e->watching)
		take_lines(e);
	while ((m = curl_multi_info_read(e->multi, &left))) {
		CURLcode code = m->data.result; /* m ends with give_up */
		struct answer *a = NULL;

		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&a);
		if (m->msg == CURLMSG_DONE && a && a->busy)
			on_end(e, a, code);
	}
}

static void turn(struct store *s)
{
	struct etcd *e = (struct etcd *)s;

	run_curl(e);
	ask_due(e);
}

static void sooner(int64_t *first, int64_t due)
{
	if (*first < 0 || due < *first)
		*first = due;
}

static int wait_ms(const struct store *s)
{
	const struct etcd *e = (const struct etcd *)s;
	int64_t first = e->timer_ms;

	if (clock_ms() < e->due_ms) {
		sooner(&first, e->due_ms);
		return clock_until(first);
	}
	if (s->watch.changed && !e->answers[LOOK].busy)
		return 0;
	if (e->watching && !e->answers[PING].busy)
		sooner(&first, e->ping_ms);
	if (e->paper_count && !e->answers[LEASE].busy)
		sooner(&first, e->keep_ms);
	for (size_t i = 0; e->granted && !e->answers[PUT].busy && i < e->paper_count; i++)
		if (e->papers[i].dirty)
			return 0;
	return first < 0 ? -1 : clock_until(first);
}

/* --- publishing --- */

static struct paper *find_paper(struct etcd *e, const char *key)
{
	for (size_t i = 0; i < e->paper_count; i++)
		if (!strcmp(e->papers[i].key, key))
			return &e->papers[i];
	return NULL;
}

static int publish(struct store *s, const char *key, const char *text, size_t bytes)
{
	struct etcd *e = (struct etcd *)s;
	struct paper *p = find_paper(e, key);
	char *copy;

	if (strlen(key) >= sizeof(p->key) || bytes > ENTRY_BYTES_MAX)
		return -EINVAL;
	if (!p && e->paper_count == STORE_ENTRIES_MAX)
		return -ENOSPC;
	copy = malloc(bytes + 1);
	if (!copy)
		return -ENOMEM;
	if (!p) {
		p = &e->papers[e->paper_count++];
		*p = (struct paper){ 0 };
		snprintf(p->key, sizeof(p->key), "%s", key);
	}
	memcpy(copy, text, bytes);
	free(p->text);
	p->text = copy;
	p->bytes = bytes;
	p->dirty = true;
	return 0;
}

static int withdraw(struct store *s, const char *key)
{
	struct paper *p = find_paper((struct etcd *)s, key);

	if (!p)
		return -ENOENT;
	free(p->text);
	p->text = NULL;
	p->dirty = true;
	return 0;
}

/* --- life --- */

/* The lease goes, and all keys with it. */
static void give_back(struct etcd *e, int limit_ms)
{
	int64_t until = clock_ms() + limit_ms;

	e->closing = true;
	if (!e->lease || e->away)
		return;
	for (enum ask i = 0; i < ASKS; i++)
		give_up(e, i);
	e->watching = false;
	ask(e, LEASE, "/v3/lease/revoke", wire_lease(e->lease));
	while (e->answers[LEASE].busy && clock_ms() < until) {
		struct pollfd p = { .fd = e->s.fd, .events = POLLIN };

		poll(&p, 1, 10);
		run_curl(e);
	}
}

static void close_etcd(struct store *s, int limit_ms)
{
	struct etcd *e = (struct etcd *)s;

	give_back(e, limit_ms);
	for (enum ask i = 0; i < ASKS; i++) {
		give_up(e, i);
		curl_easy_cleanup(e->answers[i].curl);
		free(e->answers[i].text);
	}
	curl_multi_cleanup(e->multi);
	curl_slist_free_all(e->headers);
	for (size_t i = 0; i < e->paper_count; i++)
		free(e->papers[i].text);
	close(s->fd);
	free(e);
}

static const struct store_place place = { wait_ms, turn, publish, withdraw, close_etcd };

static bool is_url(const char *text, size_t n)
{
	size_t skip = !strncmp(text, "http://", 7) ? 7 : !strncmp(text, "https://", 8) ? 8 : 0;

	return skip && n > skip && n < sizeof(((struct etcd *)0)->urls[0]) && memchr(text, '@', n) == NULL;
}

/* Without a slash at the end. */
static bool take_urls(struct etcd *e, const char *urls)
{
	e->url_count = 0;
	for (;;) {
		size_t n = strcspn(urls, ","), whole = n;

		while (n && urls[n - 1] == '/')
			n--;
		if (!is_url(urls, n) || e->url_count == ETCD_URLS_MAX)
			return false;
		snprintf(e->urls[e->url_count++], sizeof(e->urls[0]), "%.*s", (int)n, urls);
		if (!urls[whole])
			return true;
		urls += whole + 1;
	}
}

bool etcd_urls_ok(const char *urls)
{
	static struct etcd e;

	return take_urls(&e, urls);
}

static void set_file(CURL *curl, CURLoption option, const char *variable)
{
	const char *file = getenv(variable);

	if (file && *file)
		curl_easy_setopt(curl, option, file);
}

static bool prepare(struct etcd *e, enum ask what)
{
	struct answer *a = &e->answers[what];

	a->ask = what;
	a->curl = curl_easy_init();
	if (!a->curl)
		return false;
	curl_easy_setopt(a->curl, CURLOPT_PRIVATE, a);
	curl_easy_setopt(a->curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(a->curl, CURLOPT_WRITEDATA, a);
	curl_easy_setopt(a->curl, CURLOPT_SOCKOPTFUNCTION, on_socket);
	curl_easy_setopt(a->curl, CURLOPT_HTTPHEADER, e->headers);
	curl_easy_setopt(a->curl, CURLOPT_POST, 1L);
	curl_easy_setopt(a->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(a->curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(a->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(a->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(a->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)ANSWER_MS);
	set_file(a->curl, CURLOPT_CAINFO, "MW_ETCD_CA");
	set_file(a->curl, CURLOPT_SSLCERT, "MW_ETCD_CERT");
	set_file(a->curl, CURLOPT_SSLKEY, "MW_ETCD_KEY");
	return true;
}

int etcd_open(struct store **out, const char *urls, const char *app, const struct store_watch *watch)
{
	struct etcd *e = calloc(1, sizeof(*e));
	bool good;

	if (!e)
		return -ENOMEM;
	if (!name_ok(app, ENTRY_NAME_MAX) || !take_urls(e, urls)) {
		free(e);
		return -EINVAL;
	}
	store_init(&e->s, &place, app, watch);
	e->again_ms = AGAIN_MS;
	e->timer_ms = -1;
	e->putting = -1;
	e->s.fd = epoll_create1(EPOLL_CLOEXEC);
	e->multi = curl_multi_init();
	e->headers = curl_slist_append(NULL, "Content-Type: application/json");
	good = e->s.fd >= 0 && e->multi && e->headers;
	for (enum ask i = 0; good && i < ASKS; i++)
		good = prepare(e, i);
	if (!good) {
		close_etcd(&e->s, 0);
		return -ENOMEM;
	}
	curl_multi_setopt(e->multi, CURLMOPT_SOCKETFUNCTION, on_interest);
	curl_multi_setopt(e->multi, CURLMOPT_SOCKETDATA, e);
	curl_multi_setopt(e->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(e->multi, CURLMOPT_TIMERDATA, e);
	*out = &e->s;
	return 0;
}
