// IndexIVFDRQ: faiss::IndexIVFResidualQuantizer with our search, encoder and trainer in its virtual table.
#pragma once

#include <map>
#include <string>

#include "faiss_abi/vtable.h"

namespace drq::plugin {

/// Builds the class from the installed libfaiss, once. Throws std::runtime_error naming what is not as
/// expected. Without our scanner, FAISS's own scans the lists where FAISS does so itself.
void open_ivf_class(const Library& library, bool with_scanner);

bool has_ivf_class();

/// Must have been opened.
const OverriddenClass& ivf_class();

/// Where the replaced functions were found.
std::map<std::string, size_t> ivf_slots();

/// Why this IndexIVFResidualQuantizer cannot be adopted; empty if it can.
std::string why_not_ivf(const void* index);

/// Gives an index of the stock class our functions.
void adopt_ivf(void* index);

}  // namespace drq::plugin
