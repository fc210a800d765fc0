#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Power-off of the gateway in use, without standby: the next one is authenticated first.
standby=0
. "$(dirname "$0")/power-off.inc"
