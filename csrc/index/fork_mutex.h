// A lock that a forked child can still use.
#pragma once

#include <new>
#include <shared_mutex>

namespace drq {

/// A lock that is never held for long, and taken around forks.
class ForkMutex : public std::shared_mutex {
  public:
    void before_fork() { lock(); }
    void in_parent() { unlock(); }
    void in_child() {
        new (static_cast<std::shared_mutex*>(this)) std::shared_mutex;
    }  // its owner has a new id
};

}  // namespace drq
