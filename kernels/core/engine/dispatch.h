// Which kernels run: chosen once by what the processor can do, or by the environment variable WUTDET_ISA.
#pragma once

#include <string>
#include <vector>

#include "core/engine/conv_kernels.h"

namespace wutdet::engine {

// The best kernels of this processor, or those that WUTDET_ISA names. Throws std::invalid_argument if it names kernels
// that are unknown, not built in, or beyond this processor.
const ConvKernels& chosen_kernels();

// Kernels by name; the same errors.
const ConvKernels& kernels_named(const std::string& name);

// Names that this processor can run, best first.
std::vector<std::string> available_isas();

}  // namespace wutdet::engine
