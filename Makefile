# `make help` lists the targets. Everything happens in .venv, which is made when it is missing or the lock changes.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Installed first and alone: on Linux, name the build for your GPU here, such as TORCH="torch==2.13.0 --index-url ..."
TORCH ?= torch==2.13.0
VENV := .venv
READY := $(VENV)/.ready
PEER := $(VENV)/.peer
NOISE2VOID := .n2v/.ready
NGIO := .ngio/.ready
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help setup demo test test-plates test-faults test-slurm test-kills fuzz check unit lock config bench bench-memory bench-bbbc013 \
	bench-plan bench-ingest bench-montage bench-restoration bench-restoration-proof bench-slurm bench-training bench-finetune bench-models train train-restoration \
	gpu-test gpu-bench gpu-bench-training gpu-train gpu-train-restoration clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY)  ## make the virtual environment and install everything

$(READY): envs/cpu.lock.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet $(TORCH)
	$(VENV)/bin/python -m pip install --quiet --require-hashes -r envs/cpu.lock.txt
	$(VENV)/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

$(PEER): $(READY) envs/peer.txt
	$(VENV)/bin/python -m pip install --quiet --no-deps -r envs/peer.txt
	touch $@

$(NOISE2VOID): envs/noise2void.txt
	$(PYTHON) -m venv .n2v
	.n2v/bin/python -m pip install --quiet $(TORCH)
	.n2v/bin/python -m pip install --quiet -r envs/noise2void.txt
	.n2v/bin/python -m pip install --quiet --no-deps careamics==0.3.5 torchvision==0.28.0
	touch $@

$(NGIO): envs/ngio.txt
	$(PYTHON) -m venv .ngio
	.ngio/bin/python -m pip install --quiet -r envs/ngio.txt
	touch $@

demo: $(READY)  ## draw a small screening plate, run the whole workflow on it, and tell how good it was
	wellpose synthesize demo --plate demo
	snakemake --config plates=demo/plates.tsv results=demo/results
	wellpose summary demo/results/demo --truth demo/truth.ome.zarr

