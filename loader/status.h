/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What `holdfast status --json` shows (design, section 9), gathered from the
 * parts that know it.
 */
#ifndef HF_LOADER_STATUS_H
#define HF_LOADER_STATUS_H

#include <jansson.h>

#include "loader/client.h"
#include "loader/cluster.h"
#include "loader/gate.h"
#include "loader/node.h"

struct status_sources {
	const char *instance;
	struct node *node;
	struct clusters *clusters;
	struct clients *clients;
	struct gate *gate;
};

/* A new object. */
json_t *status_json(const struct status_sources *sources);

#endif
