#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What udhcpc runs in the INS domain when it has been given an address; it says interface, ip, mask and router.
# shellcheck disable=SC2154
[ "$1" = bound ] || exit 0
ip -4 addr flush dev "$interface" scope global # another family's stay
ip addr add "$ip/$mask" dev "$interface"
[ -z "$router" ] || ip route replace default via "${router%% *}"
