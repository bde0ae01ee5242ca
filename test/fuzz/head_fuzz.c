// SPDX-License-Identifier: Apache-2.0
/*
 * head_fuzz.c - libFuzzer target: a connection's first bytes, in one piece and in pieces.
 * Trust: none. The first byte picks how it begins and where it is split; a complete HTTP header is looked for again,
 * by the plainest means.
 */
#include <stdlib.h>
#include <string.h>

#include "ins/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool good)
{
	if (!good)
		abort();
}

static void scan(struct head *h, const uint8_t *data, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1); /* exactly as long as it is */

	if (!copy)
		abort();
	memcpy(copy, data, n);
	head_scan(h, copy, (uint32_t)n);
	free(copy);
}

/* Bytes up to the end of the first empty line behind a line; 0: none. */
static size_t plain_end(const uint8_t *data, size_t n)
{
	size_t i = 0;

	while (i < n && (data[i] == '\r' || data[i] == '\n'))
		i++;
	for (; i < n; i++) {
		if (data[i] != '\n')
			continue;
		if (i + 1 < n && data[i + 1] == '\n')
			return i + 2;
		if (i + 2 < n && data[i + 1] == '\r' && data[i + 2] == '\n')
			return i + 3;
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct head whole = { 0 }, parts = { 0 };
	size_t step, end;

	if (n < 1)
		return 0;
	whole.kind = parts.kind = data[0] % (HEAD_TLS + 1);
	step = 1 + data[0] / 8;
	data++;
	n--;
	scan(&whole, data, n);
	for (size_t at = 0; at < n; at += step)
		scan(&parts, data + at, n - at < step ? n - at : step);
	must(whole.kind == parts.kind && whole.state == parts.state && whole.bytes == parts.bytes);
	must(whole.bytes <= n && (whole.state == MW_HEAD_NONE) == (n == 0));
	must(whole.state != MW_HEAD_PARTIAL || whole.bytes == n);
	if (whole.kind != HEAD_HTTP || !n)
		return 0;
	end = plain_end(data, n);
	must(end ? whole.state == MW_HEAD_COMPLETE && whole.bytes == end : whole.state == MW_HEAD_PARTIAL);
	return 0;
}
