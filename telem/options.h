/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.h - the socket options that an operator may set: names for people, and their values as setsockopt() has them.
 * Used inside telem/.
 * Trust: texts are anybody's.
 */
#ifndef MW_TELEM_OPTIONS_H
#define MW_TELEM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum option_type {
	OPTION_INT,     /* a number */
	OPTION_LINGER,  /* struct linger: seconds, or off */
	OPTION_TIME,    /* struct timeval: seconds, with a fraction */
	OPTION_TEXT,    /* congestion control's name */
};

struct sockopt {
	const char *name;
	int level, number;       /* setsockopt()'s */
	enum option_type type;
	const char *help;        /* with the unit */
};
extern const struct sockopt options[];
extern const uint32_t option_count;

#define OPTION_VALUE_MAX 32u

const struct sockopt *option_named(const char *name); /* NULL: there is none */
/* Bytes of the value, or -EINVAL. */
int option_parse(const struct sockopt *o, const char *text, uint8_t value[OPTION_VALUE_MAX]);
#define OPTION_TEXT_BYTES 48u
/* What getsockopt() has said, of `bytes` bytes, in the words of option_parse; "?" when it is too short. */
const char *option_text(const struct sockopt *o, const uint8_t *value, uint32_t bytes, char text[OPTION_TEXT_BYTES]);

#endif
