// SPDX-License-Identifier: Apache-2.0
/*
 * store_fuzz.c - libFuzzer target: whatever xenstored answers to reads, writes and watches, an INS's addresses among them.
 * Trust: none. A value ends, and is empty when it could not be read; a connection that makes no sense is over. What is said to be an address
 * is one.
 */

#include "broker/pvm_store.c"
#include "link/xenstore.c"

#include "test/fuzz/input.h"

static int answers[2];

/* Messages with a head that fits, for as long as there is input; then the connection ends. */
static void say(struct input *in)
{
	static const uint32_t types[] = { XS_READ, XS_WATCH_EVENT, XS_ERROR, XS_WRITE };
	uint8_t text[512];

	while (input_left(in)) {
		uint8_t how = next_byte(in);
		struct xsd_sockmsg m = { .type = types[how % 4], .len = next_byte(in) };

		if (how & 128)
			next_bytes(in, &m, sizeof(m));
		next_bytes(in, text, m.len < sizeof(text) ? m.len : sizeof(text));
		if (m.type == XS_ERROR && how & 64)
			strcpy((char *)text, how & 32 ? "ENOENT" : "EACCES"), m.len = 7;
		if (send(answers[1], &m, sizeof(m), MSG_DONTWAIT) < 0 || send(answers[1], text, m.len < sizeof(text) ? m.len : sizeof(text), MSG_DONTWAIT) < 0)
			break;
	}
	shutdown(answers[1], SHUT_WR);
}

static void read_address(uint16_t family)
{
	char text[PVM_ADDRESS_BYTES], binary[16];

	there = true;
	memset(text, 'x', sizeof(text));
	pvm_store_address(7, family, text);
	must(!*text || inet_pton(family == MW_FAMILY_IP4 ? AF_INET : AF_INET6, text, binary) == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct input in = { data, data + n };
	char value[STORE_VALUE_MAX];
	uint8_t calls = next_byte(&in);

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, answers) == 0);
	fd = answers[0];
	say(&in);
	for (int i = 0; i < 8; i++) {
		int r = 0;

		switch (calls >> i & 1 ? i % 4 : 0) {
		case 0:
			memset(value, 'x', sizeof(value));
			r = store_read("key", value);
			must(memchr(value, 0, sizeof(value)) != NULL && (r == 0 || !*value));
			break;
		case 1: r = store_write("key", "value"); break;
		case 2: r = store_domain_lives(7); break;
		default:
			read_address(calls & 1 ? MW_FAMILY_IP6 : MW_FAMILY_IP4);
			store_changed();
		}
		must(r <= 0 || r == 1);
	}
	if (fd >= 0)
		close(fd);
	close(answers[1]);
	fd = -1;
	changed = false;
	return 0;
}
