/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The language of the policy: fixture tables of text and what comes of it, the
 * model in words or the findings with their places; every keyword with every
 * kind of wrong value.
 */
#include "selftests/unit/policy_words.h"

static char *report_to_words(const struct policy_report *report)
{
	char *words = NULL;
	size_t size;
	FILE *out = open_memstream(&words, &size);

	for (size_t i = 0; i < report->n; i++)
		fprintf(out, "%u:%u: %c: %s\n", report->messages[i].place.line, report->messages[i].place.column,
			report->messages[i].severity == POLICY_ERROR ? 'E' : 'W', report->messages[i].text);
	fclose(out);
	return words;
}

#define NO_IDENTITY "1:1: W: [IDENTITY] lacks Certificate, PrivateKey and TrustAnchors: holdfastd does not start\n"

struct fixture {
	const char *text;
	const char *model; /* "-": errors */
	const char *findings; /* beside NO_IDENTITY, which belongs to each without errors and without [IDENTITY] */
	size_t len; /* 0: up to the NUL */
};

static void check_fixture(const struct fixture *fixture)
{
	struct policy_report report = { .messages = NULL };
	char *model =
		words_parse(fixture->text, fixture->len ? fixture->len : strlen(fixture->text), &report);
	char *findings = report_to_words(&report);
	bool no_identity = strcmp(fixture->model, "-") && !strstr(fixture->text, "[IDENTITY]");
	char expected[2048];

	snprintf(expected, sizeof(expected), "%s%s", no_identity ? NO_IDENTITY : "",
		 fixture->findings ? fixture->findings : "");
	if (strcmp(model, fixture->model) || strcmp(findings, expected))
		fail_msg("text:\n%s\nexpected:%s\n%s\ngot:%s\n%s", fixture->text, fixture->model, expected, model, findings);
	free(model);
	free(findings);
	policy_report_clear(&report);
}

#define FIG2_MODEL " <Cluster 1> 200.0.0.252 200.0.0.253 200.0.0.254 T1 10.0.0.1-10.0.0.3 <Cluster 1>"
#define UNWATCHED "Cluster 1 has several gateways, but Heartbeat is NONE, the default: a dead one is not noticed\n"
#define C1 "[CLUSTER]\nCluster1=9.9.9.9\n"
#define C1_MODEL " <Cluster 1> 9.9.9.9"

