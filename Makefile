# make report   the whole study at the quick size -> reports/quick/report.html
# make compare  both architectures and recipes with three seeds -> reports/seeds/report.html, half an hour
# make test     every test, the notebooks among them
# make lab      JupyterLab on localhost
# make notebooks   execute the notebooks in place on their defaults, as they are committed
# Each sets up what it needs in .venv first. PYTHON=/path/to/python3 chooses the interpreter.

VENV := .venv
RUN := $(VENV)/bin/python -m
export PIP_DISABLE_PIP_VERSION_CHECK := 1

report: $(VENV)/installed
	@$(RUN) ganlib.report quick

compare: $(VENV)/installed
	@$(RUN) ganlib.report seeds

test: $(VENV)/installed
	@$(RUN) pytest --nbval --nbval-current-env --nbval-sanitize-with tests/nbval.cfg tests notebooks

lab: $(VENV)/installed
	@$(RUN) jupyterlab --ip 127.0.0.1 notebooks

notebooks: $(VENV)/installed
	@$(RUN) nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False notebooks/*.ipynb

# Anew when pyproject.toml has changed or the folder has been moved (an editable install holds its place).
$(VENV)/installed: pyproject.toml $(if $(filter $(CURDIR),$(shell cat $(VENV)/installed 2>/dev/null)),,moved)
	@python=; for p in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$$p && break; done; \
	if [ -z "$$python" ]; then \
	  echo "ganlib needs Python 3.11 or newer, and found none ($$(python3 --version 2>&1 | head -n 1)): install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; fi; \
	if ! $$python -c 'import venv, ensurepip' 2>/dev/null; then \
	  echo "ganlib needs Python's venv module, and $$python has none: install it (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; fi; \
	echo "Installing into $(VENV) with $$($$python --version): torch and the notebook tools, some minutes the first time"; \
	rm -f $@; $$python -m venv $(VENV) && $(RUN) pip install --quiet --editable '.[hub,dask]' && echo "$(CURDIR)" > $@

moved:

.PHONY: report compare test lab notebooks moved
