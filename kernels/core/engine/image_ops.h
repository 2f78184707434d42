// What is done to images besides convolutions: rows of one or two images to rows of another. Views are as in conv.h;
// `first` and `last` are rows of the output. Results do not depend on how rows are shared out.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/engine/conv.h"

namespace wutdet::engine {

struct Border;
struct FloatFunctions;
struct Window;

// Sets the border pixels left and right of rows [first, last) of `image`; with row 0 those above, with the last row
// those below. `value` is a byte, or 0 for floats; `size` is that of a channel.
void fill_border(const View& image, const Border& border, std::size_t size, int value, int first, int last);

// Bytes through a table of 256, or the channels as they are (`size` bytes each) where the table is null.
void map_rows(const View& in, const View& out, const std::uint8_t* table, std::size_t size, int first, int last);

void add_bytes(const View& a, const View& b, const View& out, const ConvSpec::Mix& mix, const FloatFunctions& floats,
               int first, int last);
void add_floats(const View& a, const View& b, const View& out, int first, int last);

// What lies outside is not looked at.
void max_pool_bytes(const View& in, const View& out, const Window& window, int first, int last);
void max_pool_floats(const View& in, const View& out, const Window& window, int first, int last);

// Every pixel `window.height` times `window.width` times.
void upsample(const View& in, const View& out, const Window& window, std::size_t size, int first, int last);

// (q - zero) * scale
void widen(const View& in, const View& out, float scale, int zero, int first, int last);
void quantise(const View& in, const View& out, float scale, int zero, const FloatFunctions& floats, int first, int last);

// Between images and dense tensors [channels, height, width], whose channels begin `plane` values apart where images go
// into them. Bytes are quantised or widened on the way where the other side has floats.
void floats_from_dense(const float* in, const View& out, int first, int last);
void bytes_from_dense(const float* in, const View& out, float scale, int zero, const FloatFunctions& floats, int first,
                      int last);
void bytes_from_dense(const std::uint8_t* in, const View& out, int first, int last);
void dense_from_floats(const View& in, float* out, std::size_t plane, const FloatFunctions& floats, int first, int last);
void dense_from_bytes(const View& in, float* out, std::size_t plane, float scale, int zero, const FloatFunctions& floats,
                      int first, int last);
void dense_bytes(const View& in, std::uint8_t* out, std::size_t plane, int first, int last);

}  // namespace wutdet::engine
