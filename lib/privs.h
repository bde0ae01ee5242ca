/* SPDX-License-Identifier: Apache-2.0 */
/*
 * privs.h - gives up everything that the user nobody does not have. Used by ins/, names/ and telem/.
 * Trust: the kernel. Afterwards nothing that the process executes or loads gets it back.
 */
#ifndef MW_LIB_PRIVS_H
#define MW_LIB_PRIVS_H

/*
 * Empties the capability bounding set, becomes nobody if we were root, drops all capabilities, allows no new privileges, and is
 * no longer traceable by the user we are. 0 or -errno.
 */
int privs_drop(void);

#endif
