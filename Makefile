# make            build bin/fanrec, and bin/fanrec-otlp, which sends records to a collector
# make test       everything that CI runs; installs what it needs (Debian, Ubuntu)
# make bmake      build bin/bmake-fantrace, bmake that records by the service
# make bench      what a recording costs, beside others
# make -k soak    the long forms of all tests: some ten hours; figures in docs/soak.md
# make test-kernels   the table of kernels and filesystems: Debian's kernels under qemu
# make oracle CMD='make -j2' [COPY=DIR]   compare a recording with strace
# make oracle-all [RUNS=10] compare recordings of many programs with strace, into docs/oracle.md
# make generate   make the BPF objects again (needs clang)
# make install    binary, manual page, completions, <filemon.h> below PREFIX

GO         ?= go
PREFIX     ?= /usr/local
VERSION    := $(shell git describe --tags --always --dirty 2>/dev/null)
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
PURE        = . ./cgroup ./ebpf ./fan ./later ./output/... ./proctree ./service/... ./top/... ./cmd/...

# What the tests run beside Go: programs to compare with, compilers for the
# storms and the BPF objects, filesystems to mount, a machine for other kernels.
PACKAGES = strace bmake gcc libc6-dev make dpkg-dev python3 procps util-linux bsdutils e2fsprogs xfsprogs btrfs-progs bindfs ninja-build libcap2-bin systemd \
	clang llvm libbpf-dev qemu-system-x86 xz-utils postgresql nginx wrk redis-server lsof prometheus jq podman crun tmux
BENCH_PACKAGES = strace fatrace bpftrace gcc libc6-dev make dpkg-dev

# Recording needs root, so most tests do.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo -E env "PATH=$$PATH")

.PHONY: all test deps bmake lint unit race e2e workloads kernels test-kernels oracle oracle-all bench bench-servers bench-go fuzz soak soak-model soak-storm soak-makes soak-watch soak-oracle soak-fuzz generate install clean FORCE

all: bin/fanrec bin/fanrec-otlp

bin/fanrec bin/fanrec-otlp: FORCE
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o $@ ./cmd/$(@F)

test: deps bin/fanrec bmake workloads kernels lint unit race e2e