static const struct fixture good[] = {
	{ "", "" },
	{ "\n\n ; nothing\n\t# at all", "" },
	{ words_figure_2, FIG2_MODEL, "2:1: W: " UNWATCHED },
	{ "[CLUSTER]\nCluster 1 = 9.9.9.9\n[TUNNEL]\nTunnel1=9.9.9.8 Cluster 1\nTunnel2=9.9.9.7 Cluster 2\nTunnel3=9.9.9.6 Cluster 3\n"
	  "[CLUSTER]\nCluster 2 = 1.1.1.1 1.1.1.2\nCluster 3 = 1.1.1.1 1.1.1.2\n[GENERAL]\nHeartbeat = NONE",
	  C1_MODEL " <Cluster 2> 1.1.1.1 1.1.1.2 <Cluster 3> 1.1.1.1 1.1.1.2 T1 9.9.9.8-9.9.9.8 <Cluster 1>"
	  " T2 9.9.9.7-9.9.9.7 <Cluster 2> T3 9.9.9.6-9.9.9.6 <Cluster 3>" },
	/* The specification's other example, with its warning: both tunnels have the same range. */
	{ "[CLUSTER]\n\nCluster 1 = 143.1.0.64 143.1.1.157\n\n[TUNNEL]\n"
	  "Tunnel1 = 143.1.0.24 \xe2\x80\x93 143.1.0.30 Cluster 1\nTunnel2 = 143.1.0.24 \xe2\x80\x93 143.1.0.30 143.1.1.160",
	  " <Cluster 1> 143.1.0.64 143.1.1.157 <143.1.1.160> 143.1.1.160 T1 143.1.0.24-143.1.0.30 <Cluster 1>"
	  " T2 143.1.0.24-143.1.0.30 <143.1.1.160>",
	  "3:1: W: " UNWATCHED "7:1: W: Tunnel2 (143.1.0.24 - 143.1.0.30) is never used: Tunnel1 (line 6) covers it and has the lower "
	  "number\n" },
	/* Blanks, cases, dashes. */
	{ "[ cluster ]\ncLUSTER1=200.0.0.252 \t200.0.0.253  200.0.0.254;x\n\t[Tunnel]#y\n"
	  "  TUNNEL  1\t=10.0.0.1-10.0.0.3 cluster1 # z",
	  FIG2_MODEL, "2:1: W: " UNWATCHED },
	{ "[TUNNEL]\nTunnel1 = 10.0.0.1\xe2\x80\x93" "10.0.0.3 CLUSTER \t 1\n[CLUSTER]\nCluster 01 = 200.0.0.252/32 200.0.0.253 200.0.0.254",
	  FIG2_MODEL, "4:1: W: " UNWATCHED },
	{ "[TUNNEL]\nTunnel1 = 10.0.0.1 -10.0.0.3 Cluster1\n[CLUSTER]\nCluster 1 = 200.0.0.252 200.0.0.253 200.0.0.254\n",
	  FIG2_MODEL, "4:1: W: " UNWATCHED },
	/* Line ends, byte order mark, a section twice. */
	{ "\xef\xbb\xbf[TUNNEL]\r\nTunnel1 = 10.0.0.1 AUTO\r\n\r\n[GENERAL]\r\n[TUNNEL]\r\nTunnel2 = 10.0.0.2 auto\r\n",
	  " T1 10.0.0.1-10.0.0.1 <AUTO> T2 10.0.0.2-10.0.0.2 <AUTO>" },
	{ "[TUNNEL]\nTunnel1 = 10.0.0.1 AUTO\r", " T1 10.0.0.1-10.0.0.1 <AUTO>" },
	/* CIDR and IPv6. */
	{ "[TUNNEL]\nTunnel1 = 10.0.0.0/24 AUTO\nTunnel2=2001:db8::/32 AUTO\nTunnel3=::ffff:10.1.0.0/120 AUTO\n"
	  "Tunnel4=fd00::1-fd00::2 2001:db9::1\nTunnel5=10.2.0.0/32 AUTO",
	  " <2001:db9::1> 2001:db9::1 T1 10.0.0.0-10.0.0.255 <AUTO>"
	  " T2 2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff <AUTO> T3 10.1.0.0-10.1.0.255 <AUTO>"
	  " T4 fd00::1-fd00::2 <2001:db9::1> T5 10.2.0.0-10.2.0.0 <AUTO>",
	  "3:1: W: IPv6 is not carried yet: what goes to 2001:db8:: - 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff is dropped\n"
	  "5:1: W: IPv6 is not carried yet: what goes to fd00::1 - fd00::2 is dropped\n"
	  "5:25: W: IPv6 is not carried yet: gateway 2001:db9::1 cannot be used\n" },
	{ "[TUNNEL]\nTunnel1 = 10.0.0.5/24 AUTO", " T1 10.0.0.0-10.0.0.255 <AUTO>",
	  "2:11: W: `10.0.0.5/24` lies within a network; taken as 10.0.0.0/24\n" },
	/* All of IPv6 and all of IPv4 do not overlap. */
	{ "[TUNNEL]\nTunnel1=::/0 AUTO\nTunnel2=0.0.0.0/0 AUTO",
	  " T1 ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff <AUTO> T2 0.0.0.0-255.255.255.255 <AUTO>",
	  "2:1: W: IPv6 is not carried yet: what goes to :: - ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff is dropped\n" },
	/* Implicit clusters are shared, also with redirects. */
	{ "[TUNNEL]\nTunnel1=10.0.0.1 9.9.9.9\nTunnel2=10.0.0.2 9.9.9.9\nTunnel3=10.0.0.3 AUTO\n"
	  "Redirect Tunnel1 = 8.8.8.8 9.9.9.9\nredirect \t tunnel 2=8.8.8.9 cluster 1\n" C1,
	  " <9.9.9.9> 9.9.9.9" C1_MODEL " T1 10.0.0.1-10.0.0.1 <9.9.9.9> T2 10.0.0.2-10.0.0.2 <9.9.9.9>"
	  " T3 10.0.0.3-10.0.0.3 <AUTO> R1 8.8.8.8 <9.9.9.9> R2 8.8.8.9 <Cluster 1>" },
	/* A host that is its own gateway. */
	{ "[TUNNEL]\nTunnel1 = 100.0.0.1 100.0.0.1", " <100.0.0.1> 100.0.0.1 T1 100.0.0.1-100.0.0.1 <100.0.0.1>" },
	{ "[TUNNEL]\nTunnel1 = 9.9.9.9 Cluster 1\n" C1, C1_MODEL " T1 9.9.9.9-9.9.9.9 <Cluster 1>" },
	/* Every keyword that stands once. */
	{ "[GENERAL]\nHeartbeat = INSTANT\nHeartbeatResponseTime = 0.05\nHeartbeatDeferTime=.1\nHeartbeatTries=3\n", "-",
	  "4:20: E: `.1` is not a number of seconds; expected 0.01 to 86400, like 0.5\n" },
	{ "[GENERAL]\nheartbeat = instant\nHEARTBEATRESPONSETIME = 0.05\nHeartbeatDeferTime=0.1006\nHeartbeatTries=3\n"
	  "ClusterOrder=FIXED\nStandby=0\nConnect=START\nKeyRequestTimeout=1.5\nRekeyTime=1\nRekeyBytes=3G\nRekeyPackets=100\n[INTERFACE]\nKeyServicePort=1\n"
	  "Accept=no\nEncapsulation=udp",
	  " beat 2 50 101 3, order 1, standby 0, connect 1, request 1500, rekey 1000 3221225472 100; port 1, accept 0, encap 2;" },
	{ "[GENERAL]\nHeartbeat = DEFERRED\n[INTERFACE]\nEncapsulation = ESP",
	  " beat 1 1000 5000 2, order 0, standby 1, connect 0, request 3000, rekey 3600000 274877906944 1073741824; port 7546, accept 1, encap 1;" },
	{ "[INTERFACE]\nKeyServiceWorkers = 16",
	  " beat 0 1000 5000 2, order 0, standby 1, connect 0, request 3000, rekey 3600000 274877906944 1073741824; port 7546, accept 1, encap 0; workers 16" },
	{ "[INTERFACE]\nKeyServiceWorkers = 17", "-", "2:21: E: `17` is out of range; expected a number from 1 to 16\n" },
	{ "[IDENTITY]\nCertificate = my certs/node 1.pem  ; mine\nPrivateKey = \"a;b #c .pem\"#x\nTrustAnchors=ca#1;2.pem\n"
	  "RevocationList = /x=y",
	  " path0<my certs/node 1.pem> path1<a;b #c .pem> path2<ca#1;2.pem> path3</x=y>" },
	{ "[INTERFACE]\nUnderlay = eth0 wlan-0.5\nProtected = eth0\nAddress = 10.9.0.5 10.9.1.5/24 fd00::5/64",
	  " under eth0 under wlan-0.5 protect eth0 addr 10.9.0.5 addr 10.9.1.5/24 addr fd00::5/64",
	  "4:1: W: IPv6 is not carried yet: what goes to fd00::5/64 is dropped\n" },
	{ "[PEER]\nPeer1 = 10.9.0.0/24 branch\npeer 2=10.8.0.1 - 10.8.0.3 J\xc3\xb6rg M\xc3\xbcller ; him\n"
	  "Peer3 = 10.7.0.1 \"; odd\"",
	  " P1 10.9.0.0-10.9.0.255 <branch> P2 10.8.0.1-10.8.0.3 <J\xc3\xb6rg M\xc3\xbcller> P3 10.7.0.1-10.7.0.1 <; odd>" },
	/* Warnings. */
	{ "[CLUSTER]\nCluster 1 = 9.9.9.9\n  Cluster 2 = 9.9.9.8", C1_MODEL " <Cluster 2> 9.9.9.8",
	  "2:1: W: Cluster 1 is not used by any tunnel\n3:3: W: Cluster 2 is not used by any tunnel\n" },
	{ "[TUNNEL]\nTunnel1=10.0.0.0/8 AUTO\nTunnel2=10.1.0.0/16 AUTO\nTunnel3=10.0.255.0-10.1.0.3 AUTO\nTunnel4=11.0.0.0/8 AUTO",
	  " T1 10.0.0.0-10.255.255.255 <AUTO> T2 10.1.0.0-10.1.255.255 <AUTO> T3 10.0.255.0-10.1.0.3 <AUTO>"
	  " T4 11.0.0.0-11.255.255.255 <AUTO>",
	  "2:1: W: Tunnel1 (10.0.0.0 - 10.255.255.255) overlaps Tunnel3 (line 4), which is narrower and wins where both cover\n"
	  "3:1: W: Tunnel2 (10.1.0.0 - 10.1.255.255) overlaps Tunnel3 (line 4), which is narrower and wins where both cover\n" },
	{ "[TUNNEL]\nTunnel2=10.0.0.1-10.0.0.3 AUTO\nTunnel1=10.0.0.2-10.0.0.4 AUTO",
	  " T2 10.0.0.1-10.0.0.3 <AUTO> T1 10.0.0.2-10.0.0.4 <AUTO>",
	  "2:1: W: Tunnel2 (10.0.0.1 - 10.0.0.3) overlaps Tunnel1 (line 3), which has the lower number and wins where both cover\n" },
	{ "[TUNNEL]\nTunnel1=10.0.0.0/31 AUTO\nTunnel2=10.0.0.0 AUTO\nTunnel3=10.0.0.1 AUTO",
	  " T1 10.0.0.0-10.0.0.1 <AUTO> T2 10.0.0.0-10.0.0.0 <AUTO> T3 10.0.0.1-10.0.0.1 <AUTO>",
	  "2:1: W: Tunnel1 (10.0.0.0 - 10.0.0.1) is never used: narrower ones, like Tunnel2 (line 3), cover all of it\n" },
	{ "[GENERAL]\nHeartbeatTries=2\nHeartbeatDeferTime=5\n HeartbeatResponseTime=1", "",
	  "2:1: W: HeartbeatTries has no effect with Heartbeat = NONE, which is the default\n"
	  "3:1: W: HeartbeatDeferTime has no effect with Heartbeat = NONE, which is the default\n"
	  "4:2: W: HeartbeatResponseTime has no effect with Heartbeat = NONE, which is the default\n" },
	{ "[GENERAL]\nHeartbeatTries=2\nHeartbeat=NONE", "", "2:1: W: HeartbeatTries has no effect with Heartbeat = NONE\n" },
	{ "[TUNNEL]\nRedirect Tunnel1 = 8.8.8.8 9.9.9.9", " <9.9.9.9> 9.9.9.9 R1 8.8.8.8 <9.9.9.9>",
	  "2:1: W: Redirect Tunnel1 has no effect: no tunnel has the target AUTO\n" },
	{ "[IDENTITY]\nPrivateKey=k", " path1<k>",
	  "2:1: W: [IDENTITY] lacks Certificate: holdfastd does not start\n"
	  "2:1: W: [IDENTITY] lacks TrustAnchors: holdfastd does not start\n" },
};

