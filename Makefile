# Trifecta: builds the nginx module and the sidecar.
#
#   make              build/release/{trifecta,ngx_http_trifecta_module.so}
#   make test-build   build/test/: the same with the provider "test" and the
#                     crash points of include/trifecta/fault.h, the unit tests
#                     in build/test/unit/, and the tools of the fault suite in
#                     build/test/fault/
#   make asan         build/asan/{trifecta,nginx}, unit tests: address and
#                     undefined behaviour sanitizers; nginx is static, from
#                     Debian's source, with the module inside
#   make nginx126     build/nginx126/nginx: nginx 1.26, static, with the module
#                     inside, from the source of Debian 13
#   make fuzz         build/fuzz/fuzz_*: libFuzzer targets (always clang)
#   make planted      build/planted/: asan with an overrun planted in each
#                     program, to show that the tests would see a real one
#   make mutants      build/mutant-*/: the program with each of the mistakes in
#                     t/fault/mutations/, which t/mutations.t must catch
#   make check        unit tests and t/*.t, with build/test/
#   make conf         writes conf/sidecar.conf from the sidecar's table of keys
#   make install      DESTDIR=, prefix=/usr
#   make clean        removes build/ but not the cached nginx source
#
# CC=gcc or CC=clang; V=1 shows the commands.  A variant is built again when
# the compiler or a flag changes.

SHELL = /bin/bash
.SHELLFLAGS = -e -o pipefail -c
.SUFFIXES:
.DELETE_ON_ERROR:

ifeq ($(origin CC),default)
CC = gcc
endif

prefix      = /usr
bindir      = $(prefix)/bin
datadir     = $(prefix)/share/trifecta
docdir      = $(prefix)/share/doc/trifecta
sysconfdir  = /etc
modulesdir  = $(shell sed -n 's/.*--modules-path=\([^ ]*\).*/\1/p' \
                  $(NGX_DEV)/conf_flags 2>/dev/null)

# 1 for an nginx (1.25.1) that has a directive for HTTP/2
NGX_HTTP2   = $(shell awk '$$2 == "nginx_version" { v = $$3 } \
                  END { print (v >= 1025001) }' \
                  $(NGX_DEV)/src/core/nginx.h 2>/dev/null)

# headers and configure script of the installed nginx (package nginx-dev)
NGX_DEV     = /usr/share/nginx/src

ifeq ($(V),)
Q = @
say = @printf '  %-8s %s\n' '$(1)' '$(2)'
endif


# sources

