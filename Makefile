# Everything sets itself up: on a fresh Debian with git, make and python3, `make demo` is enough.
#
#   make demo         mount a bucket of a local, emulated B2 (or your own: see README)
#   make demo-stop    send what is unsent, unmount, end the emulator
#   make test         every test, those on a real mount too
#   make fast         only the tests that need no kernel
#   make lint         ruff and mypy
#   make torture      20 minutes of verified work on mounts that are killed, on a B2 that fails
#   make soak         days of work in half an hour, and whether memory, descriptors or disk space grow
#   make fsx          random operations on one file, each compared with a model; the mount is killed meanwhile
#   make fuzz         hostile bytes at every border, 5 minutes each
#   make stress       all operations at random, from many processes
#   make bench        b2mount and rclone, side by side
#   make map          which module imports which

SHELL := /bin/sh
PYTHON_ENV := .venv/bin/python
# Two files of tests at a time, for many tests wait more than they work. Tests of one file share mounts and stay
# in one process; the files keep their order, so that the last ones are short.
PYTEST := $(PYTHON_ENV) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
RUN_READY := .venv/ready-to-run
TEST_READY := .venv/ready-to-test

.PHONY: demo demo-stop test fast lint torture soak fsx fuzz stress bench map
.DELETE_ON_ERROR:

demo: $(RUN_READY)
	@$(PYTHON_ENV) -m b2mount.cli.demo start

demo-stop: $(RUN_READY)
	@$(PYTHON_ENV) -m b2mount.cli.demo stop

test: $(TEST_READY)
	$(PYTEST)

fast: $(TEST_READY)
	$(PYTEST) -m "not kernel and not clients"

lint: $(TEST_READY)
	$(PYTHON_ENV) -m ruff check .
	$(PYTHON_ENV) -m mypy

torture: $(TEST_READY)
	$(PYTHON_ENV) -m tests.torture --minutes 20

soak: $(TEST_READY)
	$(PYTHON_ENV) -m tests.torture.soak --minutes 30

fsx: $(TEST_READY)
	$(PYTHON_ENV) -m tests.torture.fsx --operations 100000 --mode default --faults
	$(PYTHON_ENV) -m tests.torture.fsx --operations 100000 --mode write-back --faults

fuzz: $(TEST_READY)
	$(PYTHON_ENV) -m pip install --quiet --editable '.[fuzz]'
	$(PYTHON_ENV) -m tests.fuzz all --minutes 5

stress: $(TEST_READY)
	$(PYTHON_ENV) -m tests.torture.stress --minutes 5 --mode default --faults
	$(PYTHON_ENV) -m tests.torture.stress --minutes 5 --mode write-back --faults

bench: $(TEST_READY)
	$(PYTHON_ENV) -m tests.bench

map: $(RUN_READY)
	@$(PYTHON_ENV) .ci/map.py

$(RUN_READY): pyproject.toml .ci/set-up
	@sh .ci/set-up run
	@touch $@

$(TEST_READY): pyproject.toml .ci/set-up
	@sh .ci/set-up test
	@touch $(RUN_READY) $@