#define GATEWAY "expected a gateway's address, like 200.0.0.254\n"
#define SECTIONS "[GENERAL], [IDENTITY], [INTERFACE], [CLUSTER], [TUNNEL] or [PEER]\n"

static const struct fixture bad[] = {
	/* Sections. */
	{ "Tunnel1 = 10.0.0.1 AUTO\nfoo\n[TUNNEL]", "-", "1:1: E: `Tunnel1` stands before any section; expected [TUNNEL] above it\n" },
	{ "\xef\xbb\xbf  foo = 1", "-", "1:3: E: `foo` stands before any section; expected " SECTIONS },
	{ "[GENERAL]\n[TUNEL]\nanything = 1\n[CLUSTER]\nx=1", "-",
	  "2:2: E: unknown section `TUNEL`; did you mean [TUNNEL]?\n5:1: E: unknown keyword `x` in [CLUSTER]; expected Cluster<n>\n" },
	{ "[completely else]", "-", "1:2: E: unknown section `completely else`; expected " SECTIONS },
	{ "[]", "-", "1:2: E: expected the section's name: " SECTIONS },
	{ "[GENERAL\nStandby=x", "-",
	  "1:9: E: expected ] after the section's name\n2:9: E: `x` is not a whole number; expected one from 0 to 63\n" },
	{ "[GENERAL] Standby=1", "-", "1:11: E: expected the end of the line after [GENERAL]\n" },
	/* Keywords. */
	{ "[GENERAL]\n Hearbeat = NONE", "-", "2:2: E: unknown keyword `Hearbeat` in [GENERAL]; did you mean Heartbeat?\n" },
	{ "[TUNNEL]\nTunel 1 = x", "-", "2:1: E: unknown keyword `Tunel 1` in [TUNNEL]; did you mean Tunnel?\n" },
	{ "[TUNNEL]\nRedirectTunnel1 = x", "-", "2:1: E: unknown keyword `RedirectTunnel1` in [TUNNEL]; did you mean Redirect Tunnel?\n" },
	{ "[TUNNEL]\nCluster 1 = 1.1.1.1", "-", "2:1: E: `Cluster 1` belongs in [CLUSTER], and this is [TUNNEL]\n" },
	{ "[PEER]\nGuest1 = 1.1.1.1", "-", "2:1: E: unknown keyword `Guest1` in [PEER]; expected Peer<n>\n" },
	{ "[TUNNEL]\n = 1", "-", "2:2: E: expected a keyword before the =\n" },
	{ "[TUNNEL]\nTunnel1 10.0.0.1 AUTO", "-", "2:9: E: expected = after Tunnel and its number\n" },
	{ "[GENERAL]\nStandby", "-", "2:8: E: expected = after Standby\n" },
	{ "[GENERAL]\nStandby 1 = 1", "-", "2:9: E: expected = after Standby\n" },
	{ "[GENERAL]\nStandby = 1 2", "-", "2:13: E: expected the end of the line after the value of Standby, not `2`\n" },
	{ "[GENERAL]\nStandby = 1 = 2", "-", "2:13: E: expected the end of the line after the value of Standby, not `= 2`\n" },
	{ "[GENERAL]\nStandby==1", "-", "2:9: E: expected a number from 0 to 63\n" },
	/* Numbers. */
	{ "[CLUSTER]\nCluster = 1.1.1.1", "-", "2:9: E: expected a number after `Cluster`, like Cluster 1\n" },
	{ "[CLUSTER]\nCluster 0 = 1.1.1.1", "-", "2:9: E: `0` cannot number a Cluster; expected 1 to 4294967295\n" },
	{ "[CLUSTER]\nCluster4294967296 = 1.1.1.1", "-",
	  "2:8: E: `4294967296` cannot number a Cluster; expected 1 to 4294967295\n" },
	{ "[CLUSTER]\nCluster 1a = 1.1.1.1", "-", "2:9: E: `1a` cannot number a Cluster; expected 1 to 4294967295\n" },
	{ "[CLUSTER]\nCluster 1 = 1.1.1.1\n\nCluster01 = 1.1.1.2", "-", "4:1: E: Cluster 1 is already defined in line 2\n" },
	{ "[TUNNEL]\nTunnel1=10.0.0.1 AUTO\n Tunnel 1 = 10.0.0.2 AUTO\nRedirect Tunnel1=1.1.1.1 1.1.1.2\n"
	  "Redirect Tunnel1=1.1.1.3 1.1.1.2",
	  "-", "3:2: E: Tunnel1 is already defined in line 2\n5:1: E: Redirect Tunnel1 is already defined in line 4\n" },
	{ "[PEER]\nPeer1=10.0.0.1 a\nPeer1=10.0.0.2 b", "-", "3:1: E: Peer1 is already defined in line 2\n" },
	/* Clusters. */
	{ "[CLUSTER]\nCluster 1 =", "-", "2:12: E: expected a gateway's address, like 200.0.0.254\n" },
	{ "[CLUSTER]\nCluster 1 = x 1.1.1.1 y", "-",
	  "2:13: E: `x` is not an IPv4 or IPv6 address; " GATEWAY "2:23: E: `y` is not an IPv4 or IPv6 address; " GATEWAY },
	{ "[CLUSTER]\nCluster 1 = 1.1.1.1, 1.1.1.2", "-", "2:13: E: `1.1.1.1,` is not an IPv4 or IPv6 address; " GATEWAY },
	{ "[CLUSTER]\nCluster 1 = 1.1.1.1 - 1.1.1.2", "-",
	  "2:22: E: a cluster is a list of gateways separated by blanks; it cannot have a range\n" },
	{ "[CLUSTER]\nCluster 1 = 1.1.1.1 1.1.1.2 ::ffff:1.1.1.1", "-", "2:29: E: gateway 1.1.1.1 is in this cluster twice\n" },
	{ "[CLUSTER]\nCluster 1 = 1.1.1.0/24", "-", "2:13: E: `1.1.1.0/24` is a network; " GATEWAY },
	{ "[CLUSTER]\nCluster 1 = 0.0.0.0 :: 224.0.0.1 ff02::1 255.255.255.255 fe80::1", "-",
	  "2:13: E: 0.0.0.0 is the unspecified address; " GATEWAY "2:21: E: :: is the unspecified address; " GATEWAY
	  "2:24: E: 224.0.0.1 is a multicast address; " GATEWAY "2:34: E: ff02::1 is a multicast address; " GATEWAY
	  "2:42: E: 255.255.255.255 is the broadcast address; " GATEWAY
	  "2:58: E: fe80::1 is a link-local address, which needs a zone; " GATEWAY },
	{ "[CLUSTER]\nCluster 1 = fe80::1%eth0", "-", "2:13: E: `fe80::1%eth0` has a zone, which a policy cannot have; " GATEWAY },
	/* Tunnels. */
	{ "[TUNNEL]\nTunnel1 =", "-", "2:10: E: expected an address or a range, like 10.0.0.1 - 10.0.0.3\n" },
	{ "[TUNNEL]\nTunnel1 = 10.0.0.1", "-",
	  "2:19: E: expected where the tunnel leads: a gateway's address, Cluster <n> or AUTO\n" },
	{ "[TUNNEL]\nTunnel1 = Cluster 1", "-",
	  "2:11: E: `Cluster` is not an IPv4 or IPv6 address; expected an address or a range, like 10.0.0.1 - 10.0.0.3\n" },
	{ "[TUNNEL]\nTunnel1 = 10.0.0.3 - 10.0.0.1 AUTO", "-",
	  "2:22: E: the range ends (10.0.0.1) before it starts (10.0.0.3)\n" },
	{ "[TUNNEL]\nTunnel1 = 10.0.0.3 - AUTO", "-",
	  "2:22: E: `AUTO` is not an IPv4 or IPv6 address; expected the last address of the range after the dash\n" },
	{ "[TUNNEL]\nTunnel1 = 10.0.0.3 -", "-", "2:21: E: expected the last address of the range after the dash\n" },
	{ "[TUNNEL]\nTunnel1 = 10.0.0.3 - fd00::1 AUTO", "-", "2:22: E: a range cannot go from IPv4 to IPv6\n" },
	{ "[TUNNEL]\nTunnel1 = ::1 \xe2\x80\x93 10.0.0.3 AUTO", "-", "2:19: E: a range cannot go from IPv6 to IPv4\n" },
	{ "[TUNNEL]\nTunnel1 = 10.0.0.0/24 - 10.0.1.0 AUTO", "-",
	  "2:11: E: a range is written either as first - last or as address/length, not both\n" },
	{ "[TUNNEL]\nTunnel1 = 10.0.0.0/33 AUTO", "-",
	  "2:11: E: `10.0.0.0/33`: expected a prefix length from 0 to 32 after the slash\n" },
	{ "[TUNNEL]\nTunnel1 = fd00::/129 AUTO\nTunnel2 = fd00::/ AUTO\nTunnel3=fd00::/-1 AUTO", "-",
	  "2:11: E: `fd00::/129`: expected a prefix length from 0 to 128 after the slash\n"
	  "3:11: E: `fd00::/`: expected a prefix length from 0 to 128 after the slash\n"
	  "4:9: E: `fd00::/`: expected a prefix length from 0 to 128 after the slash\n" },
	{ "[TUNNEL]\nTunnel1 = 10.0.0.1 Cluster 7\nTunnel2 = 10.0.0.2 Cluster", "-",
	  "2:20: E: Cluster 7 is not defined; expected a statement Cluster 7 = ... in [CLUSTER]\n"
	  "3:27: E: expected a number after `Cluster`, like Cluster 1\n" },
	{ "[TUNNEL]\nTunnel1 = 10.0.0.1 9.9.9.9 9.9.9.8", "-",
	  "2:28: E: expected the end of the line after the value of Tunnel, not `9.9.9.8`\n" },
	{ "[TUNNEL]\nTunnel1 = 10.0.0.1 AUTOMATIC", "-", "2:20: E: `AUTOMATIC` is not an IPv4 or IPv6 address; " GATEWAY },
	{ "[TUNNEL]\nTunnel1 = 10.0.0.0/24 10.0.0.1\nTunnel2 = 9.9.9.0-9.9.9.9 Cluster 1\n" C1, "-",
	  "2:23: E: gateway 10.0.0.1 lies within the range of its own tunnel, 10.0.0.0 - 10.0.0.255: it could not be reached\n"
	  "3:27: E: gateway 9.9.9.9 lies within the range of its own tunnel, 9.9.9.0 - 9.9.9.9: it could not be reached\n" },
	{ "[TUNNEL]\nTunnel1 = 9.9.9.9 Cluster 1\n[CLUSTER]\nCluster 1=9.9.9.9 9.9.9.8", "-",
	  "2:19: E: gateway 9.9.9.9 lies within the range of its own tunnel, 9.9.9.9: it could not be reached\n" },
	/* A cluster that has a fault of its own is not called missing as well. */
	{ "[TUNNEL]\nTunnel1 = 10.0.0.1 Cluster 1\n[CLUSTER]\nCluster 1 = x", "-",
	  "4:13: E: `x` is not an IPv4 or IPv6 address; " GATEWAY },
	/* Redirects. */
	{ "[TUNNEL]\nRedirect Tunnel1 = 1.1.1.1 AUTO\nRedirect Tunnel2 = 1.1.1.1\nRedirect Tunnel3 = 1.1.1.0/24 2.2.2.2", "-",
	  "2:28: E: `AUTO` is not an IPv4 or IPv6 address; " GATEWAY
	  "3:27: E: expected where the server is redirected to: a gateway's address or Cluster <n>\n"
	  "4:20: E: `1.1.1.0/24` is a network; expected the address of a server that AUTO detects\n" },
	{ "[TUNNEL]\nTunnel1=10.0.0.1 AUTO\nRedirect Tunnel1=1.1.1.1 2.2.2.2\nRedirect Tunnel2=1.1.1.1 Cluster 5", "-",
	  "4:1: E: server 1.1.1.1 is already redirected in line 3\n"
	  "4:26: E: Cluster 5 is not defined; expected a statement Cluster 5 = ... in [CLUSTER]\n" },
	/* Peers, interfaces, files. */
	{ "[PEER]\nPeer1 = 10.0.0.1", "-", "2:17: E: expected the name in the peer's certificate (its common name)\n" },
	{ "[PEER]\nPeer1 = 10.0.0.1 "
	  "0123456789012345678901234567890123456789012345678901234567890123",
	  "-", "2:18: E: the certificate's name is too long: 64 bytes, at most 63\n" },
	{ "[PEER]\nPeer1 = 10.0.0.1 J\xf6rg", "-", "2:18: E: the certificate's name `J\\xf6rg` is not UTF-8\n" },
	{ "[PEER]\nPeer1 = 10.0.0.1 \"a\" b", "-", "2:22: E: expected the end of the line after the value of Peer, not `b`\n" },
	{ "[INTERFACE]\nUnderlay = eth0 eth0\nProtected = 0123456789abcdef", "-",
	  "2:17: E: interface eth0 is named twice\n"
	  "3:13: E: `0123456789abcdef` is too long for an interface's name (at most 15 bytes)\n" },
	{ "[INTERFACE]\nUnderlay = eth0,eth1\nProtected = a/b", "-",
	  "2:12: E: `eth0,eth1` has a comma; interfaces are separated by blanks\n3:13: E: `a/b` cannot be an interface's name\n" },
	{ "[INTERFACE]\nAddress = 10.0.0.1 10.0.0.1/24", "-", "2:20: E: address 10.0.0.1 is named twice\n" },
	{ "[INTERFACE]\nAddress = 0.0.0.0", "-", "2:11: E: `0.0.0.0` is no host's address\n" },
	{ "[IDENTITY]\nCertificate = \"a b\nPrivateKey = \"\"", "-",
	  "2:1: W: [IDENTITY] lacks TrustAnchors: holdfastd does not start\n"
	  "2:15: E: the quote that opens here is not closed on this line\n3:14: E: expected the path of a PEM file\n" },
	/* Bytes. */
	{ "[TUNNEL]\nTunnel1 = 10.0.0.1\0 AUTO\nTunnel2 = x", "-",
	  "2:19: E: a NUL byte (0x00) in the policy\n"
	  "3:11: E: `x` is not an IPv4 or IPv6 address; expected an address or a range, like 10.0.0.1 - 10.0.0.3\n",
	  9 + 24 + 1 + 11 },
	{ "; a comment with\0 it", "-", "1:17: E: a NUL byte (0x00) in the policy\n", 20 },
	{ "[GENERAL]\r\nStandby = 1\r\r\n", "-", "2:12: E: a control character (0x0d) in the policy\n" },
	{ "[GENERAL]\nStandby = 1\x1b[31m", "-", "2:12: E: a control character (0x1b) in the policy\n" },
	{ "\xff\xfe[\0T\0", "-", "1:1: E: the file is UTF-16; expected UTF-8 or ASCII\n", 6 },
	{ "[GENERAL]\nStandby = \xc2\x9b\xff\xe2\x82\xac", "-",
	  "2:11: E: `\\xc2\\x9b\\xff\xe2\x82\xac` is not a whole number; expected one from 0 to 63\n" },
};

