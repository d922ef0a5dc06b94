// The plug-in as a whole: libfaiss opened, indexes of either class adopted.
#pragma once

#include <map>
#include <string>

#include "faiss_plugin/vtable.h"

namespace drq::plugin {

/// Builds our classes from the installed libfaiss, given any IndexResidualQuantizer. Throws
/// std::runtime_error naming what is not as expected.
void open_plugin(const void* index);

const Library& library();

/// Where the replaced functions and those called by position were found; the IVF class's are named "ivf.…".
std::map<std::string, size_t> slots();

/// Gives the index our virtual table; one that has it already only loses what was cached about it. Throws
/// std::invalid_argument for another class or a shape that cannot be searched.
void adopt(void* index);

bool is_adopted(const void* index);

/// Why this residual quantizer index cannot be adopted; empty if it can.
std::string why_not(const void* index);

}  // namespace drq::plugin
