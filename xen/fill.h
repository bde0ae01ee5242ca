/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fill.h - an INS domain's configuration for xl, from a template: ins.cfg.in says which words are replaced. Used by xen/.
 * Trust: template and image are the user's, who runs xl; the values put into it have no quotes.
 */
#ifndef MW_XEN_FILL_H
#define MW_XEN_FILL_H

#define FILL_WHY_BYTES 320

struct fill {
	const char *name, *image, *ip, *gw; /* of @name@, @image@, @ip@ and @gw@ */
};

/* The text, the caller's to free; NULL: `why` says what is wrong. It must have @name@ and @ip@, and @gw@ only if there is one. */
char *fill_template(const char *path, const struct fill *f, char why[FILL_WHY_BYTES]);

#endif
