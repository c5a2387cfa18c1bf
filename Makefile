# The few words of daily work. Each sets up what it needs, in .venv, and says so.

BIN := .venv/bin

.PHONY: help demo demos test lint unit kafka-tests soak soak-sim search bench format clean venv
.DEFAULT_GOAL := help

help: ## show this
	@echo "make <word>; the words are"
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: venv ## 320 food orders through real processes on a real Kafka, with kill -9 on the way (DEMO_SEED=2: other kills)
	@$(BIN)/python -m services.food_delivery.demo

demo-%: venv ## the demo of services/%, reconciled: demo-order-validation, ... (KILL=1: with kill -9 on the way)
	@$(BIN)/python -m services.$(subst -,_,$*).demo

demos: venv ## every demo in turn, on one Kafka (KILL=1: with kill -9 on the way)
	@$(BIN)/python -m services.demo_kit.every

test: ## every check and test: lint, unit, contract and integration on a real Kafka
	@$(MAKE) --no-print-directory --keep-going lint unit kafka-tests

lint: venv ## style, format, types (mypy and pyright) and the layers
	@.ci/lint

unit: venv ## the tests that need no Kafka: seconds
	$(BIN)/pytest -q tests/unit $(wildcard tests/typing)

kafka-tests: venv ## the tests that need a Kafka: they start one
	$(BIN)/pytest -q $(wildcard tests/contract) tests/integration tests/faults

soak: venv ## every fault at random for MINUTES=10 on three brokers, while commands are counted (SEED=n: as before)
	@$(BIN)/python -m tests.faults.soak $(or $(MINUTES),10) $(SEED)

soak-sim: venv ## 20,000 simulated runs under faults, of sagas and services (SEED=n: that one, told)
	@$(BIN)/python -m tests.soak_simulation $(SEED)

search: venv ## searches and simulations within wider bounds: many minutes
	$(BIN)/pytest -q -m soak tests/unit

bench: venv ## cost, throughput, latency and memory, beside plain aiokafka and FastStream: a quarter of an hour
	@$(BIN)/python -m bench

format: venv ## mend style and formatting in place
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove .venv, caches and what the demo left
	rm -rf .venv .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@.ci/bootstrap
