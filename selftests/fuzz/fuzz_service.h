/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The records of an input of fuzz_service.c, beside the link's own types; for that target and for seeds.c. */
#ifndef HF_SELFTESTS_FUZZ_SERVICE_H
#define HF_SELFTESTS_FUZZ_SERVICE_H

#define SERVICE_NETWORK 200 /* flags: which connection */
#define SERVICE_DIAL 201    /* flags: how many */

#define SERVICE_AS_IT_IS 1 /* the body is not filled up; the upper four bits: descriptors */

#endif
