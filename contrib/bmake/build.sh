#!/bin/bash
# build.sh VARIANT OUTPUT: builds the distribution's bmake with a filemon, and puts the program at OUTPUT.
#
#   fantrace   filemon_fantrace.c beside this script: the service of fanrec
#   dev        bmake's own filemon_dev.c, with ../include/filemon.h: /dev/filemon
#
# The source is unpatched: it is built as README.md tells people to. LDSTATIC=-static makes a static program.
set -eu

variant=$1
mkdir -p "$(dirname "$2")"
output=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
cd "$(dirname "$0")"
here=$PWD
case "$variant" in
fantrace) filemon=fantrace ;;
dev) filemon=$here/../include/filemon.h ;;
*)
	echo "$0: $variant: no such variant, only fantrace and dev" >&2
	exit 2
	;;
esac
if [ "$variant" = dev ] && [ ! -f "$filemon" ]; then
	echo "$0: $filemon is not there: bmake for /dev/filemon cannot be built" >&2
	exit 1
fi

../../tests/workload/fetch.sh bmake

# The compiler need not say much; what it says is told if it fails.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r ../../tests/workload/.cache/bmake "$work/source"
cp filemon_fantrace.c "$work/source/filemon/"
mkdir "$work/build"
cd "$work/build"
if ! { ../source/configure --with-filemon="$filemon" --with-default-sys-path=/usr/share/mk && sh ./make-bootstrap.sh; } >"$work/log" 2>&1; then
	cat "$work/log" >&2
	echo "$0: bmake with filemon $variant cannot be built; see above" >&2
	exit 1
fi
mv bmake "$output"
