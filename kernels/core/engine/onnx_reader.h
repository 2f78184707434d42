// ONNX files as graphs. The file is not trusted: whatever is in it, the result is a valid Graph or a ModelFault, and
// memory stays within a small multiple of the file's size.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/engine/graph.h"

namespace wutdet::engine {

inline constexpr std::int64_t kLowestOpset = 13, kHighestOpset = 22;
inline constexpr const char* kLowbitDomain = "wutdet.lowbit";
inline constexpr std::int64_t kLowbitVersion = 1;

// The graph of a file in memory; everything is copied. Inputs have fixed sizes; every name is defined once, before it
// is used; no external data, no subgraphs. Bodies of functions are not read: a call is known by its name, or refused
// by `prepare`. Whether operators exist is not looked at here.
Graph read_onnx(const std::uint8_t* data, std::size_t size, const Limits& limits = {});

}  // namespace wutdet::engine
