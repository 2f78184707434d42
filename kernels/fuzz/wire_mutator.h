// Mutations of protocol buffers that keep them readable. Knows no schema: bytes that read as fields are a message.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wutdet::fuzz {

// Changes one field somewhere in the message: a number, some bytes, left out, doubled, moved, or its own kind. Works in
// place on a buffer of `most` bytes and returns the new size.
std::size_t mutate(std::uint8_t* data, std::size_t size, std::size_t most, unsigned int seed);

// `a` with one of its fields replaced by one of `b` (of the same number where there is any).
std::size_t cross_over(const std::uint8_t* a, std::size_t size_a, const std::uint8_t* b, std::size_t size_b,
                       std::uint8_t* out, std::size_t most, unsigned int seed);

}  // namespace wutdet::fuzz
