/* SPDX-License-Identifier: Apache-2.0 */
/*
 * option_names.h - the table that tools/option-names.py makes from the kernel's headers. Ends with a NULL name.
 * Trust: a test's own.
 */
#ifndef MW_SAME_OPTION_NAMES_H
#define MW_SAME_OPTION_NAMES_H

struct option_name {
	const char *level_name, *name;
	int level, number;
};

extern const struct option_name option_names[];

#endif
