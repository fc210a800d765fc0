/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The "session" object of status --json (design, section 9), the same for gateways and clients. */
#ifndef HF_LOADER_PEER_JSON_H
#define HF_LOADER_PEER_JSON_H

#include <jansson.h>

#include "loader/peer.h"

/* A new object; null while the session does not stand both ways. peer may be NULL. */
json_t *peer_session_json(const struct peer *peer);

#endif
