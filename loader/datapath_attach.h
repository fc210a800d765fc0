/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The two kinds of hooks, for loader/datapath*.c only: TC filters, XDP through libxdp. */
#ifndef HF_LOADER_DATAPATH_ATTACH_H
#define HF_LOADER_DATAPATH_ATTACH_H

#include <bpf/libbpf.h>

#include "loader/datapath.h"

/* Adds the filter, or puts it in the place of an earlier run's. */
int datapath_tc_attach(unsigned int ifindex, enum bpf_tc_attach_point point, int program_fd);
/* Removes our filters at the points, and the qdisc if it is bare then. 0 when there were none. */
int datapath_tc_detach(unsigned int ifindex, enum bpf_tc_attach_point points);

/* Whether our filter is there. */
bool datapath_tc_is_attached(unsigned int ifindex, enum bpf_tc_attach_point point);

int datapath_xdp_attach(struct datapath *dp, unsigned int ifindex, struct datapath_report *report,
			struct datapath_attached *ret_attached);
/* Whether our program is there, alone or in a dispatcher. */
bool datapath_xdp_is_attached(unsigned int ifindex);
int datapath_xdp_detach(unsigned int ifindex);

#endif
