#!/bin/sh
# bmake.sh [FLAGS]: what a bmake(1) that uses /dev/filemon makes of it. Every
# target's .meta file has the log to its end, and nothing is made again.
#
# With -j, and no FILEMON_FLUSH_IOCTL, another job may have had the descriptor
# between its fork and its exec: then the log is unfinished, and the target is
# made again.
set -eu
mkdir "/build${1-}"
cd "/build${1-}"
targets=
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	targets="$targets target$i"
done
cat >Makefile <<END
.MAKE.MODE = meta curdirOk=yes
all: $targets
$targets: .META
	cat /proc/self/stat >\$@
END

fail() {
	echo "$*"
	exit 1
}

# made counts the targets that bmake makes.
made() {
	bmake-dev -r "$@" all >said
	grep -c '^cat' said || true
}

[ "$(made "$@")" = 20 ] || fail "not all was made: $(cat said)"
unfinished=0
for target in $targets; do
	grep -q '^# Follow' $target.meta || fail "$target has no log: $(cat $target.meta)"
	case "$(tail -n 1 $target.meta)" in
	'# Bye bye') ;;
	R) unfinished=$((unfinished + 1)) ;;
	*) fail "$target: $(cat $target.meta)" ;;
	esac
done
echo "$unfinished of 20 logs are unfinished"
[ $# -gt 0 ] || [ $unfinished = 0 ] || fail "with one job all are finished"
[ "$(made)" = $unfinished ] || fail "not what was unfinished was made again: $(cat said)"
[ "$(made)" = 0 ] || fail "something was made again: $(cat said)"
printf R >>target7.meta
[ "$(made)" = 1 ] || fail "what is unfinished is not made again: $(cat said)"
