# Longshore: set-up, checks, demo and installation. `make help` lists the targets.

PYTHON ?= python3
PREFIX ?= /usr
DESTDIR ?=

venv := .venv
bin := $(venv)/bin
pip := $(CURDIR)/$(bin)/python -m pip --disable-pip-version-check --no-input
protos := $(shell find protos -name '*.proto' 2>/dev/null)

# Debian package = sign that it is there (see bench/lab/debian.sh).
venv_packages := python3-venv=/usr/lib/python3*/ensurepip/__init__.py
lab_packages := containerd=containerd runc=runc crun=crun rabbitmq-server=rabbitmq-server \
	nftables=nft libnftables1=/usr/lib/*/libnftables.so.1 busybox-static=/bin/busybox \
	iproute2=ip strace=strace docker-registry=docker-registry skopeo=skopeo umoci=umoci \
	buildah=buildah catatonit=catatonit tini=tini-static dropbear-bin=dropbear openssh-client=ssh tzdata=/usr/share/zoneinfo/Etc/UTC \
	btrfs-progs=mkfs.btrfs xfsprogs=mkfs.xfs

pytest := $(bin)/python -m pytest
# Thousands of tests kill real daemons at real moments: a few that failed are run once more, alone,
# and named for whoever looks at the log. More than a few, or the same ones again, is a failure.
again = { test $$? -eq 1 && printf '\n=== once more, alone: what failed\n' && \
	$(pytest) --last-failed --last-failed-no-failures none -rA -v; }

export PIP_ROOT_USER_ACTION := ignore
export PYTHONDONTWRITEBYTECODE := 1

# $(call step,NAME,COMMAND): says which step runs and how long it took.
define step
@printf '\n=== %s\n' '$(1)'; start=$$(date +%s); \
if $(2); then printf '=== %s: %d s\n' '$(1)' $$(($$(date +%s) - start)); \
else code=$$?; printf '=== %s: failed (%d) after %d s\n' '$(1)' $$code $$(($$(date +%s) - start)) >&2; exit $$code; fi
endef

.PHONY: help setup test test-long demo demo-stop readme fields verbs install config-sample clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:
	@echo 'make setup          Debian packages and .venv; only what is missing'
	@echo 'make test           every check: format, lint, types, tests (root, about ten minutes)'
	@echo 'make test-long      what takes minutes: floods, and thousands of calls'
	@echo 'make demo           the main job on private neighbours; KEEP=1 leaves it running'
	@echo 'make demo-stop      ends and removes what KEEP=1, or a killed demo, left'
	@echo 'make install        DESTDIR=$(DESTDIR) PREFIX=$(PREFIX): package, commands, systemd files'
	@echo 'make readme         writes the generated parts of README.md'
	@echo 'make fields         writes tests/FIELDS.md: every field of a spec, and what proves it'
	@echo 'make verbs          writes tests/VERBS.md: every verb in every state, over both doors'
	@echo 'make config-sample  writes systemd/longshore.conf.sample from the option declarations'
	@echo 'make clean          removes what these targets made in this folder'

setup: .setup/lab .setup/stubs

test: setup .setup/openstack/ready
	$(call step,format,$(bin)/ruff format --check)
	$(call step,lint,$(bin)/ruff check)
	$(call step,types,$(bin)/mypy)
	# Hundreds of agents are started, each a tenth faster from compiled files. loadfile: with
	# worksteal one worker has all of e2e and comes near the 1,024 descriptors that select can.
	$(call step,tests,$(bin)/python -m compileall -q agent/longshore && \
		{ $(pytest) -n 2 --dist loadfile --maxfail 4 || $(again); })

test-long: setup
	$(call step,long tests,$(pytest) tests/long -rA)

demo: setup
	@$(bin)/python -m bench.demo $(if $(KEEP),--keep)

demo-stop: setup
	@$(bin)/python -m bench.demo --stop

readme: setup
	$(call step,readme,$(bin)/python -m bench.readme)

fields: setup
	$(call step,fields,PYTHONPATH=tests $(bin)/python -m fields.table)

verbs: setup
	$(call step,verbs,PYTHONPATH=tests $(bin)/python -m verbs.page)

config-sample: setup
	$(call step,config sample,$(bin)/longshore-agent --print-config-sample > systemd/longshore.conf.sample)

install: .setup/stubs
	$(call step,wheel,rm -rf build && $(pip) wheel -qq --no-deps --no-build-isolation -w build .)
	$(call step,environment,$(PYTHON) -m venv --without-pip build/environment)
	$(call step,packages,$(pip) --python build/environment/bin/python install -qq --no-compile \
		-c constraints.txt build/longshore-*.whl)
	$(call step,files,sh systemd/install.sh '$(CURDIR)/build/environment' '$(abspath $(DESTDIR))' '$(PREFIX)')

clean:
	rm -rf .setup .demo $(venv) build dist agent/longshore/pb .mypy_cache .ruff_cache
	find agent bench tests -name __pycache__ -type d -prune -exec rm -rf {} +

.setup/lab: bench/lab/debian.sh Makefile
	$(call step,Debian packages,sh bench/lab/debian.sh $(lab_packages))
	@mkdir -p .setup && touch $@

# Build requirements come first, at their pins: an isolated build would fetch its own, newer ones.
.setup/venv: pyproject.toml constraints.txt bench/lab/debian.sh
	$(call step,python3-venv,$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		sh bench/lab/debian.sh $(venv_packages))
	$(call step,virtual environment,test -x $(bin)/python || $(PYTHON) -m venv $(venv))
	$(call step,build requirements,$(pip) install -qq -c constraints.txt \
		hatchling grpcio-tools googleapis-common-protos)
	$(call step,package,$(pip) install -qq --no-build-isolation -c constraints.txt -e '.[dev]')
	@mkdir -p .setup && touch $@

# Keystone and Glance for the tests: their pins are not the agent's.
.setup/openstack/ready: bench/lab/openstack-constraints.txt bench/lab/debian.sh .setup/venv
	$(call step,OpenStack services,$(PYTHON) -m venv .setup/openstack && \
		.setup/openstack/bin/python -m pip --disable-pip-version-check --no-input install -qq \
		-c bench/lab/openstack-constraints.txt cheroot glance keystone python-openstackclient)
	@touch $@

.setup/stubs: .setup/venv agent/hatch_build.py $(protos)
	$(call step,stubs,$(bin)/python agent/hatch_build.py)
	@mkdir -p .setup && touch $@
