/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shed.h - what of root's power a broker gives up once the application runs. Used by broker/supervise.c.
 * Trust: the kernel.
 */
#ifndef MW_BROKER_SHED_H
#define MW_BROKER_SHED_H

/*
 * From here on this process, and what it starts, has of its capabilities those that are named in shed.c, and never more. The
 * application, which was started before, has all that whoever started it had. 0 or -errno.
 */
int shed(void);

#endif