SIDECAR   := $(sort $(wildcard sidecar/*/*.c))
UNIT      := $(sort $(wildcard t/unit/*_test.c))
FUZZ      := $(sort $(wildcard t/fuzz/fuzz_*.c))
MODULE    := $(sort $(wildcard ngx_module/*.c))
MODULE_H  := $(sort $(wildcard ngx_module/*.h include/trifecta/*.h))
TESTS     := $(sort $(wildcard t/*.t))

# what a unit test or fuzz target links: the sources named in its first
# comment, "/* links: a.c b/ */"; all of a folder if it ends with a slash
links = $(foreach l,$(shell awk '{ end = /\*\//; sub(/\*\/.*/, ""); \
            sub(/^[ \t]*\/?\*+/, ""); c = c " " $$0 } end { exit } \
            END { if (sub(/^[ \t]*links:/, "", c)) print c }' $(1)), \
            $(if $(filter %/,$(l)),$(wildcard $(l)*.c),$(l)))


# flags

PKGS      = hiredis libpq libcurl jansson libjwt libcrypto libmicrohttpd \
            libxml-2.0 libzip zlib
PKG_INC  := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS      = -lhiredis -lpq -lcurl -ljansson -ljwt -lcrypto -lmicrohttpd \
            -lxml2 -lzip -lz -lm

WARN      = -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes \
            -Wmissing-prototypes -Wformat=2 -Wvla -Werror
CSTD      = -std=gnu11 -pthread -Isidecar -Iinclude -Ingx_module \
            $(patsubst -I%,-isystem %,$(PKG_INC))
HARDEN    = -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
LINK      = -pthread -pie -Wl,-z,relro -Wl,-z,now -Wl,--as-needed

SANITIZE  = -fsanitize=address,undefined -fno-omit-frame-pointer

# nginx's own core does these; they are not ours to mend
NGX_NOSAN = -fno-sanitize=nonnull-attribute,alignment,pointer-overflow$(if \
            $(findstring clang,$(CC)),$(comma)function)
comma    := ,

CFLAGS_release  = -O2 -g $(HARDEN) $(WARN) $(CSTD)
CFLAGS_test     = $(CFLAGS_release) -DTF_TEST_PROVIDER -DTF_FAULTS
# instrumented code makes gcc guess sizes that cannot be; the plain builds do
# ask for these two
GCC_GUESS       = $(if $(findstring clang,$(CC)),,-Wno-format-truncation \
                  -Wno-maybe-uninitialized)
CFLAGS_asan     = -O1 -g $(SANITIZE) -fPIE $(WARN) $(CSTD) \
                  -DTF_TEST_PROVIDER -DTF_FAULTS $(GCC_GUESS)
CFLAGS_fuzz     = -O1 -g $(SANITIZE) -fsanitize=fuzzer-no-link -fPIE \
                  $(WARN) $(CSTD) -DTF_TEST_PROVIDER

LDFLAGS_release = $(LINK)
LDFLAGS_test    = $(LINK)
LDFLAGS_asan    = $(LINK) $(SANITIZE)
LDFLAGS_fuzz    = $(LINK) $(SANITIZE) -fsanitize=fuzzer

CC_release = $(CC)
CC_test    = $(CC)
CC_asan    = $(CC)
CC_fuzz    = clang

NGX_WARN   = -Wall -Wextra -Wno-unused-parameter -Wno-cast-function-type \
             -Werror
NGX_CC     = -g -O2 -fstack-protector-strong -fPIC -D_FORTIFY_SOURCE=2 \
             $(NGX_WARN)
NGX_LD     = -Wl,-z,relro -Wl,-z,now
NGX_CC_PLAIN = -g -O2 -fstack-protector-strong -fPIC -D_FORTIFY_SOURCE=2 \
             -Wall -Wextra -Wno-unused-parameter -Wno-cast-function-type \
             -DTF_FAULTS
NGX_CC_ASAN = -g -O1 $(SANITIZE) $(NGX_NOSAN) -DNGX_DEBUG_PALLOC=1 \
             -DTF_TEST_PROVIDER -DTF_FAULTS -fPIC
NGX_LD_ASAN = $(SANITIZE) $(NGX_NOSAN)

# nginx's configure takes its C files' flags for everything; the sanitized
# one compiles its core too, so only the module's files get the stricter set
NGX_MAKE    = $(MAKE) --no-print-directory -f objs/Makefile


.PHONY: all test-build asan nginx126 fuzz planted mutants unit check conf \
        bench-build install clean FORCE

all: build/release/trifecta build/release/ngx_http_trifecta_module.so

test-build: build/test/trifecta build/test/ngx_http_trifecta_module.so

asan: build/asan/trifecta build/asan/nginx

nginx126: build/nginx126/nginx

FORCE:


# one variant of the sidecar and its unit tests

# $(1) variant
define SIDECAR_RULES

# changes when the compiler or a flag does
build/$(1)/obj/flags: FORCE
	@mkdir -p $$(@D)
	@echo '$$(CC_$(1)) $$(CFLAGS_$(1)) $$(LDFLAGS_$(1))' | \
	    cmp -s - $$@ || \
	    echo '$$(CC_$(1)) $$(CFLAGS_$(1)) $$(LDFLAGS_$(1))' > $$@

build/$(1)/obj/%.o: %.c build/$(1)/obj/flags
	$$(call say,CC,$(1) $$<)
	@mkdir -p $$(@D)
	$$(Q)$$(CC_$(1)) $$(CFLAGS_$(1)) -MMD -MP -c -o $$@ $$<

build/$(1)/trifecta: $$(SIDECAR:%.c=build/$(1)/obj/%.o)
	$$(call say,LINK,$$@)
	$$(Q)$$(CC_$(1)) $$(LDFLAGS_$(1)) -o $$@ $$^ $$(LIBS)

-include $$(patsubst %.c,build/$(1)/obj/%.d,$$(SIDECAR) $$(UNIT) $$(FUZZ) \
                             $$(MODULE))

endef

$(foreach v,release test asan fuzz,$(eval $(call SIDECAR_RULES,$(v))))


# $(1) variant, $(2) t/unit/x_test.c
define UNIT_RULES

build/$(1)/unit/$(basename $(notdir $(2))): build/$(1)/obj/$(2:.c=.o) \
        $(patsubst %.c,build/$(1)/obj/%.o,$(LINKS_$(2)))
	$$(call say,LINK,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(CC_$(1)) $$(LDFLAGS_$(1)) -o $$@ $$^ $$(LIBS) -lcmocka

$(if $(filter asan,$(1)),asan,test-build): \
        build/$(1)/unit/$(basename $(notdir $(2)))

endef

$(foreach u,$(UNIT) $(FUZZ),$(eval LINKS_$(u) := $(call links,$(u))))
$(foreach v,test asan,$(foreach u,$(UNIT), \
    $(eval $(call UNIT_RULES,$(v),$(u)))))


# what the fault suite puts between programs, and into them

FAULT = build/test/fault/proxy build/test/fault/power.so \
        build/test/fault/clock.so

test-build asan: $(FAULT)

build/test/fault/proxy: $(wildcard t/fault/proxy*.[ch]) build/test/obj/flags
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -g $(WARN) -std=gnu11 -o $@ $(filter %.c,$^)

# not fortified: they define functions that headers would make inline
build/test/fault/%.so: t/fault/%.c build/test/obj/flags
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -g $(WARN) -std=gnu11 -fPIC -shared -o $@ $< -ldl


# what bench/run measures with

bench-build: build/bench/load build/bench/mock

build/bench/load: bench/load/load.c bench/load/http.c bench/load/options.c \
        bench/load/request.c
build/bench/mock: bench/load/mock.c

build/bench/load build/bench/mock: bench/load/load.h
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -g $(WARN) -std=gnu11 -D_GNU_SOURCE -o $@ \
	    $(filter %.c,$^) -lssl -lcrypto


# $(1) t/fuzz/fuzz_x.c
define FUZZ_RULES

build/fuzz/$(basename $(notdir $(1))): build/fuzz/obj/$(1:.c=.o) \
        $(patsubst %.c,build/fuzz/obj/%.o,$(LINKS_$(1)))
	$$(call say,LINK,$$@)
	$$(Q)$$(CC_fuzz) $$(LDFLAGS_fuzz) -o $$@ $$^ $$(LIBS)

fuzz: build/fuzz/$(basename $(notdir $(1)))

endef

$(foreach f,$(FUZZ),$(eval $(call FUZZ_RULES,$(f))))


# the dynamic module: nginx-dev has headers and configure, but neither the
# top Makefile nor nginx's sources, so a copy is configured with the flags
# that Debian configures with and only the module is built

NGX_CC_release = $(NGX_CC)
NGX_CC_test    = $(NGX_CC) -DTF_FAULTS

# $(1) variant
define MODULE_RULES

build/$(1)/nginx.flags: FORCE
	@mkdir -p $$(@D)
	@echo '$$(CC) $$(NGX_CC_$(1)) $$(NGX_LD)' | \
	    cat - $$(NGX_DEV)/conf_flags | cmp -s - $$@ || \
	    echo '$$(CC) $$(NGX_CC_$(1)) $$(NGX_LD)' | \
	    cat - $$(NGX_DEV)/conf_flags > $$@

build/$(1)/nginx/objs/Makefile: config build/$(1)/nginx.flags
	$$(call say,CONFIG,nginx (dynamic module$$(comma) $(1)))
	@rm -rf build/$(1)/nginx && mkdir -p build/$(1)
	@cp -r $$(NGX_DEV) build/$(1)/nginx
	@. $$(NGX_DEV)/conf_flags && cd build/$(1)/nginx && \
	    ./configure "$$$${NGX_CONF_FLAGS[@]}" --with-cc='$$(CC)' \
	        --with-cc-opt='$$(NGX_CC_$(1))' --with-ld-opt='$$(NGX_LD)' \
	        --add-dynamic-module='$$(CURDIR)' > ../configure.log 2>&1 || \
	    { tail -5 ../configure.log >&2; exit 1; }
	@rm -rf build/$(1)/nginx/objs/addon/ngx_module

# nginx's makefile knows only the headers that config names
build/$(1)/nginx/objs/headers: $$(MODULE_H) build/$(1)/nginx/objs/Makefile
	@rm -f build/$(1)/nginx/objs/addon/ngx_module/*.o
	@touch $$@

build/$(1)/ngx_http_trifecta_module.so: $$(MODULE) \
        build/$(1)/nginx/objs/headers build/$(1)/nginx/objs/Makefile
	$$(call say,MODULE,$$@)
	@mkdir -p build/$(1)/nginx/objs/addon/ngx_module
	$$(Q)+cd build/$(1)/nginx && $$(NGX_MAKE) modules $$(if $$(Q),>/dev/null)
	@cp build/$(1)/nginx/objs/ngx_http_trifecta_module.so $$@

endef

$(foreach v,release test,$(eval $(call MODULE_RULES,$(v))))


# nginx with the module inside, from Debian's source: that of the installed
# version, sanitized, and a newer one, plain

# $(1) variant, $(2) what it is, $(3) version for scripts/lib/nginx-source,
# none for the installed one, $(4), $(5) options of compiler and linker
define NGX_RULES

build/$(1)/nginx.flags: FORCE
	@mkdir -p $$(@D)
	@v=$(if $(3),$(3),$$$$(dpkg-query -W -f='$$$${Version}' nginx)); \
	echo "$$$$v"' $$(CC) $$($(4)) $$($(5))' | cmp -s - $$@ || \
	echo "$$$$v"' $$(CC) $$($(4)) $$($(5))' > $$@

build/$(1)/nginx-src/objs/Makefile: config build/$(1)/nginx.flags
	$$(call say,CONFIG,nginx ($(2)))
	@rm -rf build/$(1)/nginx-src && mkdir -p build/$(1)/nginx-src
	@src=$$$$(scripts/lib/nginx-source $(3)) && \
	    cp -r "$$$$src"/. build/$(1)/nginx-src/
	@. $$(NGX_DEV)/conf_flags && cd build/$(1)/nginx-src && \
	    export ASAN_OPTIONS=detect_leaks=0 && \
	    ./configure "$$$${NGX_CONF_FLAGS[@]}" --with-cc='$$(CC)' \
	        --with-cc-opt='$$($(4))' --with-ld-opt='$$($(5))' \
	        --add-module='$$(CURDIR)' > ../configure.log 2>&1 || \
	    { tail -5 ../configure.log >&2; exit 1; }
	@rm -rf build/$(1)/nginx-src/objs/addon/ngx_module

build/$(1)/nginx-src/objs/headers: $$(MODULE_H) \
        build/$(1)/nginx-src/objs/Makefile
	@rm -f build/$(1)/nginx-src/objs/addon/ngx_module/*.o
	@touch $$@

build/$(1)/nginx: $$(MODULE) build/$(1)/nginx-src/objs/headers \
        build/$(1)/nginx-src/objs/Makefile
	$$(call say,NGINX,$$@)
	@mkdir -p build/$(1)/nginx-src/objs/addon/ngx_module
	$$(Q)+cd build/$(1)/nginx-src && $$(NGX_MAKE) binary \
	    $$(if $$(Q),>/dev/null)
	@cp build/$(1)/nginx-src/objs/nginx $$@

endef

$(eval $(call NGX_RULES,asan,static$(comma) sanitized,,NGX_CC_ASAN,NGX_LD_ASAN))
$(eval $(call NGX_RULES,nginx126,1.26$(comma) static,1.26,NGX_CC_PLAIN,NGX_LD))


# one file of each program with an overrun planted in front of it; the rest
# is that of asan

PLANT_SIDECAR = sidecar/queue/job
PLANT_MODULE  = ngx_http_trifecta_job

planted: build/planted/trifecta build/planted/nginx

build/planted/sidecar.o: $(PLANT_SIDECAR).c t/planted/sidecar.h \
        build/asan/obj/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_asan) -include t/planted/sidecar.h -c -o $@ $<

build/planted/trifecta: build/planted/sidecar.o build/asan/trifecta
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_asan) -o $@ $< $(filter-out \
	    build/asan/obj/$(PLANT_SIDECAR).o, \
	    $(SIDECAR:%.c=build/asan/obj/%.o)) $(LIBS)

build/planted/nginx: build/asan/nginx t/planted/module.h
	$(call say,NGINX,$@)
	@rm -rf build/planted/nginx-src && mkdir -p build/planted
	@cp -a build/asan/nginx-src build/planted/
	@rm build/planted/nginx-src/objs/addon/ngx_module/$(PLANT_MODULE).o
	@sed -i 's|^CFLAGS = .*|& -include $(CURDIR)/t/planted/module.h|' \
	    build/planted/nginx-src/objs/Makefile
	$(Q)+cd build/planted/nginx-src && $(NGX_MAKE) binary \
	    $(if $(Q),>/dev/null)
	@cp build/planted/nginx-src/objs/nginx $@


# the program with a mistake in it (t/fault/mutations/NAME): what the mistake
# is in is made anew, the rest is that of build/test.  build/mutant-NAME/files
# is there when its sources are.

MUTATIONS := $(sort $(notdir $(wildcard t/fault/mutations/*)))

# the sources that a mutation changes
mutates = $(filter-out redis.conf,$(shell sed -n 's/^file: //p' \
              t/fault/mutations/$(1)))

# $(1) mutation
define MUTANT_RULES

MUTATES_$(1) := $$(call mutates,$(1))

build/mutant-$(1)/files: t/fault/mutations/$(1) t/fault/mutate \
        $$(MUTATES_$(1))
	$$(call say,MUTATE,$(1))
	@mkdir -p $$(@D)
	@t/fault/mutate $(1) $$(@D)
	@touch $$@

build/mutant-$(1)/obj/%.o: build/mutant-$(1)/files build/test/obj/%.o
	$$(call say,CC,mutant-$(1) $$*.c)
	@mkdir -p $$(@D)
	$$(Q)$$(CC_test) $$(CFLAGS_test) -c -o $$@ build/mutant-$(1)/$$*.c

build/mutant-$(1)/trifecta: build/test/trifecta \
        $$(patsubst %.c,build/mutant-$(1)/obj/%.o, \
            $$(filter %.c,$$(MUTATES_$(1))))
	$$(call say,LINK,$$@)
	$$(Q)$$(CC_test) $$(LDFLAGS_test) -o $$@ \
	    $$(filter build/mutant-$(1)/obj/%,$$^) $$(filter-out \
	    $$(MUTATES_$(1):%.c=build/test/obj/%.o), \
	    $$(SIDECAR:%.c=build/test/obj/%.o)) $$(LIBS)

mutants: build/mutant-$(1)/$$(if $$(filter %.c,$$(MUTATES_$(1))),trifecta,files)

endef

$(foreach m,$(MUTATIONS),$(eval $(call MUTANT_RULES,$(m))))


# running and installing

unit: test-build
	prove $(patsubst t/unit/%.c,build/test/unit/%,$(UNIT))

check: test-build
	CMOCKA_MESSAGE_OUTPUT=TAP \
	TRIFECTA_BIN=$(CURDIR)/build/test/trifecta \
	TRIFECTA_MODULE=$(CURDIR)/build/test/ngx_http_trifecta_module.so \
	prove -It/lib $(patsubst t/unit/%.c,build/test/unit/%,$(UNIT)) $(TESTS)

unit: export CMOCKA_MESSAGE_OUTPUT = TAP

conf: build/test/unit/conf_file_test
	$< --write

install: all
	install -d '$(DESTDIR)$(bindir)' '$(DESTDIR)$(modulesdir)' \
	    '$(DESTDIR)$(datadir)/migrations/redis/trifecta_v1' \
	    '$(DESTDIR)$(datadir)/conf/snippets' '$(DESTDIR)$(docdir)' \
	    '$(DESTDIR)$(datadir)/lib' \
	    '$(DESTDIR)$(sysconfdir)/trifecta'
	install -m 755 build/release/trifecta '$(DESTDIR)$(bindir)/'
	install -m 755 scripts/backup '$(DESTDIR)$(bindir)/trifecta-backup'
	install -m 755 scripts/restore '$(DESTDIR)$(bindir)/trifecta-restore'
	install -m 644 scripts/lib/backup.sh '$(DESTDIR)$(datadir)/lib/'
	install -m 644 build/release/ngx_http_trifecta_module.so \
	    '$(DESTDIR)$(modulesdir)/'
	install -m 644 migrations/*.sql '$(DESTDIR)$(datadir)/migrations/'
	install -m 644 migrations/redis/trifecta_v1/*.lua \
	    '$(DESTDIR)$(datadir)/migrations/redis/trifecta_v1/'
	install -m 644 conf/*.conf '$(DESTDIR)$(datadir)/conf/'
	test '$(NGX_HTTP2)' != 1 || sed -i -f scripts/lib/http2.sed \
	    '$(DESTDIR)$(datadir)/conf/nginx.conf'
	install -m 644 conf/snippets/*.conf \
	    '$(DESTDIR)$(datadir)/conf/snippets/'
	install -m 644 README.md docs/*.md '$(DESTDIR)$(docdir)/'
	test -e '$(DESTDIR)$(sysconfdir)/trifecta/sidecar.conf' || \
	install -m 640 conf/sidecar.conf \
	    '$(DESTDIR)$(sysconfdir)/trifecta/sidecar.conf'

clean:
	@shopt -s extglob nullglob; rm -rf build/!(cache)
