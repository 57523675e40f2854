# Two commands: `make demo` runs the whole line, `make test` all tests. Each sets itself up.

PYTHON := .venv/bin/python

.PHONY: demo test lint fix bench coverage docs package clean

demo:
	@python3 tools/bootstrap.py demo
	@$(PYTHON) -I examples/demo.py

test:
	@python3 tools/bootstrap.py test
	@$(PYTHON) -I tools/run_tests.py

lint:
	@python3 tools/bootstrap.py demo
	@$(PYTHON) -I -m ruff format --check .
	@$(PYTHON) -I -m ruff check .
	@$(PYTHON) -I -m mypy
	@.venv/bin/lint-imports
	@.venv/bin/interrogate --quiet trust launcher signer registry
	@$(PYTHON) -I tools/generate_docs.py --check

fix:
	@$(PYTHON) -I -m ruff format .
	@$(PYTHON) -I -m ruff check --fix .

bench:
	@python3 tools/bootstrap.py test
	@$(PYTHON) -I benchmarks/run.py

coverage:
	@python3 tools/bootstrap.py test
	@rm -f .coverage .coverage.*
	@$(PYTHON) -I tools/run_tests.py --coverage
	@$(PYTHON) -I -m coverage combine --quiet
	@$(PYTHON) -I -m coverage report --skip-covered --sort=cover --fail-under=95
	@$(PYTHON) -I -m coverage report --include='trust/*' --skip-covered --fail-under=99

docs:
	@$(PYTHON) -I tools/generate_docs.py

package:
	@.tools/uv/bin/uv build --quiet --wheel --no-build-isolation --python $(PYTHON) --out-dir dist

clean:
	rm -rf .venv .tools .demo dist
