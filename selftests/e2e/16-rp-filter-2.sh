#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Inner address equal to the outer one, rp_filter 2.
filter=2
. "$(dirname "$0")/rp-filter.inc"
