# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# How the tests are built; a part of the Makefile, by subject. What runs them is selftests/run.

# Unit tests: selftests/unit/test_X.c, one program each (cmocka). WRAP: functions that a test puts its own in the place of.
comma     := ,
UNIT_SRC  := $(wildcard selftests/unit/test_*.c)
UNIT_BIN  := $(patsubst %.c,$(B)/%,$(UNIT_SRC))
PROG_SRC  := $(wildcard selftests/prog/test_*.c)
PROG_BIN  := $(patsubst %.c,$(B)/%,$(PROG_SRC))
# Everything but main() functions.
TESTED_O  := $(filter-out $(B)/loader/holdfastd.o $(B)/kms/holdfast-kms.o,$(LIB_O) $(POLICY_O) $(KMS_O) $(DAEMON_O))
$(UNIT_BIN): $(B)/%: $(B)/%.o $(TESTED_O)
	$(CC) $(CFLAGS) $(LDFLAGS) $(addprefix -Wl$(comma)--wrap=,$(WRAP)) -o $@ $^ -lcmocka -lxdp -lbpf -lelf -lmnl -lssl -lcrypto \
		-levent_openssl -levent -ljansson -lsystemd -lseccomp
$(B)/selftests/unit/test_kms_sandbox: WRAP := sandbox_close_syscalls
$(B)/selftests/unit/test_client_claim: WRAP := claim_arp_open claim_arp_announce claim_arp_receive claim_add claim_delete \
	route_announce route_withdraw datapath_rearm_claim inner_control_send peers_next peers_record eventlog_emit
$(B)/selftests/unit/test_cluster_counts: WRAP := peers_next beat_send datapath_add_beat datapath_del_beat datapath_steer \
	datapath_read_live
$(B)/selftests/unit/test_client_closed: WRAP := clock_gettime datapath_close_tunnel datapath_open_tunnel datapath_del_tunnel
$(UNIT_BIN:=.o): | $(B)/bpf/holdfast.skel.h
# The kernel of selftests/unit/peer_kernel.h, in the place of the real one.
$(B)/selftests/unit/test_peer: WRAP := clock_gettime time netlink_text inner_control_send route_add route_delete \
	$(addprefix xfrm_,state_add state_move state_delete state_read state_list policy_add policy_delete policy_list encap_open) \
	$(addprefix datapath_,set_peer del_peer set_outer del_outer set_session del_session set_member del_member set_tunnel \
		del_tunnel close_tunnel open_tunnel steer rearm_claim read_live) mapping_open mapping_fd expire_open expire_fd

# The BPF programs by BPF_PROG_RUN: the facade, what the tests share, and a BPF program that plays a peer.
PROG_O    := $(call objects,loader/datapath*.c) $(B)/loader/netlink.o $(LIB_O) $(B)/selftests/prog/fixture.o
$(PROG_BIN): $(B)/%: $(B)/%.o $(PROG_O)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lcmocka -lxdp -lbpf -lelf -lmnl
$(PROG_BIN:=.o): | $(B)/bpf/holdfast.skel.h $(B)/selftests/prog/peer.skel.h
$(B)/selftests/prog/peer.bpf.o: selftests/prog/peer.bpf.c bpf/contract.h vmlinux.h
	@mkdir -p $(@D)
	$(CLANG) $(BPF_CFLAGS) -c -o $@ $<
$(B)/selftests/prog/peer.skel.h: $(B)/selftests/prog/peer.bpf.o
	$(BPFTOOL) gen skeleton $< name peer_bpf > $@.tmp && mv $@.tmp $@

# What the end-to-end scenarios run: no part of Holdfast, so no libraries.
E2E_BIN   := $(B)/selftests/e2e/probe $(B)/selftests/e2e/hostile
$(E2E_BIN): $(B)/%: $(B)/%.o
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

# Another version of holdfastd: what an upgrade brings.
NEXT      := $(B)/selftests/e2e/next/holdfastd
NEXT_O    := $(B)/selftests/e2e/next/holdfastd.o $(B)/selftests/e2e/next/status.o
$(B)/selftests/e2e/next/%.o: loader/%.c | $(B)/bpf/holdfast.skel.h
	@mkdir -p $(@D)
	$(CC) $(filter-out -DHF_VERSION=%,$(CFLAGS)) -DHF_VERSION=\"next\" -c -o $@ $<
$(NEXT): $(NEXT_O) $(filter-out $(B)/loader/holdfastd.o $(B)/loader/status.o,$(DAEMON_O)) $(LINK_O) $(POLICY_O) $(LIB_O)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -lxdp -lbpf -lelf -lmnl -levent -ljansson -lsystemd
	ln -sf ../../../holdfast-kms $(@D)/holdfast-kms

