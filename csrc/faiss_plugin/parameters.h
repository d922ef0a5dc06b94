// How deep a search looks into codes: FAISS's SearchParameters has no room for it, so it lives here by
// address.
#pragma once

#include "index/fork_mutex.h"
#include "index/state.h"

namespace drq::plugin {

/// What protects them; see fork.h.
ForkMutex& parameters_mutex();

void set_parameter_depth(const void* parameters, const Depth& depth);
void drop_parameter_depth(const void* parameters);

/// What the parameters name; nothing for those that are not known, or null.
Depth parameter_depth(const void* parameters);

}  // namespace drq::plugin
