# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Holdfast. `make` builds, `make check` tests, `make demo` shows; see README.md.

# What the whole project is compiled with. SAN=1 builds apart, under ASan and UBSan.
CC      ?= gcc
CLANG   ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool /usr/local/sbin/bpftool) bpftool)
SAN     ?=
B       := build$(if $(SAN),/san)
VERSION := 0.1.0

PREFIX  ?= /usr/local
DESTDIR ?=

WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
           -Wwrite-strings -Wundef -Wformat=2 -Wno-unused-parameter -Wno-missing-field-initializers
CFLAGS  ?= -O2 -g
CFLAGS  += -std=gnu11 $(WARN) -fstack-protector-strong -D_GNU_SOURCE -DHF_VERSION=\"$(VERSION)\" -I. -I$(B) -MMD -MP
ifneq ($(SAN),)
CFLAGS  += -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
LDFLAGS += -fsanitize=address,undefined
else
CFLAGS  += -D_FORTIFY_SOURCE=2
endif

# One folder, one library of objects. What each program may link says which way includes point.
objects = $(patsubst %.c,$(B)/%.o,$(wildcard $(1)))
LIB_O    := $(call objects,lib/*.c)
POLICY_O := $(call objects,policy/*.c)
KMS_O    := $(call objects,kms/*.c)
LINK_O   := $(B)/kms/link.o
PKI_O    := $(B)/kms/pki.o
DAEMON_O := $(call objects,loader/*.c)
CLI_O    := $(call objects,loader/cli/*.c)

PROGRAMS := $(B)/holdfastd $(B)/holdfast-kms $(B)/holdfast

all: $(PROGRAMS)

$(B)/holdfastd: $(DAEMON_O) $(LINK_O) $(POLICY_O) $(LIB_O)
$(B)/holdfastd: LDLIBS = -lxdp -lbpf -lelf -lmnl -levent -ljansson -lsystemd
$(B)/holdfast-kms: $(filter-out $(PKI_O),$(KMS_O)) $(LIB_O)
$(B)/holdfast-kms: LDLIBS = -lssl -lcrypto -levent_openssl -levent -lseccomp
$(B)/holdfast: $(CLI_O) $(PKI_O) $(POLICY_O) $(LIB_O)
$(B)/holdfast: LDLIBS = -lcrypto -ljansson

$(PROGRAMS):
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LDLIBS)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<

# The datapath and its skeleton.
BPF_CFLAGS := -target bpf -D__TARGET_ARCH_x86 -O2 -g -std=gnu11 -mcpu=v3 -Wall -Werror -I.
$(B)/bpf/holdfast.bpf.o: bpf/holdfast.bpf.c $(wildcard bpf/*.h) vmlinux.h
	@mkdir -p $(@D)
	$(CLANG) $(BPF_CFLAGS) -c -o $@ $<
$(B)/bpf/holdfast.skel.h: $(B)/bpf/holdfast.bpf.o
	$(BPFTOOL) gen skeleton $< name holdfast_bpf > $@.tmp && mv $@.tmp $@
$(DAEMON_O): | $(B)/bpf/holdfast.skel.h

include selftests/build.mk

# The packages first, by a make of its own: what this one was told about them (pkg-config, bpftool) may be stale.
# DEPS=build: only what building and installing need, for a machine that is to run Holdfast.
deps:
	@selftests/deps $(DEPS)
check demo figures faults bench: deps
	@+$(MAKE) --no-print-directory -j$(shell nproc) $(NEED_$@) SAN=$(SAN) B=$(B)
	@+B=$(B) $(RUN_$@)
NEED_check   := tests fuzzers
RUN_check    := selftests/run
NEED_demo    := all $(E2E_BIN)
RUN_demo     := selftests/anywhere --timeout 300 -- selftests/e2e/demo.sh
NEED_faults  := all $(E2E_BIN) $(NEXT)
RUN_faults   := selftests/faults
NEED_bench   := all $(E2E_BIN) $(BENCH_BIN)
RUN_bench    := selftests/anywhere --timeout 900 -- selftests/bench/all
NEED_figures := all $(E2E_BIN)
RUN_figures  := selftests/anywhere --timeout 1500 -- selftests/e2e/figures.sh

# The three programs find each other in the folder where they lie (/proc/self/exe), so they lie together.
ROOT    := $(DESTDIR)$(PREFIX)
MAN5    := docs/holdfast-policy.5
MAN8    := docs/holdfast.8 docs/holdfastd.8
install: all
	install -d $(addprefix $(ROOT)/,lib/holdfast bin sbin lib/systemd/system lib/sysusers.d share/man/man5 share/man/man8)
	install -m 755 $(PROGRAMS) $(ROOT)/lib/holdfast
	ln -sf ../lib/holdfast/holdfast $(ROOT)/bin/holdfast
	ln -sf ../lib/holdfast/holdfastd $(ROOT)/sbin/holdfastd
	install -m 644 $(MAN5) $(ROOT)/share/man/man5
	install -m 644 $(MAN8) $(ROOT)/share/man/man8
	install -m 644 packaging/holdfast.service $(ROOT)/lib/systemd/system
	sed -i 's|/usr/local/|$(PREFIX)/|' $(patsubst docs/%,$(ROOT)/share/man/man8/%,$(MAN8)) $(ROOT)/lib/systemd/system/holdfast.service
	install -m 644 packaging/holdfast.sysusers $(ROOT)/lib/sysusers.d/holdfast.conf

# /etc/holdfast, with policy and keys, and the user of holdfast-kms are not ours to remove.
uninstall:
	rm -f $(addprefix $(ROOT)/lib/holdfast/,$(notdir $(PROGRAMS))) $(ROOT)/bin/holdfast $(ROOT)/sbin/holdfastd
	rm -f $(patsubst docs/%,$(ROOT)/share/man/man5/%,$(MAN5)) $(patsubst docs/%,$(ROOT)/share/man/man8/%,$(MAN8))
	rm -f $(ROOT)/lib/systemd/system/holdfast.service $(ROOT)/lib/sysusers.d/holdfast.conf
	rmdir $(ROOT)/lib/holdfast 2>/dev/null || true

clean:
	rm -rf build

.PHONY: all tests fuzzers sim deps check demo figures faults bench fuzz fuzz-seeds install uninstall clean
.SECONDARY:
-include $(shell find $(B) $(FUZZ) -name '*.d' 2>/dev/null)
