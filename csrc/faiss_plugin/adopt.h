// The plug-in as a whole: libfaiss opened, indexes of either class adopted.
#pragma once

#include <map>
#include <string>

#include "faiss_abi/vtable.h"

namespace drq::plugin {

/// Lets our threads follow FAISS's number, and prepares for forks, given any object of FAISS's. Nothing of
/// FAISS is looked into, so this may come before anything else; it has an effect once.
void open_threads(const void* object);

/// Builds our flat class from the installed libfaiss, given any IndexResidualQuantizer. Throws
/// std::runtime_error naming what is not as expected.
void open_plugin(const void* index);

/// Builds the IVF class. Without our scanner, the searches that FAISS makes itself are stock ones.
void open_ivf(bool with_scanner);

/// Whether memory that was allocated here may be freed by libfaiss, and the other way round.
bool shares_allocator(const Library& library);

/// Whether open_plugin was called and found what it looked for.
bool is_open();

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
