# make report   the whole study at the quick size -> reports/quick/report.html
# make compare  both architectures and two recipes with three seeds -> reports/seeds/report.html, half an hour
# make study    the study at its own length, 80,000 pairs -> reports/study/report.html; trains for hours what is not committed yet
# make test     every test, the notebooks among them, on all cores
# make test-fast   the quick ones of them, for while one edits: a minute on two cores
# make lab-test    all notebooks on their defaults in JupyterLab, in Chromium, as a person opens and runs them: six minutes
# make format   puts the code in the house's form (ruff), and tells what it cannot mend
# make install  sets up .venv, and no more
# make lab      JupyterLab on localhost, on copies of the notebooks; ARGS="--port 8899" for arguments of its own
# make notebooks   execute the notebooks in place on their defaults, as they are committed, with every run trained anew
# make faults   trainings killed 120 times, stopped, starved and damaged, and one of 20,000 steps: a table; half an hour
# make constraints   the newest versions of all packages -> tests/constraints.txt
# make oldest        the tests with the oldest versions that pyproject.toml allows
# make audit         known vulnerabilities of the versions there
# Each but constraints and oldest sets up what it needs in .venv first, in the versions of tests/constraints.txt. PYTHON=/path/to/python3 chooses
# the interpreter; CONSTRAINTS= (empty) takes the newest versions, where those cannot be had for it.

VENV := .venv
CONSTRAINTS := tests/constraints.txt
RUN := $(VENV)/bin/python -m
INSTALLED := $(CURDIR)|$(CONSTRAINTS)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export JUPYTER_PATH := $(CURDIR)/ganlib/lab$(JUPYTER_PATH:%=:%)

report: $(VENV)/installed
	@$(RUN) ganlib.report quick

install: $(VENV)/installed
	@echo "Installed. Next: make report; or, for the command ganlib in this terminal, source $(VENV)/bin/activate"

compare: $(VENV)/installed
	@$(RUN) ganlib.report seeds

study: $(VENV)/installed
	@$(RUN) ganlib.report study

test: export PYTHONUTF8 := 1
test: $(VENV)/installed
	@$(RUN) ruff check --quiet && $(RUN) ruff format --check --quiet ganlib tests || \
	  { echo "ruff: see above, or \`make format\`"; exit 1; }
	@$(RUN) pytest -n auto --nbval --nbval-current-env --nbval-sanitize-with tests/nbval.cfg \
	  tests notebooks

test-fast: $(VENV)/installed
	@$(RUN) pytest -n auto -m "not slow" -q tests

lab-test: $(VENV)/installed
	@GANLIB_LAB_ALL=1 $(RUN) pytest -q -rs --durations=0 --durations-min=5 tests/test_jupyterlab.py

format: $(VENV)/installed
	@$(RUN) ruff check --fix && $(RUN) ruff format ganlib tests

faults: $(VENV)/installed
	@$(VENV)/bin/python tests/faults.py

lab: $(VENV)/installed
	@$(RUN) ganlib.lab $(ARGS)

# With one thread, as the tests run them: the numbers that they print are the same on any number of cores.
notebooks: export OMP_NUM_THREADS := 1
notebooks: $(VENV)/installed
	@home=$$(mktemp -d) && GANLIB_HOME=$$home $(RUN) nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False notebooks/*.ipynb; \
	status=$$?; rm -rf "$$home"; exit $$status

# The newest versions of everything, for the next commit: run the tests with them before.
constraints:
	@$(FIND_PYTHON); rm -rf $(VENV)/newest; $$python -m venv $(VENV)/newest && \
	$(VENV)/newest/bin/python -m pip install --quiet --editable '.[hub,dask,heif,onnx,tensorboard]' && \
	{ echo "# What was tested: every package with $$($$python --version) on Linux, by \`make constraints\`. make installs these versions."; \
	  $(VENV)/newest/bin/python -m pip freeze --exclude-editable --exclude setuptools; } > $(VENV)/newest/constraints.txt && \
	mv $(VENV)/newest/constraints.txt tests/constraints.txt; status=$$?; rm -rf $(VENV)/newest; exit $$status

# Not what notebooks print to the letter: that is of the versions in the constraints. uv asks its own settings where packages come from.
oldest:
	@$(FIND_PYTHON); echo "Installing the oldest versions for $$($$python --version) into $(VENV)/oldest"; rm -rf $(VENV)/oldest; \
	$$python -m venv $(VENV)/oldest && $(VENV)/oldest/bin/python -m pip install --quiet uv && \
	$(VENV)/oldest/bin/uv pip install --quiet --python $(VENV)/oldest --resolution lowest-direct --only-binary :all: \
	  --requirements pyproject.toml --all-extras && \
	$(VENV)/oldest/bin/python -m pip install --quiet --no-deps --editable . && \
	$(VENV)/oldest/bin/python -m pytest tests --deselect tests/test_notebooks.py::test_committed_numbers_are_what_a_run_gives && \
	rm -rf $(VENV)/oldest

# Known vulnerabilities of these versions; asks the package index.
audit: $(VENV)/installed
	@$(RUN) venv $(VENV)/audit && $(VENV)/audit/bin/python -m pip install --quiet pip-audit
	@$(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement tests/constraints.txt

# Anew when pyproject.toml or the constraints have changed, others are asked for, or the folder has been moved (an editable install holds
# its place).
$(VENV)/installed: pyproject.toml $(CONSTRAINTS) $(if $(filter $(INSTALLED),$(shell cat $(VENV)/installed 2>/dev/null)),,moved)
	@$(FIND_PYTHON); \
	echo "Installing into $(VENV) with $$($$python --version): torch and the notebook tools, some minutes the first time"; \
	rm -f $@; $$python -m venv $(VENV) && $(RUN) pip install --quiet $(or $(CONSTRAINTS:%=--constraint %),--upgrade --upgrade-strategy eager) --editable '.[hub,dask,heif,onnx,tensorboard]' && echo "$(INSTALLED)" > $@

define FIND_PYTHON
python=; for p in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$$p && break; done; \
if [ -z "$$python" ]; then \
  echo "ganlib needs Python 3.11 or newer, and found none ($$(python3 --version 2>&1 | head -n 1)): install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; fi; \
if ! $$python -c 'import venv, ensurepip' 2>/dev/null; then \
  echo "ganlib needs Python's venv module, and $$python has none: install it (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; fi
endef

moved:

.PHONY: install report compare study test test-fast lab-test faults lab notebooks constraints oldest audit moved
