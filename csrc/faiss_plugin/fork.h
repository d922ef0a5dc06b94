// What keeps forked children from waiting for threads that they do not have.
//
// A child has only the thread that forked, and every lock as it was: one that another thread held is held for
// ever. Locks that are held for moments are taken around the fork. An index's own, held while it computes, is
// not waited for: where it was held the child starts with an empty state.
#pragma once

namespace drq::plugin {

/// From now on forks of this process are prepared for; without libfaiss, null, as far as its locks go ours
/// only.
void watch_forks(const class Library* library);

}  // namespace drq::plugin
