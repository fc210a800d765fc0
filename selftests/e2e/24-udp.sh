#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Encapsulation = UDP: heartbeats go as the traffic does, from port 4500 to port 4500; a firewall that passes only that is enough.
encapsulation=UDP
passes='udp sport 4500 udp dport 4500'
outer='udp src port 4500 and udp dst port 4500'
# limit: 240
. "$(dirname "$0")/encapsulation.inc"
