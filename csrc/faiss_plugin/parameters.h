// How deep a search looks into codes, and whether its nprobe is the index's: FAISS's SearchParameters has no
// room for it, so it lives here by address.
#pragma once

#include "index/fork_mutex.h"
#include "index/state.h"

namespace drq::plugin {

/// What protects them; see fork.h.
ForkMutex& parameters_mutex();

void set_parameter_depth(const void* parameters, const Depth& depth);

/// What the parameters name; nothing for those that are not known, or null.
Depth parameter_depth(const void* parameters);

/// Whether an index that assigns queries to lists takes its own nprobe instead of the parameters'.
void leave_nprobe(const void* parameters, bool to_index);
bool leave_nprobe_to_index(const void* parameters);

/// Lets a copy of parameters name what they do.
void copy_parameters(const void* parameters, const void* copy);

void drop_parameters(const void* parameters);

}  // namespace drq::plugin
