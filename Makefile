# make demo and make test do everything on a fresh machine; the second time they are quick.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
# Python 3.11 when there is one, because most wheels of torch are found for it; any Python from 3.10 on will do.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Where the plug-in's client has to work too: Debian's own Python, with Debian's zmq and msgpack.
DEBIAN_PACKAGES := python3-zmq python3-msgpack
LOCALE := plugin/adain_style/locale

.PHONY: demo test check audit bench texts release setup debian hosts clean

demo: setup
	@$(BIN)/python docs/demo.py

test: setup debian hosts
	$(BIN)/python -m pytest $(PYTEST_ARGUMENTS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Known holes in what is installed; asks a database in the network.
audit: setup
	$(PYTHON) -m venv build/audit
	build/audit/bin/pip install --quiet pip-audit
	build/audit/bin/pip-audit --path $(VENV)/lib/python3*/site-packages

bench: setup
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/server.py

# The plug-in's texts: what is marked in the sources, for translators, and what they made of it, for gettext. Without
# dates, line numbers and guesses, so that only texts change the files.
texts: setup
	$(BIN)/pybabel -q extract --no-default-keywords --keywords '_ ngettext:1,2' --omit-header --add-location file \
		--width 120 --output $(LOCALE)/adain-style.pot plugin/adain_style
	$(BIN)/pybabel -q update --domain adain-style --input-file $(LOCALE)/adain-style.pot --output-dir $(LOCALE) \
		--no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --width 120
	$(BIN)/pybabel -q compile --domain adain-style --directory $(LOCALE)

# The wheel, and a zip for each host with that wheel in it. Needs a network: libraries for every system are downloaded.
release: setup
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist . || \
		{ echo "make release: the wheel cannot be built; if hatchling was not found, connect to the internet." >&2; exit 1; }
	$(BIN)/adain-plugin zip gimp krita --release dist/adain_style-*.whl --output dist

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(call apt_install,python3-venv)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

debian:
	@$(call apt_install,$(DEBIAN_PACKAGES))

# Real hosts for tests/hosts; what this machine cannot have is said in one line, and those tests are skipped.
hosts:
	@sh tests/hosts/set_up.sh

# Only root may install packages, and only Debian has them; without them the tests say what they skipped.
define apt_install
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s $(1) >/dev/null 2>&1; then \
	apt-get update -qq && apt-get install -qq -y --no-install-recommends $(1) >/dev/null; \
fi
endef

clean:
	rm -rf $(VENV) demo build dist
