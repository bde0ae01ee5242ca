// SPDX-License-Identifier: Apache-2.0
/*
 * etcd_fuzz.c - libFuzzer target: whatever an etcd answers, in whatever pieces: to a look, a watch, a lease, a ping, a put.
 * Trust: none. The connection is libcurl's, and is never made. What is told of has a key of our application, and is told gone only when it
 * was there. The first byte of each step says which answer; a line ends it.
 */
#include "registry/etcd.c"

#include "test/fuzz/input.h"

static char keys[STORE_ENTRIES_MAX][ENTRY_KEY_BYTES];

static char *find(const char *key)
{
	for (size_t i = 0; i < STORE_ENTRIES_MAX; i++)
		if (!strcmp(keys[i], key))
			return keys[i];
	return NULL;
}

static void changed(void *arg, const char *key, const struct entry *now, const char *text, size_t bytes)
{
	char *at = find(key), own[ENTRY_KEY_BYTES];

	must(!arg && *key && (now || at));
	if (!now) {
		*at = 0;
		return;
	}
	entry_key(own, now);
	must(!strcmp(own, key) && !strcmp(now->app, "web") && text && bytes <= ENTRY_BYTES_MAX);
	at = at ? at : find("");
	must(at != NULL);
	strcpy(at, key);
}

static void said(void *arg, const char *line)
{
	must(!arg && line[strcspn(line, "\n\033")] == 0);
}

/* One of ours in base64, with a lease or without, so that chance need not find it. */
static size_t entry_line(struct input *in, char *to, size_t room)
{
	uint8_t how = next_byte(in);
	char text[512], key[64];
	json_t *j;
	char *put;
	int n;

	snprintf(text, sizeof(text), "{\"v\":1,\"app\":\"web\",\"ins\":%u,\"host\":\"a\",\"address\":\"10.0.0.%u\",\"state\":\"up\",\"heartbeat\":1,"
		 "\"load\":{\"cpu\":0.25,\"connections\":7,\"rate\":2.5},\"ports\":[]}", how & 3u, (unsigned int)how);
	snprintf(key, sizeof(key), "a/web/%u", how >> 2 & 3u);
	put = wire_put(key, text, strlen(text), 7); /* which has key and value as an answer has them */
	j = json_loads(put, 0, NULL);
	must(j != NULL);
	n = snprintf(to, room, how & 16 ? "{\"kvs\":[%s]}" : "{\"result\":{\"events\":[{\"type\":\"%s\",\"kv\":%s}]}}", how & 16 ? put : how & 32 ? "DELETE" : "PUT", put);
	json_decref(j);
	free(put);
	return (size_t)n < room ? (size_t)n : room;
}

static void answer(struct etcd *e, enum ask what, char *text, size_t n)
{
	json_t *j;

	if (what == LOOK && e->watching) {
		on_data(text, 1, n, &e->answers[LOOK]);
		take_lines(e);
		return;
	}
	j = json_loadb(text, n, 0, NULL);
	if (json_is_object(j))
		take(e, what, j);
	else
		failed(e, "its answer makes no sense");
	json_decref(j);
}

static void step(struct etcd *e, struct input *in)
{
	static char text[4096];
	uint8_t how = next_byte(in);
	const uint8_t *end = memchr(in->at, '\n', input_left(in));
	size_t n = end ? (size_t)(end + 1 - in->at) : input_left(in);

	n = n < sizeof(text) ? n : sizeof(text);
	if (how & 8) {
		n = entry_line(in, text, sizeof(text) - 1);
		text[n++] = '\n';
	} else {
		next_bytes(in, text, n);
	}
	if (how & 16)
		store_withdraw(&e->s, "a/web/1");
	else if (how & 32)
		store_publish(&e->s, "a/web/1", text, n);
	answer(e, (enum ask)(how % ASKS), text, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct store_watch watch = { changed, said, NULL };
	struct input in = { data, data + n };
	struct store *s;

	memset(keys, 0, sizeof(keys));
	must(etcd_open(&s, "http://127.0.0.1:1,http://127.0.0.1:2", "web", &watch) == 0);
	((struct etcd *)s)->due_ms = INT64_MAX;
	while (in.at < in.end)
		step((struct etcd *)s, &in);
	((struct etcd *)s)->lease = 0; /* nothing is given back */
	store_close(s, 0);
	return 0;
}
