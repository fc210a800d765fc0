// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "loader/datapath_internal.h"

#define XFRM_MODULE "xfrm_interface"

static bool btf_has_kfuncs(const struct btf *btf)
{
	return btf__find_by_name_kind(btf, "bpf_skb_set_xfrm_info", BTF_KIND_FUNC) > 0 &&
	       btf__find_by_name_kind(btf, "bpf_skb_get_xfrm_info", BTF_KIND_FUNC) > 0;
}

static void kernel_look(struct datapath_kernel *kernel)
{
	struct utsname name;
	struct btf *vmlinux, *module;

	memset(kernel, 0, sizeof(*kernel));
	if (!uname(&name))
		snprintf(kernel->release, sizeof(kernel->release), "%s", name.release);
	/* A module that is built in has a folder there only if it has parameters: the kfuncs tell, below. */
	kernel->xfrm_module = !access("/sys/module/" XFRM_MODULE, F_OK);
	vmlinux = btf__load_vmlinux_btf();
	if (!vmlinux)
		return;
	kernel->btf = true;
	kernel->xfrm_kfuncs = btf_has_kfuncs(vmlinux);
	if (!kernel->xfrm_kfuncs && kernel->xfrm_module) {
		module = btf__load_module_btf(XFRM_MODULE, vmlinux);
		kernel->xfrm_kfuncs = module && btf_has_kfuncs(module);
		btf__free(module);
	}
	if (kernel->xfrm_kfuncs)
		kernel->xfrm_module = true;
	btf__free(vmlinux);
}

int datapath_probe_kernel(struct datapath_kernel *ret_kernel, struct datapath_report *report)
{
	datapath_log_start();
	kernel_look(ret_kernel);
	if (ret_kernel->xfrm_kfuncs)
		return 0;
	if (!ret_kernel->btf)
		return datapath_report_set(report, -EOPNOTSUPP,
					   "kernel %s has no BTF (/sys/kernel/btf/vmlinux): run one built with "
					   "CONFIG_DEBUG_INFO_BTF, such as Debian's",
					   ret_kernel->release);
	if (!ret_kernel->xfrm_module)
		return datapath_report_set(report, -EOPNOTSUPP,
					   "kernel %s has no XFRM interfaces: load the module " XFRM_MODULE
					   ", or run a kernel built with CONFIG_XFRM_INTERFACE",
					   ret_kernel->release);
	return datapath_report_set(report, -EOPNOTSUPP,
				   "kernel %s cannot steer XFRM from BPF (no bpf_skb_set_xfrm_info()): run Linux 6.2 "
				   "or newer, for example linux-image-6.12-amd64 on Debian 12",
				   ret_kernel->release);
}
