/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metric_text.c: both formats to the byte, escapes, numbers of any size, and which format a client is given.
 * Trust: none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "telem/metric_text.h"

#define L "app=\"a\\\\b\\\"c\\nd\",ins=\"7\""

static char *text;
static size_t bytes;

static struct metric_text begin(bool open)
{
	struct metric_text t = { .open = open, .app = "a\\b\"c\nd", .ins = 7 };

	t.out = open_memstream(&text, &bytes);
	assert_non_null(t.out);
	return t;
}

static void said(struct metric_text *t, const char *wanted)
{
	fclose(t->out);
	assert_string_equal(text, wanted);
	free(text);
}

static void counters(void **state)
{
	struct metric_text t = begin(false);

	(void)state;
	metric_text_head(&t, "x_bytes", METRIC_COUNTER, "bytes", "It's \"x\"\\\n.");
	metric_text_value(&t, "x_bytes", METRIC_COUNTER, "bytes", "", UINT64_MAX);
	metric_text_value(&t, "x_bytes", METRIC_COUNTER, "bytes", "k=\"v\"", 0);
	metric_text_end(&t);
	said(&t, "# HELP x_bytes_total It's \"x\"\\\\\\n.\n# TYPE x_bytes_total counter\n"
		 "x_bytes_total{" L "} 18446744073709551615\nx_bytes_total{" L ",k=\"v\"} 0\n");

	t = begin(true);
	metric_text_head(&t, "x_bytes", METRIC_COUNTER, "bytes", "It's \"x\"\\\n.");
	metric_text_value(&t, "x_bytes", METRIC_COUNTER, "bytes", "", 1);
	metric_text_end(&t);
	said(&t, "# HELP x_bytes It's \\\"x\\\"\\\\\\n.\n# TYPE x_bytes counter\n# UNIT x_bytes bytes\n"
		 "x_bytes_total{" L "} 1\n# EOF\n");
}

static void info(void **state)
{
	struct metric_text t = begin(false);

	(void)state;
	metric_text_head(&t, "x", METRIC_INFO, "", "h");
	metric_text_value(&t, "x", METRIC_INFO, "", "", 1);
	said(&t, "# HELP x_info h\n# TYPE x_info gauge\nx_info{" L "} 1\n");
	t = begin(true);
	metric_text_head(&t, "x", METRIC_INFO, "", "h");
	metric_text_value(&t, "x", METRIC_INFO, "", "", 1);
	said(&t, "# HELP x h\n# TYPE x info\nx_info{" L "} 1\n");
}

static void seconds(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} all[] = { { 0, "0.0" }, { 1, "0.000000001" }, { 100000, "0.0001" }, { 1000000000, "1.0" }, { 1500000000, "1.5" },
		    { 1795355654911105401, "1795355654.911105401" }, { UINT64_MAX, "18446744073.709551615" } };
	char wanted[100];

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct metric_text t = begin(false);

		metric_text_value(&t, "x_seconds", METRIC_GAUGE, "seconds", "", all[i].ns);
		snprintf(wanted, sizeof(wanted), "x_seconds{" L "} %s\n", all[i].text);
		said(&t, wanted);
	}
}

/* Buckets hold what is in those below too. */
static void times(void **state)
{
	struct mw_times all = { .bucket = { 3, 0, 2, [MW_BOUNDS] = 5 }, .sum_ns = 2500000000 };
	struct metric_text t = begin(true);

	(void)state;
	metric_text_times(&t, "x_seconds", &all);
	fflush(t.out);
	assert_non_null(strstr(text, "x_seconds_bucket{" L ",le=\"0.0001\"} 3\nx_seconds_bucket{" L ",le=\"0.0005\"} 3\n"
				     "x_seconds_bucket{" L ",le=\"0.001\"} 5\n"));
	assert_non_null(strstr(text, ",le=\"3600.0\"} 5\nx_seconds_bucket{" L ",le=\"+Inf\"} 10\nx_seconds_sum{" L "} 2.5\n"
				     "x_seconds_count{" L "} 10\n"));
	fclose(t.out);
	free(text);
	for (uint32_t i = 1; i < MW_BOUNDS; i++)
		assert_true(tele_bound_ns[i - 1] < tele_bound_ns[i]);
}

static void accepts(void **state)
{
	static const char *const open[] = {
		"application/openmetrics-text",
		"application/openmetrics-text; version=1.0.0; charset=utf-8",
		"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		"text/plain;q=0.5 , Application/OpenMetrics-Text;q=0.6",
		"text/plain ; q=0.5,application/openmetrics-text ; x=y ; Q=0.5",
	};
	static const char *const plain[] = {
		"", "*/*", "text/plain", "text/*", ",", ";q=1", " , ;", "application/openmetrics-text;q=0",
		"application/openmetrics-text;q=nan", "application/openmetrics-text;q=0.5,text/plain",
		"application/openmetrics-text;q=0.1,text/*;q=0.2", "application/openmetrics-textual", "application/openmetrics",
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
	};

	(void)state;
	assert_false(metric_text_wants_open(NULL));
	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
		assert_true(metric_text_wants_open(open[i]));
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		assert_false(metric_text_wants_open(plain[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(counters), cmocka_unit_test(info), cmocka_unit_test(seconds),
					    cmocka_unit_test(times), cmocka_unit_test(accepts) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
