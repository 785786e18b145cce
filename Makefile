# wsb. `make` builds, `make help` lists the rest; V=1 shows the commands.
VERSION := 0.1.0
PREFIX  ?= /usr/local
BUILD   ?= build$(if $(SAN),/san)
CC      := $(if $(filter default,$(origin CC)),gcc,$(CC))
MAKEFLAGS  += $(if $(filter 0,$(MAKELEVEL)),-j$(shell nproc))
PKG_CONFIG ?= pkg-config
REVISION   := $(if $(wildcard .git),$(shell git describe --always --dirty 2>/dev/null))
say         = $(if $(V),,@echo "  $@" &&)
again       = --no-print-directory $(if $(V),,-s)

CFLAGS ?= -O2 -g
WARN   := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
          -Wcast-qual -Wwrite-strings -Wvla -Wimplicit-fallthrough -Werror
ifdef SAN
MODE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
export WSB_SAN := 1
else
MODE := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
# With fat objects, which clang learnt to make in 17 only.
LTO  := $(if $(findstring clang,$(CC)),,-flto=auto -ffat-lto-objects)
endif
DEFINES = -D_GNU_SOURCE -Icore -I$(BUILD) $(CPPFLAGS)
COMPILE = $(CC) $(DEFINES) -std=gnu11 $(WARN) -fPIC -fstack-protector-strong $(MODE) $(CFLAGS)
LINK    = -pie -Wl,-z,relro,-z,now $(LDFLAGS)
# Asked only when used: on a bare machine pkg-config arrives with `make demo`.
LUA_CFLAGS  = $(shell $(PKG_CONFIG) --cflags lua5.4)
ENGINE_LIBS = -lev $(shell $(PKG_CONFIG) --libs libssl libcrypto zlib hiredis liburing) -lm
WSB_LIBS    = $(shell $(PKG_CONFIG) --libs lua5.4) $(ENGINE_LIBS)

