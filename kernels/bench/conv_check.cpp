// Stand-alone check, for machines without Python (aarch64 under qemu): every instruction set against the scalar kernels,
// bit for bit, on random layers; buffers end at pages that cannot be touched.
//   g++ -std=c++17 -O2 -ffp-contract=off -Ikernels kernels/bench/conv_check.cpp kernels/core/engine/conv_*.cpp ...
//   conv_check [cases] [first seed] [name of kernels]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "bench/check.h"
#include "core/engine/conv.h"
#include "core/engine/dispatch.h"

using namespace wutdet::engine;
using namespace wutdet::check;

namespace {

struct Case {
  ConvSpec spec;
  std::vector<std::int8_t> weights;
  std::vector<float> float_weights, group_scale, scale, bias, factor;
  std::vector<std::int32_t> initial;
  std::uint8_t table[256];
  int height, width, in_extra, out_extra, out_height, out_width, border_bottom, border_right;
  std::string text;
};

void make(Case& c, unsigned seed) {
  Random r(seed);
  ConvSpec& s = c.spec;
  const int kind = r(0, 5);  // 0, 1 int8; 2 grouped; 3 float of u8; 4 float of f32; 5 depthwise
  s.depthwise = kind == 5;
  const bool real = kind == 3 || kind == 4 || (s.depthwise && r(0, 1));
  s.input = kind == 4 || (real && s.depthwise && r(0, 1)) ? Number::f32 : Number::u8;
  s.output = r(0, 2) ? Number::u8 : Number::f32;
  s.kernel_h = r.one_of(1, 1, 3, 3, 2, 5);
  s.kernel_w = r(0, 3) ? s.kernel_h : r.one_of(1, 3, 7);
  s.stride_h = r.one_of(1, 1, 2, 3);
  s.stride_w = r(0, 3) ? s.stride_h : r.one_of(1, 2);
  s.dilation_h = r.one_of(1, 1, 1, 2);
  s.dilation_w = r.one_of(1, 1, 1, 2);
  s.pad_top = r(0, s.kernel_h - 1);
  s.pad_left = r(0, s.kernel_w - 1);
  s.in_channels = s.input == Number::u8 && !s.depthwise ? 4 * r.one_of(1, 2, 3, 4, 8, 16, 20) : r(1, 40);
  s.out_channels = r.one_of(r(1, 20), 16, 32, 48, 64, 80, r(1, 150));
  if (s.depthwise) s.in_channels = s.out_channels;
  const int per = s.kernel_h * s.kernel_w * (s.depthwise ? 1 : s.in_channels);
  c.out_height = r(1, 5);
  c.out_width = r.one_of(r(1, 12), r(1, 50), 20);
  const int need_h = (c.out_height - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1 - s.pad_top;
  const int need_w = (c.out_width - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1 - s.pad_left;
  const int least_h = (c.out_height - 1) * s.stride_h - s.pad_top + 1;
  const int least_w = (c.out_width - 1) * s.stride_w - s.pad_left + 1;
  c.height = std::max(1, r(std::min(least_h, need_h), need_h));
  c.width = std::max(1, r(std::min(least_w, need_w), need_w));
  c.border_bottom = std::max(0, need_h - c.height);
  c.border_right = std::max(0, need_w - c.width);
  c.in_extra = r(0, 1) * r(1, 5);
  c.out_extra = r(0, 1) * r(1, 5);
  if (real) {
    for (int i = 0; i < per * s.out_channels; ++i) c.float_weights.push_back(r.real(-1, 1));
    s.float_weights = c.float_weights.data();
    s.input_scale = 0.017f;
  } else {
    const int most = r.one_of(127, 127, 28, 12, 8), least = most == 127 ? -128 : -most;
    const bool extreme = r(0, 3) == 0;
    for (int i = 0; i < per * s.out_channels; ++i)
      c.weights.push_back(std::int8_t(extreme ? (r(0, 1) ? most : least) : r(least, most)));
    s.weights = c.weights.data();
    for (int i = 0; i < s.out_channels; ++i) c.scale.push_back(r.real(0.1f, 2.0f) / float(per * most));
    s.scale = c.scale.data();
    if (kind == 2) {
      s.group = r.one_of(16, 32, 64, 4, 12);
      const int groups = (per + s.group - 1) / s.group;
      for (int i = 0; i < groups * s.out_channels; ++i) c.group_scale.push_back(r.real(-1, 2));
      s.group_scale = c.group_scale.data();
    } else if (r(0, 1)) {
      for (int i = 0; i < s.out_channels; ++i) c.initial.push_back(r(-100000, 100000));
      s.initial = c.initial.data();
    }
  }
  s.input_zero = s.input == Number::u8 ? r.one_of(0, 128, r(0, 255)) : 0;
  for (int i = 0; i < s.out_channels; ++i) c.bias.push_back(r.real(-3, 200));
  if (r(0, 4)) s.bias = c.bias.data();
  s.silu = r(0, 3) == 0;
  s.inverse_scale = real ? r.real(1, 9) : r.real(0.5f, 2.0f);
  s.output_zero = float(r(0, 255));
  if (s.output == Number::u8 && (real || s.silu) && r(0, 1)) {
    for (int i = 0; i < s.out_channels; ++i) c.factor.push_back(r.real(0.5f, 2.0f));
    s.factor = c.factor.data();
  }
  if (s.output == Number::u8 && !s.silu && r(0, 2)) {
    for (auto& entry : c.table) entry = std::uint8_t(r(0, 255));
    s.table = c.table;
  }
  s.residual = r(0, 2) == 0;
  s.mix = {r.real(0.2f, 1.5f), r.real(0.2f, 1.5f), r.real(-60, 10)};
  char text[300];
  std::snprintf(text, sizeof text,
                "seed %u: kind %d real %d in %d out %d, %dx%d, %d -> %d, kernel %dx%d stride %d %d pad %d %d dilation %d "
                "%d group %d silu %d table %d residual %d extra %d %d",
                seed, kind, real, int(s.input), int(s.output), c.out_height, c.out_width, s.in_channels, s.out_channels,
                s.kernel_h, s.kernel_w, s.stride_h, s.stride_w, s.pad_top, s.pad_left, s.dilation_h, s.dilation_w,
                s.group, s.silu, s.table != nullptr, s.residual, c.in_extra, c.out_extra);
  c.text = text;
}

std::vector<std::uint8_t> result(const Case& c, const ConvKernels& kernels, unsigned seed, bool at_end) {
  Random r(seed + 77);
  const ConvSpec& s = c.spec;
  const std::ptrdiff_t in_size = s.input == Number::u8 ? 1 : 4, out_size = s.output == Number::u8 ? 1 : 4;
  View in, out, other;
  in.pixel_stride = (s.in_channels + c.in_extra) * in_size;
  in.row_stride = in.pixel_stride * (c.width + s.pad_left + c.border_right);
  in.height = c.height;
  in.width = c.width;
  in.channels = s.in_channels;
  // The last pixel ends with its own channels: nothing behind them may be read.
  const std::size_t rows = std::size_t(c.height + s.pad_top + c.border_bottom);
  Guarded input(rows * in.row_stride - c.in_extra * in_size, at_end);
  for (std::size_t i = 0; i < input.bytes() / in_size; ++i) {
    if (in_size == 1) input.data()[i] = std::uint8_t(r(0, 7) ? r(0, 255) : 255);
    else reinterpret_cast<float*>(input.data())[i] = r.real(-2, 2);
  }
  in.data = input.data() + s.pad_top * in.row_stride + s.pad_left * in.pixel_stride;
  out.pixel_stride = (s.out_channels + c.out_extra) * out_size;
  out.row_stride = out.pixel_stride * c.out_width;
  out.height = c.out_height;
  out.width = c.out_width;
  out.channels = s.out_channels;
  const std::size_t bytes = std::size_t(c.out_height) * out.row_stride - c.out_extra * out_size;
  Guarded output(bytes, at_end), residual(bytes, at_end);
  std::memset(output.data(), 0xA5, bytes);
  for (std::size_t i = 0; i < bytes / out_size; ++i) {
    if (out_size == 1) residual.data()[i] = std::uint8_t(r(0, 255));
    else reinterpret_cast<float*>(residual.data())[i] = r.real(-2, 2);
  }
  out.data = output.data();
  other = out;
  other.data = residual.data();
  const ConvLayer layer = pack(s, kernels);
  const ConvCall call = bind(layer, in, out, s.residual ? &other : nullptr);
  Packed scratch(call.scratch_bytes);
  const int cut = r(0, c.out_height), block = r(0, block_count(layer));
  run(call, 0, cut, 0, block_count(layer), scratch.as<void>());
  run(call, cut, c.out_height, block, block_count(layer), scratch.as<void>());
  run(call, cut, c.out_height, 0, block, scratch.as<void>());
  return {output.data(), output.data() + bytes};
}

}  // namespace

int main(int count, char** arguments) {
  const int cases = count > 1 ? std::atoi(arguments[1]) : 500;
  const unsigned first = count > 2 ? unsigned(std::atoi(arguments[2])) : 1;
  int failures = 0;
  for (const std::string& name : available_isas()) {
    if (name == "scalar" || (count > 3 && name != arguments[3])) continue;
    for (unsigned seed = first; seed < first + unsigned(cases); ++seed) {
      Case c;
      make(c, seed);
      if (count > 4) std::printf("%s\n", c.text.c_str()), std::fflush(stdout);
      const auto expected = result(c, conv_scalar(), seed, seed % 2);
      const auto received = result(c, kernels_named(name), seed, seed % 2);
      if (expected == received) continue;
      std::size_t at = 0;
      while (expected[at] == received[at]) ++at;
      std::printf("%s differs at byte %zu: %d, not %d; %s\n", name.c_str(), at, received[at], expected[at],
                  c.text.c_str());
      if (++failures > 9) return 1;
    }
    std::printf("%s: %d cases, %d failures\n", name.c_str(), cases, failures);
  }
  return failures != 0;
}
