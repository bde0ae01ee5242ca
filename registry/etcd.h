/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etcd.h - the registry of several hosts: etcd (3.4 or later), key /mwcomms/HOST/APP/N, each with the lease of who published it. Used by front/.
 * Trust: etcd's answers are parsed; entries in it may be anybody's who can write there: one without a lease would outlive its host, and
 * is refused.
 *
 * When etcd is away that is said once, what is known stays, and it is asked again after 0.25 s, then twice as long up to 4 s. What was
 * published is there again when etcd is. The environment's MW_ETCD_CA, MW_ETCD_CERT and MW_ETCD_KEY name files for https.
 */
#ifndef MW_REGISTRY_ETCD_H
#define MW_REGISTRY_ETCD_H

#include "registry/store.h"

enum { ETCD_URLS_MAX = 4, ETCD_LEASE_S = 10 };

/* urls: "http://HOST:2379", more with commas between; tried in turn. A watch without `changed` only publishes.
 * -EINVAL for what is no URL, -ENOMEM, or what the kernel says. */
int etcd_open(struct store **out, const char *urls, const char *app, const struct store_watch *watch);

/* Whether it would be taken. */
bool etcd_urls_ok(const char *urls);

#endif
