/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names_libc.h - included before names/lookup.c, compiled for the shim: its calls of libc are libc's, and not ours of the same name.
 * Trust: none.
 */
#ifndef MW_SHIM_NAMES_LIBC_H
#define MW_SHIM_NAMES_LIBC_H

#include "shim/libc.h"

#define getaddrinfo(...)      libc()->getaddrinfo(__VA_ARGS__)
#define getnameinfo(...)      libc()->getnameinfo(__VA_ARGS__)
#define gethostbyname_r(...)  libc()->gethostbyname_r(__VA_ARGS__)
#define gethostbyname2_r(...) libc()->gethostbyname2_r(__VA_ARGS__)
#define gethostbyaddr_r(...)  libc()->gethostbyaddr_r(__VA_ARGS__)
#define res_query(...)        libc()->res_query(__VA_ARGS__)
#define res_search(...)       libc()->res_search(__VA_ARGS__)
#define res_querydomain(...)  libc()->res_querydomain(__VA_ARGS__)
#define res_send(...)         libc()->res_send(__VA_ARGS__)

#endif
