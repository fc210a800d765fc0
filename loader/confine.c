/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "loader/confine.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/resource.h>

#include "lib/log.h"
#include "lib/privilege.h"

/* packaging/holdfast.service and holdfastd(8) have the same list. */
static const int needed[] = {
	CAP_NET_ADMIN,	      /* XFRM, links, routes, rules, sysctls of the network, marks, attaching programs */
	CAP_NET_RAW,	      /* heartbeats, announcements, sockets bound to a device */
	CAP_NET_BIND_SERVICE, /* a KeyServicePort below 1024 */
	CAP_BPF,	      /* maps and programs */
	CAP_PERFMON,	      /* the verifier: pointers into packets in maps' values (bpf_allow_ptr_leaks()) */
	/*
	 * The kernel asks for it where a program calls a function of a module (bpf_btf_get_fd_by_id(), for xfrm_interface),
	 * and where libxdp looks at the programs that are attached already, at the end as well (bpf_prog_get_fd_by_id()).
	 */
	CAP_SYS_ADMIN,
	CAP_SETUID, CAP_SETGID, /* holdfast-kms becomes another user, also when it is started again, */
	CAP_SETPCAP,		/* and empties its bounding set */
	CAP_KILL,		/* ending it: it belongs to another user */
};

#define COUNT (sizeof(needed) / sizeof(needed[0]))

static int keep(const int *capabilities, size_t n)
{
	int err = privilege_bound(capabilities, n);

	if (err == -EPERM) { /* in a container without CAP_SETPCAP */
		log_debug("the bounding set stays as it is: no CAP_SETPCAP");
		err = 0;
	}
	return err ? err : privilege_keep(capabilities, n);
}

int confine_start(void)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	int capabilities[COUNT + 1];
	int err;

	/* Inherited by holdfast-kms, which locks its memory. */
	if (setrlimit(RLIMIT_MEMLOCK, &all))
		log_debug("the limit of locked memory stays as it is");
	for (size_t i = 0; i < COUNT; i++)
		capabilities[i] = needed[i];
	capabilities[COUNT] = CAP_DAC_READ_SEARCH;
	err = keep(capabilities, COUNT + 1);
	if (!err)
		err = privilege_forbid_new();
	return err ? err : privilege_hide_memory();
}

int confine_run(void)
{
	return keep(needed, COUNT);
}
