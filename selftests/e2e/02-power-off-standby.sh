#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Power-off of the gateway in use, with another standing by.
standby=1
. "$(dirname "$0")/power-off.inc"