# Each worker computes with one thread; tests of one file stay with one worker, which makes their fixtures once. A whole
# plate takes longest, so it comes first.
WORKERS ?= 2
WORKED = OMP_NUM_THREADS=1 pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
TESTS := tests/plate $(filter-out tests/plate/,$(wildcard tests/*/ tests/test_*.py))
test: check $(PEER)  ## lint, types and all tests but the next three, kills and 1,000 damaged plates of each format (about a quarter of an hour)
	$(WORKED) $(TESTS)

test-plates: $(READY)  ## plates of many kinds through the whole workflow (about ten minutes)
	$(WORKED) -m plate tests/plate

test-faults: $(READY)  ## kill commits before every one of their file operations (about two minutes)
	pytest -m faults tests/unit/io/test_faults.py

test-slurm: $(READY)  ## as root: start a SLURM on this machine, disturb jobs on it in every way (about half an hour)
	pytest -m slurm tests/slurm

test-kills: $(READY)  ## kill -9 of jobs at random moments, 30 times, each followed by a rerun (about a quarter of an hour)
	python tests/slurm/kills.py

fuzz: $(READY)  ## read 1,000 damaged plates of each raw format, and count what came of them (about five minutes)
	pytest -m fuzz tests/fuzz

check: $(READY)  ## lint and types
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	mypy

unit: $(READY)  ## the quick tests only
	pytest tests/unit

config: $(READY)  ## write config/config.yaml, its schema and config/README.md anew from the settings
	wellpose schema

lock: $(READY)  ## resolve envs/*.lock.txt anew (torch stays out of the CPU lock: its build is yours to choose)
	python envs/lock.py

bench: $(PEER)  ## image to labels against cellpose 3.1.1.2, taking turns (about 20 minutes on two cores)
	python tests/bench/segmentation.py

bench-memory: $(READY)  ## memory and time for images of up to 16,384 x 16,384 pixels, from Zarr to labels in Zarr
	python tests/bench/memory.py

bench-restoration: $(PEER)  ## restored images against cellpose 3.1.1.2, and memory for 16,384 x 16,384 pixels
	python tests/bench/restoration.py

bench-bbbc013: $(READY)  ## the real plate BBBC013 end to end: counts, Z', time, memory (needs the shared data)
	python tests/bench/bbbc013.py

bench-plan: $(READY)  ## how long a dry run of 1, 20 and 100 plates of 384 wells takes
	python tests/bench/plan.py

bench-ingest: $(READY) $(NGIO)  ## what ingest costs: against the least it can cost, and against ngio (2 GB on disk, minutes)
	python tests/bench/ingest.py

bench-montage: $(READY)  ## wells put together from 9, 36 and 100 fields: peak memory and speed (12 GB on disk, minutes)
	python tests/bench/montage.py

bench-slurm: $(READY)  ## as root: what SLURM and Snakemake add to the work on 96 wells (starts a SLURM)
	python tests/bench/overhead.py

bench-training: $(PEER)  ## one training step against cellpose 3.1.1.2's own, taking turns
	python tests/bench/training.py

bench-finetune: $(READY)  ## what five images of a new type and five minutes bring (needs the shared data)
	python tests/bench/finetune.py

WELLPOSE_1 := docs/models/wellpose-1
JUDGE := wellpose evaluate --config docs/models/sets.yaml --overwrite
bench-models: $(READY)  ## the shipped models on images nobody trained on; tables and plots under docs/models
	$(JUDGE) --diameter true --out .training/true --weights wellpose-1 starter_nuclei
	$(JUDGE) --diameter estimate --out .training/estimate --weights wellpose-1
	for diameter in true estimate; do \
	    cp .training/$$diameter/summary.csv $(WELLPOSE_1)/$$diameter-diameter.csv && \
	    cp .training/$$diameter/evaluation.png $(WELLPOSE_1)/$$diameter-diameter.png || exit 1; \
	done

# RESTORERS: names or files; the first is the one in the pictures. PROOF_IMAGES: of each set, for all methods alike.
RESTORERS ?= wellpose-oneclick-1 wellpose-denoise-1
PROOF_IMAGES ?= 20
PROOF := .training/restoration-proof
TRIED := --config docs/restoration/sets.yaml --images $(PROOF_IMAGES)
bench-restoration-proof: $(READY) $(NOISE2VOID)  ## do restored images help segmentation? tables and pictures of docs/restoration.md (hours)
	PYTHONPATH=. python tests/bench/selfsupervised.py $(TRIED) --out $(PROOF)/selfsupervised.csv
	wellpose evaluate-restoration $(TRIED) --weights $(RESTORERS) --more $(PROOF)/selfsupervised.csv --out $(PROOF) --overwrite
	PYTHONPATH=. python tests/bench/real_noise.py --weights $(firstword $(RESTORERS))
	python tests/bench/restoration_document.py $(PROOF)

train: $(READY)  ## train wellpose-1 as docs/models/wellpose-1 says: three and a half hours, and the sixth part, four minutes on a GPU or ten hours (shared data; goes on after a kill)
	for part in first second third fourth fifth sixth; do \
	    wellpose train --config $(WELLPOSE_1)/$$part/training.yaml --out .training/wellpose-1-$$part || exit 1; \
	done
	wellpose train --config $(WELLPOSE_1)/seventh/training.yaml --out .training/wellpose-1

RESTORING := wellpose-oneclick-1 wellpose-denoise-1
train-restoration: $(READY)  ## train the networks that restore images as docs/models says: four minutes on a GPU, or hours (shared data; goes on after a kill)
	for name in $(RESTORING); do \
	    wellpose train-restoration --config docs/models/$$name/first/training.yaml --out .training/$$name-first && \
	    wellpose train-restoration --config docs/models/$$name/second/training.yaml --out .training/$$name || exit 1; \
	done

# On a machine with a GPU, whose own Python has torch for it and the packages of envs/gpu.lock.txt and envs/peer.txt.
GPU_PYTHON ?= python3

gpu-test:  ## on a GPU: it gives the labels that the processor gives
	PYTHONPATH=. $(GPU_PYTHON) -m pytest tests/unit/flows/test_device.py tests/unit/test_gpu.py

gpu-bench:  ## on a GPU: image to labels against cellpose 3.1.1.2 on the same GPU; results under tests/bench/results
	PYTHONPATH=. $(GPU_PYTHON) tests/bench/segmentation.py --rounds 5

# WELLPOSE_SHARED: the folder above data/. One call learns for GPU_MINUTES from START on, and leaves the weights, a model card,
# tables and the curve in GPU_OUT; a later call goes on with START=<that folder>/wellpose-1.safetensors.
GPU_OUT ?= .training/gpu/wellpose-1
GPU_MINUTES ?= 8
START ?= wellpose-1

gpu-train:  ## on a GPU: train wellpose-1 further, as its sixth part says
	PYTHONPATH=. $(GPU_PYTHON) -m pipeline_lib train --config $(WELLPOSE_1)/sixth/training.yaml --out $(GPU_OUT) \
	    --start $(START) --steps 1000000 --minutes $(GPU_MINUTES)

gpu-bench-training:  ## on a GPU: one training step against cellpose's, and how long it waits for images
	PYTHONPATH=. $(GPU_PYTHON) tests/bench/training.py --batch 32 --rounds 3 --steps 8

# As above, GPU_MINUTES for each network. GPU_RESTORERS: the folder that gets a folder for each. RESTORERS_START: the folder of
# an earlier call, to go on from; empty: from the shipped ones. FROZEN: the network they restore for.
GPU_RESTORERS ?= .training/gpu
RESTORERS_START ?=
FROZEN ?= wellpose-1

gpu-train-restoration:  ## on a GPU: train the networks that restore images further, as their first parts say
	for name in $(RESTORING); do \
	    PYTHONPATH=. $(GPU_PYTHON) -m pipeline_lib train-restoration --config docs/models/$$name/first/training.yaml \
	        --out $(GPU_RESTORERS)/$$name --frozen $(FROZEN) --steps 1000000 --minutes $(GPU_MINUTES) \
	        --start $(if $(RESTORERS_START),$(RESTORERS_START)/$$name/$$name.safetensors,$$name) || exit 1; \
	done

clean:  ## remove the demo and all caches
	rm -rf demo .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis
