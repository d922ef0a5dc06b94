// Threads: the OpenMP runtime that libfaiss itself is bound to.
//
// Linking an OpenMP runtime ourselves would start a second team of threads beside FAISS's, and which of the
// libraries called libgomp we would get depends on what else (PyTorch, scikit-learn) was imported first.
#pragma once

#include <string>

#include "core/executor.h"
#include "faiss_plugin/vtable.h"

namespace drq::plugin {

/// FAISS's threads, as many as faiss.omp_set_num_threads says. One thread before open_openmp found a runtime,
/// and where FAISS calls from its own threads.
const Executor& executor();

/// Looks up the runtime that libfaiss calls. Without one every loop stays on the calling thread.
void open_openmp(const Library& library);

/// The runtime's file, or "none (serial)".
const std::string& openmp_library();

}  // namespace drq::plugin
