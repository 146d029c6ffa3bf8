# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Tests that are functions of a script, as TAP:
#
#   tests_begin GROUP           the tests are GROUP.NAME, what they print is kept in
#                               build/check/GROUP/NAME
#   check NAME FUNCTION [ARG...]
#   tests_end                   ends the script, with status 1 if anything failed

tests_begin() {
	group=$1 log=$SRC/build/check/$1
	failed=0 number=0
	mkdir -p "$log"
	echo "TAP version 14"
}

# check NAME FUNCTION [ARG...]: what the function prints is shown if it fails.
check() {
	local verdict=ok reason='' status
	number=$((number + 1))
	rm -f "$log/skip"
	# Not `... || ...`: that would switch `set -e` off inside.
	set +e
	(set -e; "${@:2}") >"$log/$1" 2>&1 3>&1
	status=$?
	set -e
	[ $status = 0 ] || verdict='not ok' failed=1
	[ ! -e "$log/skip" ] || reason=" # SKIP $(cat "$log/skip")"
	echo "$verdict $number $group.$1$reason"
	[ "$verdict" = ok ] || sed 's/^/# /' "$log/$1" | tail -n 60
}

# skip REASON: ends the test. No exit status says so: fuzzers have one for each of
# their own.
skip() {
	echo "$1" >"$log/skip"
	exit 0
}

tests_end() {
	echo "1..$number"
	exit "$failed"
}