# Installs only what dpkg does not know to be there; a program by another package's name will do.
define install
	@missing=$$(for p in $(1); do dpkg-query -W -f '$${Status}\n' $$p 2>/dev/null | grep -q '^install ok' || \
		command -v $$p >/dev/null || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		echo "installing" $$missing; \
		$(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
endef

deps:
	$(call install,$(PACKAGES) $$($(GO) run ./tests/oracle/cmd/oracle -fast -packages))

workloads: deps
	tests/workload/fetch.sh

# Debian's source, with our filemon and with its own for /dev/filemon.
bmake: bin/bmake-fantrace $(if $(wildcard contrib/include/filemon.h),bin/bmake-dev)

bin/bmake-fantrace: contrib/bmake/build.sh contrib/bmake/filemon_fantrace.c
bin/bmake-dev: contrib/bmake/build.sh contrib/include/filemon.h
bin/bmake-fantrace bin/bmake-dev:
	$(call install,bmake gcc libc6-dev dpkg-dev)
	contrib/bmake/build.sh $(@:bin/bmake-%=%) $@

# Without them the test is skipped, but not in CI.
kernels: deps
	tests/kernels/fetch.sh || [ "$$CI" != true ]

test-kernels: kernels
	$(GO) test -count=1 -v -timeout 40m ./tests/kernels $(KERNELS_FLAGS)

lint:
	@bad=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "not gofmt-ed:" $$bad; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

# A test that misses something is skipped; in CI that is a failure.
TEST = $(GO) run ./tests/skips

unit:
	$(SUDO) $(TEST) $(PURE)

race:
	$(SUDO) env -u MAKEFLAGS -u MAKELEVEL $(GO) test -race -short $(PURE)

# One after the other: they measure nothing, but each wants the machine.
e2e: bin/fanrec
	$(SUDO) env FANREC=$(CURDIR)/bin/fanrec $(TEST) -count=1 -p 1 -timeout 40m ./tests/...

oracle: bin/fanrec
	$(call install,strace)
	$(SUDO) $(GO) run ./tests/oracle/cmd/oracle -fanrec bin/fanrec $(if $(COPY),-copy $(COPY)) $(ORACLE_FLAGS) -- $(CMD)

RUNS ?= 10
oracle-all: bin/fanrec
	$(call install,$$($(GO) run ./tests/oracle/cmd/oracle -packages))
	tests/workload/fetch.sh
	$(SUDO) $(GO) run ./tests/oracle/cmd/oracle -fanrec bin/fanrec -n $(RUNS) -programs '.*' -table docs/oracle.md $(ORACLE_FLAGS)

bench: bin/fanrec
	$(call install,$(BENCH_PACKAGES))
	tests/workload/fetch.sh
	$(SUDO) $(GO) run ./tests/bench/cmd/bench -fanrec bin/fanrec $(BENCH_FLAGS)

# Transactions of PostgreSQL beside recorders, in turns: half an hour.
bench-servers: bin/fanrec
	$(call install,postgresql strace fatrace auditd procps)
	$(SUDO) env FANREC=$(CURDIR)/bin/fanrec $(GO) test -run '^$$' -bench Cost -benchtime 20x -timeout 0 ./tests/servers

bench-go:
	$(GO) test -run '^$$' -bench . -benchmem . ./ebpf ./fan ./output ./service ./top

# Without a bound, the fuzzer spends most of its time on making its finds small.
FUZZTIME ?= 30s
FUZZERS   = fan/FuzzDecode fan/FuzzDecodeDescriptor fan/FuzzMounts ebpf/FuzzDecodeProcess ebpf/FuzzDecodeCall ebpf/FuzzDecodeHeld ebpf/FuzzRing \
	ebpf/FuzzExtractTypes output/FuzzFilemonReader output/FuzzJSONLReader output/FuzzFilemonForge output/FuzzJSONLForge output/FuzzSchema output/FuzzText service/FuzzDecode cmd/fanrec/FuzzGlobs \
	service/cuse/FuzzDecode
fuzz: $(FUZZERS:%=fuzz/%)
fuzz/%:
	$(GO) test -run '^$$' -fuzz '^$(notdir $*)$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $(FUZZ_FLAGS) -timeout 0 ./$(patsubst %/,%,$(dir $*))

SOAK_RUNS ?= 10
MODELS    ?= 100000
soak: soak-model soak-storm soak-makes soak-watch soak-oracle soak-fuzz

soak-model:
	$(GO) test -count=1 -timeout 0 -run TestModel -rapid.checks=$(MODELS) .

soak-storm: bin/fanrec
	$(SUDO) env FANREC=$(CURDIR)/bin/fanrec SOAK=1 $(GO) test -count=$(SOAK_RUNS) -timeout 0 ./tests/storm

soak-makes: bin/fanrec
	$(SUDO) env FANREC=$(CURDIR)/bin/fanrec SOAK=1 $(GO) test -count=1 -timeout 0 ./tests/makes

# Three servers under load for ten minutes; a day of 10,000,000 records.
soak-watch: bin/fanrec
	$(SUDO) env FANREC=$(CURDIR)/bin/fanrec SOAK=1 $(GO) test -count=1 -v -timeout 0 -run 'TestLong|TestDay' ./tests/servers ./tests/day

soak-oracle: oracle-all

# All at once, for an hour each, in what is left of the processors.
soak-fuzz:
	nice -n 19 $(MAKE) -j $(words $(FUZZERS)) fuzz FUZZTIME=1h FUZZ_FLAGS='-parallel 1'

generate:
	$(call install,clang llvm libbpf-dev)
	$(GO) generate ./ebpf

install: bin/fanrec bin/fanrec-otlp
	install -D -m 755 bin/fanrec $(DESTDIR)$(PREFIX)/bin/fanrec
	install -D -m 755 bin/fanrec-otlp $(DESTDIR)$(PREFIX)/bin/fanrec-otlp
	install -D -m 644 contrib/include/filemon.h $(DESTDIR)$(PREFIX)/include/filemon.h
	install -D -m 644 contrib/include/dev/filemon/filemon.h $(DESTDIR)$(PREFIX)/include/dev/filemon/filemon.h
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	for unit in fanrec.service fanrec.socket; do \
		sed 's,/usr/local/,$(PREFIX)/,' contrib/systemd/$$unit >$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit || exit; done
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	bin/fanrec man $(DESTDIR)$(PREFIX)/share/man/man1
	bin/fanrec completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/fanrec
	bin/fanrec completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_fanrec
	bin/fanrec completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/fanrec.fish

clean:
	rm -rf bin
