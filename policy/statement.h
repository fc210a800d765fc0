/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The numbered statements: Cluster, Tunnel, Redirect Tunnel, Peer. Each
 * function reads what follows the equals sign into the draft and returns 0; or
 * -EINVAL with errors in the report; or -ENOMEM. Private to policy/.
 */
#ifndef HF_POLICY_STATEMENT_H
#define HF_POLICY_STATEMENT_H

#include "policy/draft.h"
#include "policy/lex.h"

int statement_cluster(struct draft *draft, struct lex_line *line, unsigned int number, struct policy_place place);
int statement_tunnel(struct draft *draft, struct lex_line *line, unsigned int number, struct policy_place place);
int statement_redirect(struct draft *draft, struct lex_line *line, unsigned int number, struct policy_place place);
int statement_peer(struct draft *draft, struct lex_line *line, unsigned int number, struct policy_place place);

#endif
