#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Encapsulation = ESP: heartbeats are ESP as the traffic is; a firewall that passes only that is enough.
encapsulation=ESP
passes='meta l4proto esp'
outer='ip proto 50'
# limit: 240
. "$(dirname "$0")/encapsulation.inc"
