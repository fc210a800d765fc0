/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the files of the datapath share with each other; for loader/datapath*.c only. */
#ifndef HF_LOADER_DATAPATH_INTERNAL_H
#define HF_LOADER_DATAPATH_INTERNAL_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <limits.h>

#include "bpf/holdfast.skel.h"
#include "loader/datapath.h"

#define DATAPATH_INTERFACES_MAX 32

enum datapath_place { DATAPATH_TUNNEL, DATAPATH_UNDERLAY };

struct datapath_interface {
	unsigned int ifindex;
	enum datapath_place place;
};

struct datapath {
	struct holdfast_bpf *skel;
	struct ring_buffer *ring;
	struct datapath_config config; /* strings are not kept */
	char pin_dir[PATH_MAX];	       /* empty: nothing is pinned */
	bool adopted;
	__u64 opened_ns; /* CLOCK_MONOTONIC: heartbeats from before are another run's */
	datapath_event_fn event;
	void *event_context;
	int n_events; /* since datapath_consume_events() began */
	struct datapath_interface interfaces[DATAPATH_INTERFACES_MAX];
	size_t n_interfaces;
};

/* Begins a new capture of what libbpf and libxdp say. */
void datapath_log_start(void);

/* Writes the text, copies the end of the capture into detail, and returns error. report may be NULL. */
int datapath_report_set(struct datapath_report *report, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Opens a skeleton and sets its knobs. NULL with errno. */
struct holdfast_bpf *datapath_skeleton_open(const struct datapath_config *config);

#endif
