package programs

import "fanrec/tests/workload"

// All is the table, from the shell over builds and packages to single system calls.
var All = []Program{
	{
		Name: "shell", About: "dash and bash: pipelines, here-documents, process substitution, redirections, traps, background jobs",
		Packages: []string{"bash"}, Fast: true, Same: true,
		Prepare: `seq 200 >numbers`,
		Run: `
		for i in 1 2 3; do
			sort -r numbers | head -n 5 | tee "top $i" | wc -l >>count
			cat <<-EOF >"here $i"
				document $i of $(wc -l <numbers)
			EOF
			(cd / && exec 3<"$OLDPWD/numbers" && read -r line <&3 && echo "$line") >sub
			{ echo out; echo err >&2; } >both 2>&1
			: >empty; >>empty; exec 4<>rw; echo x >&4; exec 4>&-
			[ -f empty ] && rm empty
		done
		sleep 0.05 & echo waiting >wait; wait
		trap 'echo trapped >trap' USR1; kill -USR1 $$
		sh -c 'kill -9 $$'; sh -c 'exit 7'; set -C; echo no >trap
		bash -c '
			diff <(sort numbers) <(sort -n numbers) >difference
			tee >(wc -c >characters) <numbers >/dev/null; wait $!
			cat <<<"a string" >string; mapfile -t a <numbers; echo ${#a[@]} &>>log
			coproc cat; echo hi >&${COPROC[1]}; read -r back <&${COPROC[0]}; kill $COPROC_PID; wait
			for f in *; do [[ -d $f ]] || cp -- "$f" ".$f"; done; rm .??*' 2>/dev/null
		true`,
	},
	{
		Name: "coreutils", About: "cp, mv, ln, install, mktemp, mkfifo, mknod, split, dd, shred, truncate, chmod, rmdir", Fast: true, Same: true,
		Prepare: `mkdir tree; for i in 1 2 3 4 5; do mkdir "tree/d $i"; for j in 1 2 3; do seq 50 >"tree/d $i/f$j"; done; done; ln -s ../tree tree/loop`,
		Run: `
		cp -a tree copy; cp -al tree links; cp --reflink=auto tree/d\ 1/f1 one; cp -rL tree/d\ 1 followed; cp --remove-destination one links/d\ 1/f1
		mv copy moved; mv -T moved tree/in; mv tree/in/d\ 1/* .; mv -b f1 f2; mv --exchange f2 f3; mv -n f2 f3
		ln f3 hard; ln -f f3 f2; ln -s f3 soft; ln -sfn / soft; ln -sr tree/d\ 2/f1 rel; cat rel >/dev/null
		install -D -m 755 f3 a/b/c/f3; install -d x/y/z; mkdir -p m/n/o; rmdir -p m/n/o
		f=$(mktemp); d=$(mktemp -d); mv "$f" "$d"; mkfifo fifo; mknod null c 1 3; echo x >null; (cat fifo & echo y >fifo; wait)
		split -l 10 f3 part.; cat part.* >whole; csplit -s f3 10 20; dd if=f3 of=dd bs=7 conv=notrunc 2>&1; truncate -s 100 dd
		shred -u dd; chmod -R go-w tree; touch -d yesterday f3 new; unlink new; link f3 linked; sort -o f3 f3; tac f3 | tee -a f3 >/dev/null
		rm -rf tree links x; rm part.* null fifo; ls -lR . >list; du -s . >/dev/null; stat . >/dev/null; readlink -f soft; sync f3`,
	},
	{
		Name: "find", About: "find -exec, -execdir, -delete, -fprint; xargs -P4; grep -r", Packages: []string{"findutils"}, Fast: true, Same: true,
		Prepare: `for i in $(seq 20); do mkdir -p "d$i/e"; for j in 1 2 3; do echo "$i $j" >"d$i/e/f $j"; done; done`,
		Run: `
		find . -type f -name 'f 1' -exec cat {} \; >ones; find . -type f -exec cat {} + >all; find d1 d2 -execdir mv {} moved \; 2>/dev/null
		find . -name 'f 2' -fprint list -delete; find . -name 'f 3' -print0 | xargs -0 -P4 -n3 sh -c 'for f; do cp "$f" "$f.copy"; done' _
		grep -r 1 . >found; grep -rlZ 9 d* | xargs -0 sed -i s/9/nine/; find . -depth -type d -empty -exec rmdir {} \;`,
	},
	{
		Name: "editors", About: "ed, sed -i, perl -i, patch, awk with output files", Packages: []string{"ed", "perl", "patch", "sed", "mawk"}, Fast: true, Same: true,
		Prepare: `for i in 1 2 3 4 5; do seq 100 >f$i; done; sed s/50/fifty/ f1 >f.new; diff -u f1 f.new >p || true`,
		Run: `
		for i in 1 2 3 4 5; do printf '1,10d\nw\nr f.new\nw out\nq\n' | ed -s f$i; sed -i.bak -e "s/2/two $i/" f$i; perl -i -pe 's/3/three/' f$i; done
		sed -i s/4/four/ f?; sed -n -e 'w written' -e '/5/w fives' f1; perl -i.orig -ne 'print if /1/' f1 f2
		cp f.new f6; patch -R f6 <p; patch -b f6 <p; awk '{ print > ("part" NR % 4) }' f3; awk 'BEGIN { "cat f4" | getline x; print x | "cat >piped" }'`,
	},
	{
		Name: "configure-hello", About: "autoconf: ./configure of GNU hello", Tree: workload.Hello, Same: true,
		Run: `./configure`,
	},
	{
		Name: "configure-gdbm", About: "autoconf and libtool: ./configure of gdbm", Tree: workload.Gdbm, Same: true,
		Run: `./configure`,
	},
	{
		Name: "make-c", About: "make -j4 and make install of gdbm: libtool, shared and static libraries", Tree: workload.Gdbm,
		Prepare: `./configure >/dev/null`,
		Run:     `make -j4 && make -j4 install DESTDIR="$PWD/inst" && make clean`,
	},
	{
		Name: "make-c++", About: "make -j4 of a C++ library and program: templates, pipes, dependencies, ar", Packages: []string{"g++"}, Same: true,
		Prepare: `
		for i in 1 2 3 4 5 6; do
			echo "#include <map>
			#include <string>
			std::map<std::string, int> m$i{{\"$i\", $i}}; int f$i() { return m$i.size(); }" >f$i.cc
		done
		echo 'int f1(), f2(), f3(), f4(), f5(), f6(); int main() { return f1()+f2()+f3()+f4()+f5()+f6() != 6; }' >main.cc
		printf 'OBJS = f1.o f2.o f3.o f4.o f5.o f6.o\nall: prog; ./prog\nprog: main.o libf.a; $(CXX) -o $@ $^\n%%.o: %%.cc; $(CXX) -O1 -g -MMD -pipe -c $< -o $@\nlibf.a: $(OBJS); ar rcs $@ $^ && ranlib $@\n-include *.d\n' >Makefile`,
		Run: `make -j4 && touch f3.cc && make -j4 && g++ -flto -save-temps -o lto f1.cc f2.cc f3.cc f4.cc f5.cc f6.cc main.cc && strip prog`,
	},
	{
		Name: "go-build", About: "go build and go test of a module, standard library from a cache of its own", Probe: `go version`,
		Prepare: `
		printf 'module example\n\ngo 1.21\n' >go.mod; mkdir a b
		for p in a b; do
			printf 'package %s\n\nimport "strings"\n\nfunc F() string { return strings.Repeat("%s", 3) }\n' $p $p >$p/f.go
			printf 'package %s\n\nimport "testing"\n\nfunc TestF(t *testing.T) { if len(F()) != 3 { t.Fatal() } }\n' $p >$p/f_test.go
		done
		printf 'package main\n\nimport (\n\t"fmt"\n\n\t"example/a"\n\t"example/b"\n)\n\nfunc main() { fmt.Println(a.F(), b.F()) }\n' >main.go
		export GOCACHE=$PWD/cache GOTELEMETRY=off GOTOOLCHAIN=local GOPROXY=off CGO_ENABLED=0
		go build -o /dev/null . && go test ./a && printf '\n// changed\nvar V = 1\n' >>a/f.go && printf '\nvar V = 1\n' >>b/f.go`,
		Run: `export GOCACHE=$PWD/cache GOTELEMETRY=off GOTOOLCHAIN=local GOPROXY=off CGO_ENABLED=0
		go vet ./a; go build -o prog . && ./prog && go test -count=1 ./a ./b`,
	},
	{
		Name: "npm", About: "npm ci of a package with 60 dependencies, from a cache of its own", Packages: []string{"npm"},
		// The registry is asked here only.
		Prepare: `
		echo '{"name":"example","version":"1.0.0","dependencies":{"express":"4.21.2"}}' >package.json
		npm install --cache "$PWD/cache" --no-audit --no-fund --loglevel error && rm -rf node_modules cache/_logs`,
		Run: `npm ci --offline --cache "$PWD/cache" --no-audit --no-fund --loglevel error && node -e 'require("express")()' && npm ls --all >list`,
	},
	{
		Name: "node", About: "files by node's pool of threads", Packages: []string{"nodejs"}, Probe: "node --version", Fast: true,
		Prepare: `cp "$SOURCE/pool.js" .`, Run: `node pool.js`,
	},
	{
		Name: "goroutines", About: "files by the threads of a Go program: trees that move, a name that all of them rename over", Probe: "go version", Fast: true,
		Prepare: `cp "$SOURCE/goroutines.go.txt" main.go; GOCACHE=$PWD/tmp/cache GOTELEMETRY=off GOTOOLCHAIN=local CGO_ENABLED=0 go build -o prog main.go; rm -r tmp/cache`,
		Run:     `./prog`,
	},
	{
		Name: "git", About: "git clone by links and by a pack, commit, branch, merge, rebase, stash, worktree", Packages: []string{"git"},
		// What is as new as the index is read again: runs are not the same.
		Prepare: gitTree,
		Run: `
		git clone -q tree linked && git clone -q --no-local tree packed && cd packed
		echo change >>f1 && git commit -qam change && git checkout -qb side HEAD~2 && echo side >side && git add side && git commit -qm side
		git merge -q -m merge origin/master && git rebase -q origin/master; git mv f2 g2 && git stash -q && git stash pop -q && git reset -q --hard
		git worktree add -q ../work HEAD && git worktree remove ../work && git tag v1 && git push -q origin side && git status -s && git grep -q side`,
	},
	{
		Name: "git-gc", About: "git gc, repack, fsck of a repository with 60 commits", Packages: []string{"git"}, Fast: true, Same: true,
		Prepare: gitTree,
		Run:     `cd tree && git gc -q --prune=now && git repack -qadf && git fsck && git pack-refs --all && git count-objects -v`,
	},
	{
		Name: "tar", About: "tar in and out, plain, gz and xz, with links; gzip, cpio", Packages: []string{"tar", "xz-utils", "cpio"}, Fast: true, Same: true,
		Prepare: `mkdir tree; cd tree; for i in $(seq 10); do mkdir d$i; seq 300 >d$i/a; ln d$i/a d$i/hard; ln -s a d$i/soft; mkfifo d$i/fifo; done`,
		Run: `
		tar cf plain.tar tree && tar czf gz.tgz tree && tar cJf xz.txz --remove-files tree && mkdir 1 2 3 && tar xf plain.tar -C 1 && tar xzf gz.tgz -C 2
		tar xJf xz.txz -C 3 --keep-newer-files; tar xf plain.tar -C 1 --unlink-first; tar rf plain.tar 2; tar --delete -f plain.tar 2/tree/d1; tar tf plain.tar >list
		tar cf - 1 | (mkdir 4 && cd 4 && tar xf -); gzip -k plain.tar && gunzip -f plain.tar.gz && find 3 | cpio -o >c.cpio && mkdir 5 && cd 5 && cpio -id <../c.cpio`,
	},
	{
		Name: "dpkg", About: "dpkg-deb -b and -x; dpkg -i, upgrade, -r and -P in a root of its own, with scripts and conffiles", Packages: []string{"dpkg"}, Fast: true, Same: true,
		Prepare: `
		mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates root/var/log; : >root/var/lib/dpkg/status
		for v in 1 2; do
			mkdir -p p$v/DEBIAN p$v/etc p$v/usr/bin p$v/usr/share/doc/trivial
			printf 'Package: trivial\nVersion: %s\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: trivial\n' $v >p$v/DEBIAN/control
			echo /etc/trivial.conf >p$v/DEBIAN/conffiles; echo $v >p$v/etc/trivial.conf; echo $v >p$v/usr/bin/trivial; ln -s trivial p$v/usr/bin/link$v
			for s in preinst postinst prerm postrm; do printf '#!/bin/sh\nset -e\necho "$0 $*" >>"$DPKG_ROOT/var/log/scripts"\n' >p$v/DEBIAN/$s; chmod 755 p$v/DEBIAN/$s; done
		done`,
		Run: `
		for v in 1 2; do dpkg-deb -b --root-owner-group p$v t$v.deb; done; dpkg-deb -x t1.deb x; dpkg-deb -e t1.deb x/DEBIAN; dpkg-deb -c t2.deb
		d="dpkg --root=$PWD/root --force-script-chrootless --force-confnew --log=$PWD/log"
		$d -i t1.deb && $d -i t2.deb && $d -L trivial && $d -r trivial && $d -i t1.deb && $d -P trivial`,
	},
	{
		Name: "dpkg-system", About: "dpkg -i and -P of a trivial package in the system itself", Packages: []string{"dpkg"}, Fast: true, Same: true,
		Prepare: `
		mkdir -p p/DEBIAN p/usr/share/fanrec-oracle-trivial; echo file >p/usr/share/fanrec-oracle-trivial/file
		printf 'Package: fanrec-oracle-trivial\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: trivial\n' >p/DEBIAN/control
		dpkg-deb -b --root-owner-group p t.deb >/dev/null`,
		// Another program may hold dpkg's lock: then nothing is installed, and that is recorded.
		Run: `dpkg --no-triggers -i t.deb; dpkg --no-triggers -P fanrec-oracle-trivial; true`,
	},
	{
		Name: "python", About: "python3 -m venv, compileall with two workers, zipfile, multiprocessing", Packages: []string{"python3", "python3-venv"},
		Prepare: `mkdir lib; cp -r /usr/lib/python3*/json /usr/lib/python3*/email /usr/lib/python3*/logging lib; find lib -name __pycache__ -exec rm -r {} +`,
		Run: `
		python3 -m venv --without-pip v && v/bin/python -m compileall -q -j2 lib && v/bin/python -c 'import sys; sys.path.insert(0, "lib"); import email.mime.text'
		python3 -m zipfile -c z.zip lib && python3 -m zipfile -e z.zip out && python3 -c '
import concurrent.futures, multiprocessing, os, shutil, subprocess, tempfile, threading
def work(i):
    with tempfile.NamedTemporaryFile("w", dir=".") as f:
        f.write("x"); f.flush()
        os.link(f.name, f"kept{i}")
    with open(f"kept{i}", "r+") as f: f.truncate(0)
    os.replace(f"kept{i}", f"final{i}")
if __name__ == "__main__":
    with multiprocessing.Pool(3) as p: p.map(work, range(10))
    with concurrent.futures.ThreadPoolExecutor(4) as e: list(e.map(work, range(20)))
    shutil.copytree("lib", "copy"); shutil.rmtree("out"); subprocess.run(["true"], check=True)
'`,
	},
	{
		Name: "rsync", About: "rsync -a, --delete, --backup, --inplace, --link-dest, by a daemonless socket pair", Packages: []string{"rsync"}, Fast: true, Same: true,
		Prepare: `mkdir src; cd src; for i in $(seq 10); do mkdir d$i; seq 500 >d$i/a; ln -s a d$i/soft; ln d$i/a d$i/hard; done`,
		Run: `
		rsync -aH src/ dst/ && for i in 1 3 5; do echo more >>src/d$i/a; rm src/d$i/soft; done && rm -r src/d7 && rsync -aH --delete --backup --suffix=.old src/ dst/
		echo x >>src/d2/a && rsync -a --inplace --no-whole-file src/ dst/ && rsync -a --link-dest="$PWD/dst" src/ snapshot/ && rsync -a --remove-source-files src/d1 gone/
		rsync -a --delay-updates --partial-dir=.part src/ dst2/`,
	},
	{
		Name: "sqlite", About: "sqlite3: rollback journal, WAL with two writers and a reader, checkpoint, vacuum", Packages: []string{"sqlite3"}, Fast: true,
		Run: `
		sqlite3 a.db 'pragma journal_mode=delete; create table t(x); begin; insert into t with recursive c(x) as (select 1 union all select x+1 from c where x<2000) select x from c; commit; vacuum' >/dev/null
		sqlite3 a.db 'pragma journal_mode=wal; create index i on t(x)' >/dev/null
		for j in 1 2; do sqlite3 a.db "pragma busy_timeout=20000; $(for i in $(seq 20); do echo "insert into t values($j$i);"; done)" >/dev/null & done
		sqlite3 a.db 'select count(*) from t' >count; wait; sqlite3 a.db 'pragma wal_checkpoint(truncate); pragma journal_mode=delete' >/dev/null
		sqlite3 a.db .dump >dump && sqlite3 b.db <dump && sqlite3 b.db 'pragma temp_store=file; create temp table s as select * from t order by x desc; attach "c.db" as c; create table c.u as select * from t'`,
	},
	{
		Name: "util-linux", About: "script with a terminal, flock, timeout, nohup, setsid, env -C, a pid namespace", Packages: []string{"util-linux", "bsdutils"}, Fast: true,
		Run: `
		script -qec 'echo hi >inside; tty >tty' typescript; flock lock sh -c 'echo locked >out'; timeout 0.1 sleep 5; nohup echo hup; setsid -w sh -c 'echo s >sid'
		env -C / pwd; mkdir d; env -C d sh -c 'echo x >y; mv y z'; unshare -p -f sh -c 'echo $$ >pid; sh -c "echo \$\$ >pid2"; (cat /proc/self/status >status)'; true`,
	},
	{
		Name: "su", About: "su to another user (PAM), setuid and setgid programs, setpriv", Packages: []string{"login", "util-linux"}, Fast: true,
		// strace sets no_new_privs: under it setuid does not do anything, so runs are not the same.
		Prepare: `chmod 755 .; cp /usr/bin/id suid; cp /usr/bin/id sgid; chown nobody suid; chgrp mail sgid; chmod 4755 suid; chmod 2755 sgid; mkdir open; chmod 777 open`,
		Run: `
		su -s /bin/sh nobody -c 'id; cd open && echo mine >file && cat file && rm file'; su -s /bin/sh -l nobody -c 'pwd'
		./suid; ./sgid; setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'cd open; ../suid; echo x >y; cat /etc/shadow; rm y'; true`,
	},
	{
		Name: "busybox", About: "a static binary: busybox sh and its applets, in a chroot too", Packages: []string{"busybox-static"}, Fast: true, Same: true,
		Prepare: `mkdir -p root/bin root/tmp root/dev; cp "$(command -v busybox)" root/bin/busybox; for a in sh cat mv rm ls mkdir ln cp tar; do ln -s busybox root/bin/$a; done`,
		Run: `
		root/bin/busybox sh -c 'for i in 1 2 3; do echo $i >f$i; busybox cp f$i g$i; busybox mv g$i h$i; busybox sed -i s/1/2/ f$i; done; busybox rm f* h*'
		chroot root /bin/sh -c 'cd /tmp; echo x >a; cp a b; ln b c; ln -s /tmp/c d; mv c e; cat d; ln -sf /tmp/e d; cat d; tar cf t.tar a b d; mkdir x; cd x; tar xf ../t.tar; cd ..; rm -r x'; true`,
	},
	{
		Name: "calls", About: "every system call that opens, makes, renames, links or removes names, in all its forms", Fast: true, Same: true,
		Prepare: `gcc -O2 -o calls "$SOURCE/calls.c"`, Run: `./calls`,
	},
	{
		Name: "calls-32", About: "the same, a 32-bit program", Packages: []string{"gcc-multilib"}, Arch: "amd64", Fast: true, Same: true,
		Probe: `echo 'int main(void) { return 0; }' >p.c; gcc -m32 -o p p.c; ./p; rm p p.c`, Prepare: `gcc -O2 -m32 -o calls "$SOURCE/calls.c"`, Run: `./calls`,
	},
	{
		Name: "calls-static", About: "the same, a static one", Fast: true, Same: true,
		Prepare: `gcc -O2 -static -o calls "$SOURCE/calls.c"`, Run: `./calls`,
	},
	{
		Name: "calls-tmpfs", About: "the same on a tmpfs", Fast: true, Same: true,
		Below: "/dev/shm", Prepare: `gcc -O2 -o calls "$SOURCE/calls.c"`, Run: `./calls`,
	},
	{
		Name: "spawn", About: "fork, vfork, posix_spawn with file actions, system, popen, wordexp, daemons, killed children", Fast: true, Same: true,
		Prepare: `gcc -O2 -o spawn "$SOURCE/spawn.c"`, Run: `./spawn`,
	},
	{
		Name: "threads", About: "four threads on the same files and directories, one with a directory of its own; execs from a thread", Fast: true,
		Races:   true, // one directory made and removed by several at once
		Prepare: `gcc -O2 -pthread -o threads "$SOURCE/threads.c"`, Run: `./threads`,
	},
	{
		Name: "io_uring", About: "opens, unlinks, renames, links and directories by io_uring, one by one and in batches, by its workers and by its poller",
		Packages: []string{"liburing-dev"}, Fast: true,
		Probe:   uring,
		Prepare: `gcc -O2 -o uring "$SOURCE/uring.c" -luring`, Run: `./uring`,
	},
	{
		Name: "io_uring-slots", About: "the same into slots of the ring, and requests of which only a failure is told",
		Packages: []string{"liburing-dev"}, Fast: true,
		Probe:   uring,
		Prepare: `gcc -O2 -o uring "$SOURCE/uring.c" -luring`, Run: `./uring slots`,
	},
}

const uring = `gcc -o u "$SOURCE/uring.c" -luring && mkdir p && (cd p && ../u) && rm -r u p`

// gitTree is a repository of 60 commits on 10 files. The files of a user and of the machine are left out.
const gitTree = `
	printf '[user]\n\tname = nobody\n\temail = nobody@localhost\n[gc]\n\tauto = 0\n[advice]\n\tdetachedHead = false\n[init]\n\tdefaultBranch = master\n' >.gitconfig
	git init -q tree; cd tree
	for i in $(seq 60); do
		echo "commit refs/heads/master
committer nobody <nobody@localhost> $((1700000000 + i)) +0000
data 2
$((i % 10))
M 100644 inline f$((i % 10))
data <<EOF
$(seq $i)
EOF
"
	done | git fast-import --quiet --depth=0
	git reset -q --hard; git config receive.denyCurrentBranch ignore
`
