/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clean.h - what others chose, made harmless to a terminal. Used by ctl/.
 * Trust: names of commands, texts of orders and answers may hold anything, escape sequences too.
 */
#ifndef MW_CTL_CLEAN_H
#define MW_CTL_CLEAN_H

#include <jansson.h>

/* Whatever is no printable ASCII becomes '?', in place. */
char *clean_text(char *text);
/* A string's text, cleaned in place; "" when it is none. */
const char *clean_string(const json_t *string);
/* On a line of its own to stdout; what is not ASCII is escaped. */
void clean_print(const json_t *o);

#endif