static void test_good(void **state)
{
	for (size_t i = 0; i < COUNT(good); i++)
		check_fixture(&good[i]);
}

static void test_bad(void **state)
{
	for (size_t i = 0; i < COUNT(bad); i++)
		check_fixture(&bad[i]);
}

/* Every keyword that stands once: values it takes, and values it does not. */
static const struct {
	const char *section;
	const char *keyword;
	const char *good[8];
	const char *bad[12];
} keywords[] = {
	{ "GENERAL", "Heartbeat", { "NONE", "deferred", "Instant" }, { "YES", "0", "NONEX", "NON" } },
	{ "GENERAL", "HeartbeatResponseTime", { "0.01", "3600", "3600.000", "1.0000000000000000000000001", "007" },
	  { "0", "0.009", "3600.001", "-1", "1s", "1,5", "1.", ".", "1e3", "nan", "18446744073709551617", "0x1" } },
	{ "GENERAL", "HeartbeatDeferTime", { "0.01", "86400", "0.1" }, { "0", "0.0094", "86400.001", "-1", "five", "1.2.3" } },
	{ "GENERAL", "HeartbeatTries", { "1", "100", "02" }, { "0", "101", "1.5", "-2", "two", "4294967297" } },
	{ "GENERAL", "ClusterOrder", { "RANDOM", "fixed" }, { "ROUND", "1" } },
	{ "GENERAL", "Standby", { "0", "63" }, { "64", "-1", "all", "99999999999999999999999" } },
	{ "GENERAL", "Connect", { "TRAFFIC", "start" }, { "ALWAYS", "START,TRAFFIC" } },
	{ "GENERAL", "RekeyTime", { "1", "86400", "0.9999" }, { "0.9", "86401", "1h", "0" } },
	{ "GENERAL", "RekeyBytes", { "64K", "65536", "16T", "256g", "17592186044416" },
	  { "65535", "63K", "17T", "K", "1.5G", "1GB", "16777216T", "99999999999999999999999", "18446744073709551616", "-1" } },
	{ "GENERAL", "RekeyPackets", { "100", "1T", "5k" }, { "99", "0", "2T", "x", "0K", "18014398509481985K" } },
	{ "GENERAL", "KeyRequestTimeout", { "0.05", "600", "3" }, { "0.049", "600.001", "x" } },
	{ "INTERFACE", "KeyServicePort", { "1", "65535" }, { "0", "65536", "-1", "https" } },
	{ "INTERFACE", "Accept", { "YES", "no" }, { "TRUE", "1", "Y" } },
	{ "INTERFACE", "Encapsulation", { "AUTO", "esp", "Udp" }, { "NONE", "TCP" } },
	{ "INTERFACE", "Underlay", { "eth0", "0123456789abcde", "a-b_c.d@e" }, { "0123456789abcdef", "a/b", ".", "..", "a:b" } },
	{ "INTERFACE", "Protected", { "eth0" }, { "0123456789abcdef", "a/b" } },
	{ "INTERFACE", "Address", { "10.0.0.1", "10.0.0.1/24", "fd00::1/64" }, { "10.0.0", "10.0.0.1/33", "::", "fe80::1%x" } },
	{ "IDENTITY", "Certificate", { "c", "\"c\"" }, { "\"c", "\"\"" } },
	{ "IDENTITY", "PrivateKey", { "c" }, { "\"c" } },
	{ "IDENTITY", "TrustAnchors", { "c" }, { "\"c" } },
	{ "IDENTITY", "RevocationList", { "c" }, { "\"c" } },
};

