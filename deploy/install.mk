# `make install`, `make uninstall`, `make deb`: see docs/install.md.

PREFIX  ?= /usr/local
DESTDIR ?=
PROFILE ?= release
# The folder that cargo builds this profile in: that of `dev` has another name.
BUILT := $(or $(CARGO_TARGET_DIR),target)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
# With PROGRAMS=FOLDER nothing is built: what is in the folder is installed.
PROGRAMS ?= $(BUILT)

.PHONY: install uninstall deb programs

install: programs ## Build the programs and install them: DESTDIR=, PREFIX=, PROFILE=dev, PROGRAMS=
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" deploy/install install "$(PROGRAMS)"

uninstall: ## Remove what `make install` installed; configuration and state stay
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" deploy/install uninstall

deb: programs ## Build a Debian package in target/debian
	@deploy/debian/build "$(PROGRAMS)" target/debian

programs:
ifeq ($(origin PROGRAMS),file)
	$(CARGO) build --locked --profile $(PROFILE) --bins \
		--package countersign-operator --package countersign-control-plane --package countersign-sidecar
endif
