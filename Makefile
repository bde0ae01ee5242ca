# SPDX-License-Identifier: Apache-2.0
# All targets. Meson and ninja do the work underneath; programs land in build/ and run from there.

BUILD    ?= build
ASAN     ?= build-asan
COVERAGE ?= build-cov
PREFIX   ?= /usr/local
DESTDIR  ?=
TESTS    ?=
MINUTES  ?= 30

# What builds it with its tests (a build directory that was set up without cmocka stays without), what it runs on, and what
# `make check` and `make bench` talk to.
PACKAGES_BUILD = gcc libc6-dev clang meson ninja-build pkg-config libseccomp-dev libcap-dev libfixbuf-dev libjansson-dev libmicrohttpd-dev \
	libncurses-dev libnftables-dev libcurl4-openssl-dev libxen-dev libcmocka-dev libclang-rt-14-dev
PACKAGES_RUN   = nginx curl iproute2 nftables procps
PACKAGES_CHECK = $(PACKAGES_RUN) clang-tidy cppcheck sparse shellcheck pyflakes3 universal-ctags linux-headers-amd64 \
	python3 git apache2 apache2-utils redis-server redis-tools wrk util-linux netbase dnsmasq-base libpython3.11-testsuite liburing2 \
	libfixbuf-tools nfdump pmacct openssl prometheus python3-prometheus-client slowhttptest tmux etcd-server systemd strace spin llvm mandoc groff-base
# What images of virtual machines are made with, and tested in.
PACKAGES_IMAGE = busybox-static linux-headers-amd64 python3 binutils
PACKAGES_XEN   = $(PACKAGES_IMAGE) qemu-system-x86
PACKAGES_COMPAT = libnginx-mod-stream php-fpm haproxy lighttpd lighttpd-mod-openssl varnish squid stunnel4 nodejs \
	default-jdk-headless python3-aiohttp caddy golang-go memcached postgresql openssh-server openssh-client vsftpd \
	dovecot-imapd bind9 bind9-dnsutils unbound mosquitto mosquitto-clients
PACKAGES_BENCH = haproxy
PACKAGES_SOAK  = gnuplot-nox
# Of `make deb`, and what tests the packages.
PACKAGES_DEB   = build-essential debhelper dh-dkms dpkg-dev lintian debootstrap
PACKAGES       = $(PACKAGES_BUILD) $(PACKAGES_CHECK) $(PACKAGES_XEN) $(PACKAGES_COMPAT) $(PACKAGES_BENCH) $(PACKAGES_SOAK) $(PACKAGES_DEB)

.PHONY: all deps guests ins-image run check check-xen check-long soak bench coverage lint fuzz install install-kmod clean kmod deb
.DEFAULT_GOAL := all

deps: ## install what is missing (Debian 12); services are not started by it
	@tools/deps.sh $(PACKAGES)

guests: deps ## fetch what the tests' virtual machines are made of into build/vm: Debian's kernel, and Xen
	@python3 test/vm/guests.py

all: $(BUILD)/build.ninja ## build into build/
	@ninja -C $(BUILD) --quiet

$(BUILD)/build.ninja: | meson.build
	@meson setup $(BUILD) --prefix=$(PREFIX) >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }; rm -f $(BUILD).log

$(ASAN)/build.ninja: | meson.build
	@meson setup $(ASAN) -Db_sanitize=address,undefined -Db_lundef=false >$(ASAN).log 2>&1 || \
		{ cat $(ASAN).log; exit 1; }; rm -f $(ASAN).log

ins-image: all ## kernel and initramfs of an INS domain into build/ins-image/; see doc/xen.md
	@tools/deps.sh $(PACKAGES_IMAGE)
	@tools/ins-image.py $(BUILD)

run: ## protect an nginx on port 8080 and show its connections (FOR=10 stops after 10 s)
	@tools/deps.sh $(PACKAGES_BUILD) $(PACKAGES_RUN)
	@$(MAKE) --no-print-directory all
	@FOR=$(FOR) MW_BUILD=$(BUILD) tools/demo.sh

check: guests ## build and run every test (TESTS="pattern ..." for some)
	@$(MAKE) --no-print-directory all $(ASAN)/build.ninja
	@ninja -C $(ASAN) --quiet
	@python3 test/run.py --again 1 $(BUILD) $(ASAN) $(TESTS)

check-xen: guests ## what runs on Xen alone: the module without Xen, Debian's xenstored without a hypervisor, then real Xen in QEMU
	@$(MAKE) --no-print-directory all
	@python3 test/run.py --again 1 --suite xen --suite vm $(BUILD) $(TESTS)