/* Parses "[section]\nkeyword = value(tail)": errors expected, and where the first stands (0:0: none). */
static void check_value(const char *section, const char *keyword, const char *value, const char *tail, size_t errors,
			struct policy_place place)
{
	struct policy_report report = { .messages = NULL };
	char text[256];
	char *model;
	size_t k = 0;

	snprintf(text, sizeof(text), "[%s]\n%s = %s%s", section, keyword, value, tail);
	model = words_parse(text, strlen(text), &report);
	if (report.errors != errors)
		fail_msg("%s\nexpected %zu errors, got %zu", text, errors, report.errors);
	while (errors && report.messages[k].severity != POLICY_ERROR)
		k++;
	if (errors && (report.messages[k].place.line != place.line || report.messages[k].place.column != place.column))
		fail_msg("%s\nexpected %u:%u, got %u:%u: %s", text, place.line, place.column,
			 report.messages[k].place.line, report.messages[k].place.column, report.messages[k].text);
	free(model);
	policy_report_clear(&report);
}

/* Lists would find the same value doubled within them, too. */
static const char *other_value(const char *keyword, const char *value)
{
	if (!strcmp(keyword, "Address"))
		return "10.0.0.99";
	return strcmp(keyword, "Underlay") && strcmp(keyword, "Protected") ? value : "eth9";
}

