# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Common ground of the scripts in tools/: where the cache is, how progress and
# failures are told, how a cached thing is built once and only once.
#
# Everything costly lives outside the repository, in $RVDPA_CACHE, else
# ~/.cache/rust-vdpa. A cached thing is a folder named after what it is and a
# hash of what went into it. It is built under a temporary name and renamed when
# complete, so an interrupted build leaves nothing that looks finished; a lock
# makes a second run wait for the first instead of building the same again.

set -euo pipefail
shopt -s inherit_errexit

SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
CACHE=${RVDPA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rust-vdpa}
case $CACHE in /*) ;; *) CACHE=$PWD/$CACHE ;; esac

# The kernel series this code supports, in order of preference. Within one, the
# newest patch release that the archive carries is taken.
KERNEL_SERIES=(7.3)
# The compiler that built Debian's kernel. Rust has no stable ABI: another
# version cannot read the kernel crate's metadata.
RUSTC_VERSION=1.85.1

# The kernel for which modules are built and which VMs boot: stock, or debug
# (tools/debug-kernel).
: "${KERNEL:=stock}"

# Progress goes to the terminal, also from steps whose output goes to a log.
exec 3>&2
if [ -t 3 ]; then bold=$'\033[1m' plain=$'\033[0m'; else bold='' plain=''; fi

say() { printf '%s==>%s %s\n' "$bold" "$plain" "$*" >&3; }
note() { printf '    %s\n' "$*" >&3; }

# die MESSAGE [LINE...]: ends with status 3, which `cached` takes as "explained".
die() {
	printf '\n%sCannot go on:%s %s\n' "$bold" "$plain" "$1" >&3
	shift
	[ $# = 0 ] || printf '  %s\n' "$@" >&3
	exit 3
}

case $KERNEL in
stock | debug) export KERNEL ;;
*) die "KERNEL=$KERNEL: stock or debug" ;;
esac

# use_tree TREE: sets `llvm`, what make has to be told for that kernel's modules:
# clang makes them if it made the kernel.
use_tree() {
	llvm=()
	! grep -qx CONFIG_CC_IS_CLANG=y "$1/.config" || llvm=(LLVM=1)
}

# use_kernel: makes the kernel's tree if need be and sets `tree`, `llvm`, `kver`,
# `built` (where results go) and, as paths in the Debian root, `kmodules`
# (the kernel's own modules) and `vmlinuz`.
use_kernel() {
	tree=$("$SRC/tools/kernel")
	use_tree "$tree"
	kver=$(cat "$tree/include/config/kernel.release")
	built=$SRC/build/$KERNEL
	kmodules=/usr/lib/modules/$kver
	[ "$KERNEL" = stock ] || kmodules=$tree/installed/lib/modules/$kver
	# shellcheck disable=SC2034
	vmlinuz=$kmodules/vmlinuz
}

# The parts of a stack, each of which can be C or Rust. A stack is called after
# those that are Rust, joined by '+'; `c` has none of them, `rust` all that we have
# and the other modules of ours.
stack_parts=(vdpa sim vhost_vdpa virtio_vdpa)

# The modules of a part: they are exchanged together, the first of them decides.
modules_of() {
	case $1 in
	sim) echo vdpa_sim vdpa_sim_net vdpa_sim_blk ;;
	*) echo "$1" ;;
	esac
}

# rust_parts STACK: those parts of it that are Rust, as far as they were built.
rust_parts() {
	local wanted=${1//+/ } part first
	case $1 in
	c) return ;;
	rust) wanted=${stack_parts[*]} ;;
	esac
	for part in $wanted; do
		case " ${stack_parts[*]} " in
		*" $part "*) ;;
		*) die "the stack $1: there is no part '$part'." \
			"A stack is c, rust, or some of these, joined by '+': ${stack_parts[*]}" ;;
		esac
		first=$(modules_of "$part")
		if [ -e "$built/modules/${first%% *}.ko" ]; then
			echo "$part"
		elif [ "$1" != rust ]; then
			die "the stack $1: we have no $part in Rust."
		fi
	done
}

# report_on FOLDER STAGE PROGRAM...: what came of test programs in a VM, which left
# their output and its console there (see tests/report).
report_on() {
	"$SRC/tools/in-root" env RVDPA_DIFFERENCES="$SRC/tests/differences" \
		RVDPA_RUST_MODULES="$2/usr/lib/rvdpa/rust-modules" \
		"$SRC/build/tests/release/vdpa-test-report" "$1" "${@:3}"
}

need_root() {
	[ "$(id -u)" = 0 ] || die "root rights are needed: the tools make a Debian root and mount in it." \
		"Try the same command with sudo. The cache is then in root's home;" \
		"RVDPA_CACHE=FOLDER puts it where you say."
}

# need_space GIB WHAT
need_space() {
	local have
	mkdir -p "$CACHE" 2>/dev/null || die "cannot create the cache folder $CACHE." \
		"RVDPA_CACHE=FOLDER names another one."
	have=$(df --output=avail -BG "$CACHE" | tail -n 1 | tr -dc 0-9)
	[ "$have" -ge "$1" ] || die "$2 needs $1 GiB of free space in $CACHE; there are $have GiB." \
		"Free some, or name a folder on another file system: RVDPA_CACHE=FOLDER." \
		"'make clean-cache' removes everything that this project cached."
}

# hash_of FILE|=STRING...: a short hash over contents of files and strings.
hash_of() {
	local x
	for x; do
		case $x in
		=*) printf '%s\n' "${x#=}" ;;
		*) sha256sum <"$x" ;;
		esac
	done | sha256sum | cut -c1-12
}

# cached NAME FUNCTION: prints the folder $CACHE/NAME. If it is not there,
# FUNCTION fills a temporary one, which is then renamed. Output of FUNCTION
# goes to $CACHE/log/NAME.log.
cached() {
	local dir=$CACHE/$1 log=$CACHE/log/$1.log tmp=$CACHE/$1.tmp start status
	if [ ! -d "$dir" ]; then
		mkdir -p "$CACHE/log"
		exec 9>"$CACHE/$1.lock"
		flock -n 9 || { say "Another run is making $1: waiting for it"; flock 9; }
		if [ ! -d "$dir" ]; then
			rm -rf --one-file-system "$tmp"
			mkdir "$tmp"
			start=$SECONDS
			set +e
			(set -e; "$2" "$tmp") >"$log" 2>&1 9>&-
			status=$?
			set -e
			case $status in
			0) mv "$tmp" "$dir" ;;
			3)
				rm -rf --one-file-system "$tmp"
				exit 3
				;;
			*)
				rm -rf --one-file-system "$tmp"
				tail -n 20 "$log" | sed 's/^/    | /' >&3
				die "making $1 failed (the last lines are above)." "The whole log: $log"
				;;
			esac
			note "made in $((SECONDS - start)) s"
		fi
		exec 9>&-
	fi
	printf '%s\n' "$dir"
}
