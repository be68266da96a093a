#!/bin/sh
# loop.sh [FLAGS]: a bmake(1) that uses /dev/filemon makes again what read a file
# that is newer, and nothing else.
set -eu
mkdir "/loop${1-}"
cd "/loop${1-}"
mkdir sub
for h in h1 h2 h3; do
	echo $h >$h
	touch -d 2020-01-01 $h
done
cat >Makefile <<'END'
.MAKE.MODE = meta curdirOk=yes missing-filemon=yes
all: a b c d sub/e
a: .META
	cat h1 >$@
b: .META
	cat h1 h2 >$@
c: .META
	cat h2 >tmp && mv tmp $@
d: .META
	cd sub && cat ../h3 >../$@
sub/e: .META
	/bin/sh -c 'cat h3 >$@; cat Makefile >/dev/null'
END
touch -d 2020-01-01 Makefile

fail() {
	echo "$*"
	exit 1
}

# made tells the targets that bmake makes.
made() {
	before=$(cat a b c d sub/e 2>/dev/null || true)
	touch -c -d 2021-01-01 a b c d sub/e 2>/dev/null || true
	bmake-dev -r "$@" all >said 2>&1 || fail "bmake: $(cat said)"
	out=
	for t in a b c d sub/e; do
		[ $t -nt then ] && out="$out $t"
	done
	echo "made:$out"
}
touch -d 2021-06-01 then

[ "$(made "$@")" = "made: a b c d sub/e" ] || fail "not all was made: $(cat said)"
# Of jobs at once a log may be read before its end: such a target is made once more.
for again in 1 2 3 4 5; do
	last=$(made "$@")
	[ "$last" = "made:" ] && break
	[ $# -gt 0 ] || fail "made again: $last"
done
[ "$last" = "made:" ] || fail "there is no end: $last"
touched() {
	file=$1 want=$2
	shift 2
	touch -d 2022-01-01 $file
	got=$(made "$@")
	touch -d 2020-01-01 $file
	[ "$got" = "made:$want" ] || fail "$file is newer, and$got; want$want: $(cat said)"
}
# One job at a time, so that each log is whole.
touched h1 " a b"
touched h2 " b c"
touched h3 " d sub/e"
touched Makefile " sub/e"
[ "$(made)" = "made:" ] || fail "something was made again: $(cat said)"
for t in a b c d sub_e; do
	f=$(ls *$t.meta sub/*.meta 2>/dev/null | grep "${t#sub_}.meta" | head -n 1)
	grep -q '^# Bye bye$' "$f" || fail "$t has no whole log: $(cat $f)"
done
rm b
[ "$(made)" = "made: b" ] || fail "what is gone is not made: $(cat said)"
