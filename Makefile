# Each target does all of its own set-up first; the second time that takes no time.
# The work is in underlay/setup_environment.py; everything it makes lies in .venv-<ROS>/.

PYTHON ?= python3
SETUP := $(PYTHON) underlay/setup_environment.py

.DEFAULT_GOAL := help
.PHONY: help setup model demo test test-all fuzz benchmark lint clean

help: ## Show this text
	@echo "sparse4d_ros: six cameras in, tracked 3-D objects out"
	@echo
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo
	@echo "A sourced ROS distribution is used; elsewhere ROS 2 Jazzy comes from PyPI. Variables:"
	@echo "  ROS_DISTRO_PIP=kilted   the other distribution from PyPI"
	@echo "  PYTHON=python3.12       another interpreter"
	@echo "  ARGS='-k bank'          more arguments for pytest, the demo or the benchmark"
	@echo "  TORCH_INDEX_URL=...     where PyTorch comes from, e.g. https://download.pytorch.org/whl/cpu"

setup: ## Make the environment that the node and the demo need, and name the file to source
	@$(SETUP) --for run

model: ## Make the small model from nothing: drives, training, scores (hours; OUT=folder)
	@$(SETUP) --for test -- $(MAKE) -f config/sparse4d_small.mk $(ARGS)

demo: ## Replay a drive through the node, score it, write pictures to demo_output/
	@$(SETUP) --for run -- python -m sparse4d_ros.node.demo $(ARGS)

test: ## Run the quick tests
	@$(SETUP) --for test -- env SPARSE4D_REQUIRE_ROS=1 python -m pytest $(ARGS)

test-all: ## Run all tests, the slow ones too
	@$(SETUP) --for test -- env SPARSE4D_REQUIRE_ROS=1 python -m pytest -m "" $(ARGS)

benchmark: ## Time engine, backends and node; one table with ratios
	@$(SETUP) --for test -- python -m sparse4d_ros.node.benchmark $(ARGS)

fuzz: ## Give random and damaged input to everything that reads from outside
	@$(SETUP) --for test -- python test/fuzz $(ARGS)

lint: ## Check style (ruff)
	@$(SETUP) --for lint -- ruff check .

clean: ## Remove everything that set-up, tests and demo made
	rm -rf .venv-*/ build install log demo_output fuzz_findings .pytest_cache .ruff_cache .hypothesis *.egg-info
	find sparse4d_ros test underlay launch -name __pycache__ -type d -prune -exec rm -rf {} +
