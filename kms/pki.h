/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A small certificate authority for those who have none, in one folder:
 * ca.pem and ca.key, NAME.pem and NAME.key for each node, and crl.pem. Keys are
 * P-256 and readable by their owner only. Owns those files; knows no TLS. Part
 * of the `holdfast` command.
 */
#ifndef HF_KMS_PKI_H
#define HF_KMS_PKI_H

#include <stddef.h>

#include "lib/addr.h"

#define PKI_ERROR_MAX 512

/*
 * Makes the folder where it is missing, a CA of 20 years in it and an empty
 * revocation list. Returns 0; or -EEXIST when there is one already, or another
 * -errno, with the reason in error: then there is no CA.
 */
int pki_init(const char *dir, char error[PKI_ERROR_MAX]);

/*
 * Issues a certificate for name (its common name and the files' name: letters,
 * digits, '.', '-', '_') with these addresses as subjectAltName IPs. It serves
 * both ends of a connection; what keeps a client from playing a gateway is that
 * it lacks the gateway's address. Valid for days from now, not beyond the end of
 * the CA; negative: it has expired already (for tests). Returns 0; or -EEXIST
 * when name has a certificate or key already, or another -errno, with the reason
 * in error.
 */
int pki_issue(const char *dir, const char *name, const struct hf_addr *addrs, size_t n, int days,
	      char error[PKI_ERROR_MAX]);

/*
 * Adds name's certificate to the revocation list, and moves its files away to
 * NAME.revoked-SERIAL.pem and .key, so that name can be issued anew. Returns 0
 * or -errno with the reason in error.
 */
int pki_revoke(const char *dir, const char *name, char error[PKI_ERROR_MAX]);

#endif
