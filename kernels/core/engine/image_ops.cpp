#include "core/engine/image_ops.h"

#include <algorithm>
#include <cstring>

#include "core/engine/float_functions.h"
#include "core/engine/plan.h"

namespace wutdet::engine {
namespace {

template <typename Value>
Value* row_of(const View& view, int y) {
  return reinterpret_cast<Value*>(static_cast<std::uint8_t*>(view.data) + y * view.row_stride);
}

template <typename Value>
std::ptrdiff_t step_of(const View& view) {
  return view.pixel_stride / static_cast<std::ptrdiff_t>(sizeof(Value));
}

// Calls work(from, to, values) over runs of values without gaps: whole rows where pixels follow each other in both
// views, else pixels.
template <typename A, typename B, typename Work>
void for_runs(const View& in, const View& out, int first, int last, const Work& work) {
  const std::ptrdiff_t channels = out.channels, from = step_of<A>(in), to = step_of<B>(out);
  const bool joined = from == channels && to == channels;
  for (int y = first; y < last; ++y) {
    const A* a = row_of<A>(in, y);
    B* b = row_of<B>(out, y);
    if (joined) {
      work(a, b, channels * out.width);
    } else {
      for (int x = 0; x < out.width; ++x) work(a + x * from, b + x * to, channels);
    }
  }
}

template <typename Value>
void max_pool(const View& in, const View& out, const Window& w, int first, int last) {
  const std::ptrdiff_t from = step_of<Value>(in), to = step_of<Value>(out);
  const int channels = out.channels;
  for (int y = first; y < last; ++y) {
    const int top = std::max(0, y * w.stride_h - w.pad_top),
              bottom = std::min(in.height, y * w.stride_h - w.pad_top + w.height);
    for (int x = 0; x < out.width; ++x) {
      const int left = std::max(0, x * w.stride_w - w.pad_left),
                right = std::min(in.width, x * w.stride_w - w.pad_left + w.width);
      Value* __restrict o = row_of<Value>(out, y) + x * to;
      for (int i = top; i < bottom; ++i) {
        for (int j = left; j < right; ++j) {
          const Value* __restrict p = row_of<const Value>(in, i) + j * from;
          if (i == top && j == left) {
            std::copy_n(p, channels, o);
          } else {
            for (int c = 0; c < channels; ++c) o[c] = p[c] > o[c] ? p[c] : o[c];
          }
        }
      }
    }
  }
}

constexpr int kTile = kTransposed;

// Pixels of a few channels at a time, so that both sides stay in the first cache.
template <typename Work>
void for_tiles(int width, int channels, const Work& work) {
  for (int x = 0; x < width; x += kTile)
    for (int c = 0; c < channels; c += kTile) work(x, std::min(width, x + kTile), c, std::min(channels, c + kTile));
}

template <typename From, typename To, typename Convert>
void from_dense(const From* in, const View& out, int first, int last, const Convert& convert) {
  const std::size_t plane = static_cast<std::size_t>(out.height) * static_cast<std::size_t>(out.width);
  const std::ptrdiff_t step = step_of<To>(out);
  for (int y = first; y < last; ++y) {
    const From* row = in + static_cast<std::size_t>(y) * static_cast<std::size_t>(out.width);
    To* to = row_of<To>(out, y);
    if (out.channels == 3 && step == 3) {  // pictures
      for (int x = 0; x < out.width; ++x) {
        to[3 * x] = convert(row[x]);
        to[3 * x + 1] = convert(row[plane + static_cast<std::size_t>(x)]);
        to[3 * x + 2] = convert(row[2 * plane + static_cast<std::size_t>(x)]);
      }
      continue;
    }
    for_tiles(out.width, out.channels, [&](int x0, int x1, int c0, int c1) {
      for (int x = x0; x < x1; ++x)
        for (int c = c0; c < c1; ++c) to[x * step + c] = convert(row[static_cast<std::size_t>(c) * plane + x]);
    });
  }
}

template <typename From, typename To, typename Convert, typename Whole>
void to_dense(const View& in, To* out, std::size_t plane, int first, int last, const Convert& convert,
              const Whole& whole) {
  const std::ptrdiff_t step = step_of<From>(in);
  for (int y = first; y < last; ++y) {
    const From* from = row_of<From>(in, y);
    To* row = out + static_cast<std::size_t>(y) * static_cast<std::size_t>(in.width);
    for_tiles(in.width, in.channels, [&](int x0, int x1, int c0, int c1) {
      To* const to = row + static_cast<std::size_t>(c0) * plane;
      if (x1 - x0 == kTile && c1 - c0 == kTile && whole(from + x0 * step + c0, step, to + x0, plane)) return;
      for (int c = c0; c < c1; ++c)
        for (int x = x0; x < x1; ++x) row[static_cast<std::size_t>(c) * plane + x] = convert(from[x * step + c]);
    });
  }
}

}  // namespace

void fill_border(const View& image, const Border& border, std::size_t size, int value, int first, int last) {
  const std::ptrdiff_t width = image.pixel_stride;
  const auto fill = [&](int y, int x, int pixels) {
    std::uint8_t* at = row_of<std::uint8_t>(image, y) + x * width;
    const auto bytes = static_cast<std::size_t>(width * (pixels - 1)) + static_cast<std::size_t>(image.channels) * size;
    if (pixels > 0) std::memset(at, value, bytes);
  };
  const int whole = border.left + image.width + border.right;
  if (first == 0)
    for (int y = -border.top; y < 0; ++y) fill(y, -border.left, whole);
  for (int y = first; y < last; ++y) {
    fill(y, -border.left, border.left);
    fill(y, image.width, border.right);
  }
  if (last == image.height)
    for (int y = image.height; y < image.height + border.bottom; ++y) fill(y, -border.left, whole);
}

void map_rows(const View& in, const View& out, const std::uint8_t* table, std::size_t size, int first, int last) {
  if (table) {
    for_runs<std::uint8_t, std::uint8_t>(in, out, first, last,
                                         [&](const std::uint8_t* a, std::uint8_t* b, std::ptrdiff_t count) {
                                           for (std::ptrdiff_t i = 0; i < count; ++i) b[i] = table[a[i]];
                                         });
    return;
  }
  for (int y = first; y < last; ++y)
    for (int x = 0; x < out.width; ++x)
      std::memcpy(row_of<std::uint8_t>(out, y) + x * out.pixel_stride,
                  row_of<std::uint8_t>(in, y) + x * in.pixel_stride, static_cast<std::size_t>(out.channels) * size);
}

void add_bytes(const View& a, const View& b, const View& out, const ConvSpec::Mix& mix, const FloatFunctions& floats,
               int first, int last) {
  const std::ptrdiff_t channels = out.channels;
  const bool joined = a.pixel_stride == channels && b.pixel_stride == channels && out.pixel_stride == channels;
  for (int y = first; y < last; ++y) {
    const std::uint8_t* p = row_of<std::uint8_t>(a, y);
    const std::uint8_t* q = row_of<std::uint8_t>(b, y);
    std::uint8_t* o = row_of<std::uint8_t>(out, y);
    if (joined) {
      floats.add_bytes(p, q, o, channels * out.width, mix);
    } else {
      for (int x = 0; x < out.width; ++x)
        floats.add_bytes(p + x * a.pixel_stride, q + x * b.pixel_stride, o + x * out.pixel_stride, channels, mix);
    }
  }
}

void add_floats(const View& a, const View& b, const View& out, int first, int last) {
  for (int y = first; y < last; ++y) {
    for (int x = 0; x < out.width; ++x) {
      const float* p = row_of<float>(a, y) + x * step_of<float>(a);
      const float* q = row_of<float>(b, y) + x * step_of<float>(b);
      float* __restrict o = row_of<float>(out, y) + x * step_of<float>(out);
      for (int c = 0; c < out.channels; ++c) o[c] = p[c] + q[c];
    }
  }
}

void max_pool_bytes(const View& in, const View& out, const Window& window, int first, int last) {
  max_pool<std::uint8_t>(in, out, window, first, last);
}

void max_pool_floats(const View& in, const View& out, const Window& window, int first, int last) {
  max_pool<float>(in, out, window, first, last);
}

void upsample(const View& in, const View& out, const Window& window, std::size_t size, int first, int last) {
  const std::size_t bytes = static_cast<std::size_t>(out.channels) * size;
  for (int y = first; y < last; ++y) {
    const std::uint8_t* from = row_of<std::uint8_t>(in, y / window.height);
    std::uint8_t* to = row_of<std::uint8_t>(out, y);
    for (int x = 0; x < in.width; ++x, from += in.pixel_stride)
      for (int i = 0; i < window.width; ++i, to += out.pixel_stride) std::memcpy(to, from, bytes);
  }
}

void widen(const View& in, const View& out, float scale, int zero, int first, int last) {
  for_runs<std::uint8_t, float>(in, out, first, last,
                                [&](const std::uint8_t* a, float* __restrict b, std::ptrdiff_t count) {
                                  for (std::ptrdiff_t i = 0; i < count; ++i)
                                    b[i] = static_cast<float>(int{a[i]} - zero) * scale;
                                });
}

void quantise(const View& in, const View& out, float scale, int zero, const FloatFunctions& floats, int first, int last) {
  for_runs<float, std::uint8_t>(in, out, first, last, [&](const float* a, std::uint8_t* b, std::ptrdiff_t count) {
    floats.quantise(a, b, count, scale, zero);
  });
}

void floats_from_dense(const float* in, const View& out, int first, int last) {
  from_dense<float, float>(in, out, first, last, [](float x) { return x; });
}

void bytes_from_dense(const float* in, const View& out, float scale, int zero, const FloatFunctions& floats, int first,
                      int last) {
  const std::ptrdiff_t plane = std::ptrdiff_t{out.height} * out.width;
  if (out.channels == 3 && out.pixel_stride == 4) {  // pictures
    for (int y = first; y < last; ++y)
      floats.quantise_picture(in + std::ptrdiff_t{y} * out.width, plane, row_of<std::uint8_t>(out, y), out.width, scale,
                              zero);
    return;
  }
  from_dense<float, std::uint8_t>(in, out, first, last, [&](float x) {
    std::uint8_t code;
    floats.quantise(&x, &code, 1, scale, zero);
    return code;
  });
}

void bytes_from_dense(const std::uint8_t* in, const View& out, int first, int last) {
  from_dense<std::uint8_t, std::uint8_t>(in, out, first, last, [](std::uint8_t q) { return q; });
}

void dense_from_floats(const View& in, float* out, std::size_t plane, const FloatFunctions& floats, int first,
                       int last) {
  to_dense<float, float>(
      in, out, plane, first, last, [](float x) { return x; },
      [&](const float* from, std::ptrdiff_t step, float* to, std::size_t apart) {
        floats.transpose(from, step, to, static_cast<std::ptrdiff_t>(apart));
        return true;
      });
}

void dense_from_bytes(const View& in, float* out, std::size_t plane, float scale, int zero, const FloatFunctions& floats,
                      int first, int last) {
  to_dense<std::uint8_t, float>(
      in, out, plane, first, last, [&](std::uint8_t q) { return static_cast<float>(int{q} - zero) * scale; },
      [&](const std::uint8_t* from, std::ptrdiff_t step, float* to, std::size_t apart) {
        floats.transpose_bytes(from, step, to, static_cast<std::ptrdiff_t>(apart), scale, zero);
        return true;
      });
}

void dense_bytes(const View& in, std::uint8_t* out, std::size_t plane, int first, int last) {
  to_dense<std::uint8_t, std::uint8_t>(
      in, out, plane, first, last, [](std::uint8_t q) { return q; },
      [](const std::uint8_t*, std::ptrdiff_t, std::uint8_t*, std::size_t) { return false; });
}

}  // namespace wutdet::engine