check-long: deps ## what takes an hour: 10,000 reloads, samples of an idle minute, whole attacks, 1,000 workers killed, and brokers, 50 upgrades, 100,000 reuses of a slot, a million wake-ups, each call of each program failing, CPython's tests on an isolated network, on Xen 100 loads of the module, README's commands on a bare Debian; an hour of mixed load is `make soak`
	@$(MAKE) --no-print-directory all
	@MW_LONG=1 python3 test/net/process_test.py "10,000 reloads"
	@MW_LONG=1 python3 test/net/sample_test.py "idle for 60 s"
	@MW_LONG=1 python3 test/net/attack_test.py "60 s of"
	@MW_LONG=1 python3 test/net/adopt_test.py "killed at any" "killed behind"
	@MW_LONG=1 python3 test/net/keeper_test.py "kill -9 under load" "killed behind"
	@MW_LONG=1 python3 test/net/upgrade_test.py "under wrk" "traffic"
	@MW_LONG=1 python3 test/net/verbload_test.py "quick reuses"
	@MW_LONG=1 python3 test/net/starve_test.py
	@$(BUILD)/doorbell_stress $(BUILD)/mw
	@python3 test/net/cpython_test.py "(isolated)"
	@MW_LONG=1 python3 test/xen/faults_test.py "loaded and unloaded"
	@python3 test/deb/readme_test.py

soak: deps ## MINUTES (60) of mixed load, without sanitizers and with them at the same time; draws doc/soak/*.svg; see doc/soak.md
	@$(MAKE) --no-print-directory all $(ASAN)/build.ninja
	@ninja -C $(ASAN) --quiet
	@MW_MINUTES=$(if $(filter file,$(origin MINUTES)),60,$(MINUTES)) python3 test/run.py --suite soak $(BUILD) $(ASAN)
	@python3 test/soak/plot.py doc/soak "plain build"=$(BUILD) "with sanitizers"=$(ASAN)

kmod: ## build the kernel module, build/kmod/kmod/mwcomms.ko (KDIR: the kernel's build directory)
	@tools/kmod.sh $(BUILD)/kmod

bench: deps ## measure beside native and HAProxy; see doc/performance.md
	@$(MAKE) --no-print-directory all
	@python3 bench/bench.py $(BENCH)

coverage: guests ## lines and branches that the tests run, by folder (SUITES="unit net" for some; fails below 85 % and 75 %)
	@[ -f $(COVERAGE)/build.ninja ] || CC=clang meson setup $(COVERAGE) -Dc_link_args=-fprofile-instr-generate \
		-Dc_args='-fprofile-instr-generate -fcoverage-mapping -mllvm -runtime-counter-relocation' >$(COVERAGE).log 2>&1 || \
		{ cat $(COVERAGE).log; exit 1; }; rm -f $(COVERAGE).log
	@ninja -C $(COVERAGE) --quiet
	@python3 tools/coverage.py run $(COVERAGE) $(foreach s,$(or $(SUITES),unit hostile door same net nohv),--suite $(s))
	@python3 tools/coverage.py report $(COVERAGE)

lint: deps $(BUILD)/build.ninja ## everything that needs no run
	@BUILD=$(BUILD) tools/lint.sh

fuzz: all ## run each fuzz target for MINUTES (30), as many at once as there are processors
	@tools/fuzz.sh $(BUILD) $(MINUTES) $(TESTS)

install: all ## PREFIX and DESTDIR are honoured
	@meson configure $(BUILD) -Dprefix=$(PREFIX) >/dev/null
	@ninja -C $(BUILD) --quiet >/dev/null || ninja -C $(BUILD)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild --quiet

install-kmod: ## the module's source for DKMS (mwcomms/0.1.0), its udev rule and group; DESTDIR is honoured
	@tools/kmod.sh --tree $(DESTDIR)/usr/src/mwcomms-0.1.0
	@install -Dm644 kmod/70-mwcomms.rules $(DESTDIR)/usr/lib/udev/rules.d/70-mwcomms.rules
	@install -Dm644 kmod/mwcomms.sysusers $(DESTDIR)/usr/lib/sysusers.d/mwcomms.conf

deb: ## Debian packages into build/deb/: mwcomms, mwcomms-xen, mwcomms-dkms, libmwchan-dev
	@tools/deps.sh $(PACKAGES_BUILD) $(PACKAGES_DEB)
	@tools/deb.sh $(BUILD)/deb

clean:
	@rm -rf $(BUILD) $(ASAN) $(COVERAGE)