PROGRAM := $(patsubst %.c,$(BUILD)/%.o,$(wildcard core/*.c core/bind/*.c))
ENGINE  := $(filter-out $(PROGRAM),$(patsubst %.c,$(BUILD)/%.o,$(wildcard core/*/*.c)))
UNIT    := $(patsubst tests/%.c,$(BUILD)/%,$(wildcard tests/unit/*_test.c))
PEERS   := $(patsubst tests/%.c,$(BUILD)/%,$(wildcard tests/peers/echo_*.c))
FUZZ    := $(patsubst tests/%.c,$(BUILD)/%,$(wildcard tests/fuzz/*$(T)*.c))
BENCH   := $(addprefix $(BUILD)/bench/,floor lws sink hotpath)
C_FILES := $(wildcard core/*.[ch] core/*/*.[ch] \
             $(patsubst %,tests/%/*.[ch],unit fuzz peers embed bench bench/*))
TIDY    := $(patsubst %,$(BUILD)/tidy/%,$(filter %.c,$(C_FILES)))
SCRIPTS := $(wildcard lua scripts runbook)
LUA     := tests/run $(shell find $(SCRIPTS) tests -name node_modules -prune -o -name '*.lua' -print)

all: $(BUILD)/wsb $(BUILD)/libwsb.a ## the program and the library (default)

$(BUILD)/wsb: $(PROGRAM) $(BUILD)/engine.a
	$(say) $(COMPILE) $(LTO) $(LINK) -o $@ $^ $(WSB_LIBS)
$(BUILD)/engine.a: $(ENGINE)
	$(say) rm -f $@ && $(AR) rcs $@ $^
# For embedders: one object that shows nothing but wsb_*, so that their buf_free is theirs.
$(BUILD)/libwsb.a: $(ENGINE)
	$(say) $(COMPILE) $(LTO) $(LTO:-flto%=-flinker-output=nolto-rel) -r -o $(@:.a=.o) $^ && \
	  objcopy -w --keep-global-symbol='wsb_*' $(@:.a=.o) && rm -f $@ && $(AR) rcs $@ $(@:.a=.o)
$(PROGRAM): private DEFINES += $(LUA_CFLAGS)
$(PROGRAM) $(ENGINE): | $(BUILD)/version.h
$(BUILD)/core/%.o: core/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(say) $(COMPILE) $(LTO) -MMD -MP -c -o $@ $<
$(BUILD)/unit/%: tests/unit/%.c $(BUILD)/engine.a
	@mkdir -p $(@D)
	$(say) $(COMPILE) -MMD -MP -MF $@.d -MT $@ $(LINK) -o $@ $< $(BUILD)/engine.a -lcmocka $(ENGINE_LIBS)
$(BUILD)/peers/%: tests/peers/messages.c tests/peers/%.c $(BUILD)/engine.a
	@mkdir -p $(@D)
	$(say) $(COMPILE) -MMD -MP -MF $@.d -MT $@ $(LINK) -o $@ $(filter %.c %.a,$^) $(PEER_LIBS) $(ENGINE_LIBS)
$(BUILD)/peers/echo_lws $(BUILD)/bench/lws: PEER_LIBS = -lwebsockets
$(BENCH): $(BUILD)/engine.a
	@mkdir -p $(@D)
	$(say) $(COMPILE) -MMD -MP -MF $@.d -MT $@ $(LINK) -o $@ $(filter %.c,$^) $< $(PEER_LIBS) \
	  $(ENGINE_LIBS)
$(BUILD)/bench/floor: $(addprefix tests/bench/,floor.c beat.c)
$(BUILD)/bench/lws: $(addprefix tests/bench/,peers/lws.c beat.c)
$(BUILD)/bench/hotpath: tests/bench/instructions/hotpath.c
$(BUILD)/bench/sink: tests/bench/sink.c

# Rewritten only when their text changes, so that another compiler or commit rebuilds what depends on it.
$(BUILD)/flags: TEXT = $(COMPILE) $(LTO)
$(BUILD)/version.h: TEXT = \#define WSB_VERSION "$(VERSION)$(REVISION:%=+%)"
$(BUILD)/flags $(BUILD)/version.h: FORCE
	@mkdir -p $(@D)
	@echo '$(TEXT)' | cmp -s - $@ || echo '$(TEXT)' >$@

demo: ## install what is missing, build, run the first experiment
	@.ci/deps build
	@$(MAKE) $(again) all
	$(BUILD)/wsb scripts/backpressure.lua

deps: ## install what demo, test and check need
	@.ci/deps build test check

test: ## the suite, or the files whose path contains T=; SAN=1 with the sanitizers
	@.ci/deps build test
	@$(MAKE) $(again) all $(UNIT) $(PEERS) tests/peers/node_modules
	@WSB=$(BUILD)/wsb tests/run $(BUILD)/unit $(T)

tests/peers/node_modules: tests/peers/package-lock.json
	$(say) cd $(@D) && npm ci --silent --no-audit --no-fund --ignore-scripts && touch node_modules || \
	  echo 'wsb: npm could not fetch tests/peers: what needs it is skipped' >&2

bench: ## wsb beside the socket calls alone and its peers: twenty minutes; QUICK=1, GROWTH=1, ONLY=floor,wsb
	@.ci/deps build test bench
	@$(MAKE) $(again) all $(BENCH)
	@tests/bench/peers/get $(BUILD)/bench
	@$(BUILD)/wsb tests/bench/bench.lua $(if $(QUICK),--quick) $(GROWTH:%=--growth %) \
	  $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS))

COUNT = tests/bench/instructions/run $(1) $(BUILD)/bench/hotpath '$(shell $(CC) --version | head -n 1)' \
          '$(strip $(CFLAGS) $(MODE))'
instructions: $(BUILD)/bench/hotpath
	@$(call COUNT)
baseline: $(BUILD)/bench/hotpath ## keep the instructions of a delivery as what `make check` compares with
	@$(call COUNT,--update)

FUZZ_TIME ?= 20
fuzz: ## the parsers against libFuzzer, FUZZ_TIME=20 seconds each, or those whose name contains T=
	@.ci/deps build check
	@$(MAKE) $(again) $(FUZZ)
	@tests/fuzz/run $(BUILD)/fuzz $(FUZZ_TIME) $(notdir $(FUZZ))
$(BUILD)/fuzz/%: tests/fuzz/%.c tests/fuzz/fuzz.h $(wildcard core/base/* core/wire/*)
	@mkdir -p $(@D)
	$(say) clang $(DEFINES) -std=gnu11 $(WARN) -g -O1 -fsanitize=fuzzer,address,undefined \
	  -fno-sanitize-recover=all -o $@ $(filter %.c,$^) -lcrypto -lz -lm

check: ## layers, format, linters, size limits, instructions of a delivery
	@.ci/deps build test check
	@$(MAKE) $(again) -O -k layers format cppcheck luacheck size $(TIDY)
	@$(MAKE) $(again) instructions

layers:
	@tests/layers.sh
format:
	@clang-format --dry-run -Werror $(C_FILES)
$(BUILD)/tidy/%: % $(wildcard core/*.h core/*/*.h core/*/*.def .clang-tidy tests/.clang-tidy) $(BUILD)/version.h
	@mkdir -p $(@D)
	$(say) clang-tidy --quiet $< -- -std=gnu11 $(DEFINES) $(LUA_CFLAGS) 2>$@.err || \
	  { cat $@.err; exit 1; }
	@touch $@
cppcheck:
	@cppcheck --quiet --error-exitcode=1 --enable=warning,performance,portability --inline-suppr --std=c11 \
	  $(DEFINES) core
luacheck:
	@luacheck --quiet --no-color $(LUA)
	@for file in $(LUA); do luac5.4 -p "$$file" || exit 1; done
size:
	@awk 'FNR == 601 { print FILENAME ": more than 600 lines"; bad = 1 } END { exit bad }' $(C_FILES) $(LUA)

install: TO = $(DESTDIR)$(PREFIX)
install: all ## into DESTDIR/PREFIX
	install -Dm755 -t $(TO)/bin $(BUILD)/wsb
	install -Dm644 -t $(TO)/lib $(BUILD)/libwsb.a
	install -Dm644 -t $(TO)/include core/wsb.h
	install -d $(TO)/lib/pkgconfig $(TO)/share/wsb
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' core/wsb.pc.in >$(TO)/lib/pkgconfig/wsb.pc
	cp -R $(SCRIPTS) $(TO)/share/wsb/
	chmod -R u=rwX,go=rX $(TO)/share/wsb $(TO)/lib/pkgconfig/wsb.pc
uninstall: ## what install put there
	rm -rf $(addprefix $(DESTDIR)$(PREFIX)/,bin/wsb lib/libwsb.a include/wsb.h lib/pkgconfig/wsb.pc share/wsb)
clean: ## what was built
	rm -rf build tests/peers/node_modules tests/bench/peers/node_modules
help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

FORCE:
.DELETE_ON_ERROR:
.PHONY: all demo deps test bench instructions baseline fuzz check layers format cppcheck luacheck size
.PHONY: install uninstall clean help FORCE
-include $(PROGRAM:.o=.d) $(ENGINE:.o=.d) $(UNIT:=.d) $(PEERS:=.d) $(BENCH:=.d)