static void test_every_keyword(void **state)
{
	for (size_t i = 0; i < COUNT(keywords); i++) {
		const char *section = keywords[i].section;
		const char *keyword = keywords[i].keyword;
		unsigned int column = (unsigned int)strlen(keyword) + 4; /* of the value */
		char doubled[128];

		check_value(section, keyword, "", "", 1, (struct policy_place){ 2, column });
		check_value(section, keyword, "", "; comment", 1, (struct policy_place){ 2, column });
		for (size_t k = 0; k < COUNT(keywords[i].good) && keywords[i].good[k]; k++) {
			check_value(section, keyword, keywords[i].good[k], "", 0, (struct policy_place){ 0, 0 });
			check_value(section, keyword, keywords[i].good[k], " ; comment\r\n", 0, (struct policy_place){ 0, 0 });
		}
		for (size_t k = 0; k < COUNT(keywords[i].bad) && keywords[i].bad[k]; k++)
			check_value(section, keyword, keywords[i].bad[k], "", 1, (struct policy_place){ 2, column });
		snprintf(doubled, sizeof(doubled), "\n%s = %s", keyword, other_value(keyword, keywords[i].good[0]));
		check_value(section, keyword, keywords[i].good[0], doubled, 1, (struct policy_place){ 3, 1 });
	}
}

/* Every text cut at every byte: no crash, and what is reported lies within the text. */
static void test_cut_everywhere(void **state)
{
	for (size_t i = 0; i < COUNT(good) + COUNT(bad); i++) {
		const struct fixture *fixture = i < COUNT(good) ? &good[i] : &bad[i - COUNT(good)];
		size_t whole = fixture->len ? fixture->len : strlen(fixture->text);

		for (size_t len = 0; len < whole; len++) {
			struct policy_report report = { .messages = NULL };

			free(words_parse(fixture->text, len, &report));
			for (size_t k = 0; k < report.n; k++) {
				assert_true(report.messages[k].place.line >= 1 && report.messages[k].place.column >= 1);
				assert_true(report.messages[k].place.column <= len + 1);
				assert_null(strchr(report.messages[k].text, '\n'));
			}
			policy_report_clear(&report);
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_every_keyword),
		cmocka_unit_test(test_cut_everywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