# The simulator: its own model of the world around the real state machines.
SIM_O     := $(call objects,selftests/sim/*.c)
SIM_REAL  := $(call objects,loader/failover*.c) $(B)/kms/exchange.o $(B)/kms/wire.o $(POLICY_O) $(LIB_O)
SIM_BIN   := $(B)/selftests/sim/sim
$(SIM_BIN): $(SIM_O) $(SIM_REAL)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^
# Broken on purpose, by one patch each, in a copy of the one file that it changes: the simulation must find it.
SIM_BROKEN := $(patsubst selftests/sim/broken/%.patch,$(B)/selftests/sim/broken/%,$(wildcard selftests/sim/broken/*.patch))
broken_file = $(shell sed -n 's|^+++ b/||p' $(1))
$(SIM_BROKEN): $(B)/selftests/sim/broken/%: selftests/sim/broken/%.patch $(SIM_O) $(SIM_REAL)
	@mkdir -p $(@D)
	patch -s -p1 -o $@.c $(call broken_file,$<) $<
	$(CC) $(CFLAGS) -c -o $@.o $@.c
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $@.o $(filter-out $(B)/$(patsubst %.c,%.o,$(call broken_file,$<)),$(filter %.o,$^))

# Benchmarks, each beside its floor.
BENCH_BIN := $(B)/selftests/bench/bench_datapath $(B)/selftests/bench/bench_policy
$(B)/selftests/bench/bench_datapath: $(B)/selftests/bench/bench_datapath.o $(PROG_O)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lcmocka -lxdp -lbpf -lelf -lmnl
$(B)/selftests/bench/bench_datapath.o: | $(B)/bpf/holdfast.skel.h $(B)/selftests/bench/floor.skel.h
$(B)/selftests/bench/bench_policy: $(B)/selftests/bench/bench_policy.o $(POLICY_O) $(LIB_O)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^
$(B)/selftests/bench/floor.bpf.o: selftests/bench/floor.bpf.c vmlinux.h
	@mkdir -p $(@D)
	$(CLANG) $(BPF_CFLAGS) -c -o $@ $<
$(B)/selftests/bench/floor.skel.h: $(B)/selftests/bench/floor.bpf.o
	$(BPFTOOL) gen skeleton $< name floor_bpf > $@.tmp && mv $@.tmp $@

tests: all $(UNIT_BIN) $(PROG_BIN) $(E2E_BIN) $(BENCH_BIN) $(SIM_BIN) $(SIM_BROKEN) $(NEXT)

# Fuzzing: selftests/fuzz/fuzz_X.c, one libFuzzer program each. What they link is compiled apart: with coverage, ASan and UBSan.
# WRAP: functions of libraries and system that a target puts its own in the place of (ld's --wrap).
FUZZ        := build/fuzz
FUZZ_BIN    := $(patsubst selftests/fuzz/%.c,$(FUZZ)/%,$(wildcard selftests/fuzz/fuzz_*.c))
FUZZ_O      := $(patsubst $(B)/%,$(FUZZ)/%,$(TESTED_O))
FUZZ_SAN    := address,undefined -fno-sanitize-recover=all
FUZZ_CFLAGS := -O1 -g -std=gnu11 $(WARN) -fno-omit-frame-pointer -D_GNU_SOURCE -DHF_VERSION=\"$(VERSION)\" -I. -I$(B) -MMD -MP
$(FUZZ)/%.o: %.c
	@mkdir -p $(@D)
	$(CLANG) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link,$(FUZZ_SAN) -c -o $@ $<
$(FUZZ)/libtested.a: $(FUZZ_O)
	rm -f $@ && ar rcs $@ $^
$(FUZZ_O): | $(B)/bpf/holdfast.skel.h
$(FUZZ_BIN): $(FUZZ)/%: $(FUZZ)/selftests/fuzz/%.o $(FUZZ)/libtested.a
	$(CLANG) -fsanitize=fuzzer,$(FUZZ_SAN) $(addprefix -Wl$(comma)--wrap=,$(WRAP)) -o $@ $^ \
		-lxdp -lbpf -lelf -lmnl -lssl -lcrypto -levent_openssl -levent -ljansson -lsystemd
# The programs read packets at any alignment, and find a header of ours in the place of libbpf's.
$(FUZZ)/selftests/fuzz/fuzz_datapath.o: FUZZ_SAN += -fno-sanitize=alignment -Iselftests/fuzz/shim
$(FUZZ)/fuzz_control: WRAP := clusters_move status_json gate_drain reload_start
$(FUZZ)/fuzz_service: WRAP := connect accept4 getsockname event_add
$(FUZZ)/fuzz_keyservice: WRAP := socketpair fork kill waitpid setsockopt event_add
fuzzers: $(FUZZ_BIN)
$(FUZZ)/seeds: $(patsubst %.c,$(FUZZ)/%.o,$(wildcard selftests/fuzz/seeds*.c)) $(FUZZ)/libtested.a
	$(CLANG) -fsanitize=$(FUZZ_SAN) -fsanitize-coverage= -o $@ $^ -lmnl -lssl -lcrypto -levent_openssl -levent
fuzz-seeds: $(FUZZ)/seeds
	$(FUZZ)/seeds selftests/fuzz/corpus
fuzz: deps
	@+$(MAKE) --no-print-directory -j$(shell nproc) fuzzers
	@selftests/fuzz/run --seconds $(FUZZ_SECONDS) $(FUZZ_TARGETS)
FUZZ_SECONDS ?= 60

# As many seeds as one likes: make sim SEEDS=1000000 FROM=1
SEEDS ?= 10000
FROM  ?= 1
sim: $(SIM_BIN)
	$(SIM_BIN) --from $(FROM) --seeds $(SEEDS)
