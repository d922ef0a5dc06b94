// Python's global interpreter lock, given up and taken back where C++ frames may be on the stack.
//
// When the interpreter ends, Python up to 3.13 ends every other thread that wants the lock by unwinding its
// stack. Unwinding through a destructor ends the process, and destructors on the way would use Python without
// the lock. Such threads are parked here instead: the process is about to end.
#pragma once

#include <cxxabi.h>
#include <pybind11/pybind11.h>
#include <unistd.h>

namespace drq {

/// Calls f(), which may wait for the lock; never returns where Python ends the thread.
template <class F>
auto or_park(const F& f) -> decltype(f()) {
    try {
        return f();
    } catch (abi::__forced_unwind&) {
        for (;;) pause();
    }
}

/// Without the lock: for calls that compute, or wait for a thread that does. Usable as a pybind11 call guard.
class Unlocked {
  public:
    Unlocked() : thread_(PyEval_SaveThread()) {}
    ~Unlocked() {
        or_park([this] { PyEval_RestoreThread(thread_); });
    }
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;

  private:
    PyThreadState* thread_;
};

/// With the lock, in any thread, whether it has it or not.
class Locked {
  public:
    Locked() : state_(or_park([] { return PyGILState_Ensure(); })) {}
    ~Locked() { PyGILState_Release(state_); }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;

  private:
    PyGILState_STATE state_;
};

/// Lets Python handle signals, as between two of its own instructions; whether a handler raised.
inline bool handle_signals() {
    const Locked gil;
    return or_park([] { return PyErr_CheckSignals(); }) != 0;
}

}  // namespace drq
