// Threads: our own pool, sized by the OpenMP runtime that libfaiss calls, and that runtime around a fork.
//
// Which of the libraries called libgomp we would get by linking one depends on what else (PyTorch,
// scikit-learn) was imported first, so libfaiss's own is asked.
#pragma once

#include <string>

#include "core/executor.h"
#include "faiss_abi/vtable.h"

namespace drq::plugin {

/// The process's pool, with as many threads as faiss.omp_set_num_threads says, or as the CPUs that this
/// process may use where no runtime was found. One thread where FAISS calls from a team of its own, which has
/// shared out the work already.
const Executor& executor();

/// What executor() asks whether to stop: throws if so.
void set_interrupt_check(void (*check)());

/// Looks up the runtime that libfaiss calls; it makes no threads.
void open_openmp(const Library& library);

/// The runtime's file, or "none".
const std::string& openmp_library();

/// Before a fork: ends the team of threads that FAISS's loops keep for the calling thread. A child would wait
/// for threads that it does not have. The next loop makes a new team, in parent and child.
void end_openmp_team();

/// In a forked child, where the team could not be ended: FAISS's loops stay on this thread, until
/// faiss.omp_set_num_threads says otherwise.
void avoid_openmp_team();

}  // namespace drq::plugin
