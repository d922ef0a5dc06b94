// `levels` of search parameters: FAISS's SearchParameters has no room for it, so it lives here by address.
#pragma once

#include <cstddef>

#include "index/fork_mutex.h"

namespace drq::plugin {

/// What protects them; see fork.h.
ForkMutex& parameters_mutex();

void set_parameter_levels(const void* parameters, size_t levels);
void drop_parameter_levels(const void* parameters);

/// 0 if the parameters name none.
size_t parameter_levels(const void* parameters);

}  // namespace drq::plugin
