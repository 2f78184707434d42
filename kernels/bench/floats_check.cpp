// Stand-alone check, for machines without Python (aarch64 under qemu): the functions on floats of every instruction set
// against the scalar ones, bit for bit, on random values between pages that cannot be touched.
//   floats_check [cases] [first seed] [name of kernels]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "bench/check.h"
#include "core/engine/attention.h"
#include "core/engine/conv_kernels.h"
#include "core/engine/dispatch.h"
#include "core/engine/float_functions.h"
#include "core/engine/subnormals.h"

using namespace wutdet::engine;
using namespace wutdet::check;

namespace {

// Values of any type that end at a forbidden page (odd seeds) or begin behind one.
template <typename Value>
class Values {
 public:
  Values(std::size_t count, unsigned seed) : memory_(count * sizeof(Value), seed % 2), count_(count) {
    std::memset(memory_.data(), 0xA5, memory_.bytes());
  }
  template <typename Make>
  Values(std::size_t count, unsigned seed, const Make& make) : Values(count, seed) {
    for (std::size_t i = 0; i < count; ++i) data()[i] = make();
  }
  Value* data() { return reinterpret_cast<Value*>(memory_.data()); }
  void append_to(std::vector<std::uint8_t>& out) {
    out.insert(out.end(), memory_.data(), memory_.data() + count_ * sizeof(Value));
  }

 private:
  Guarded memory_;
  std::size_t count_;
};

// Of all sizes; NaN, infinities and values that round to the middle between two codes among them.
float any_float(Random& r) {
  const float infinity = std::numeric_limits<float>::infinity();
  switch (r(0, 15)) {
    case 0: return r(0, 1) ? infinity : -infinity;
    case 1: return std::numeric_limits<float>::quiet_NaN();
    case 2: return std::ldexp(r.real(-1, 1), r(-140, 120));
    case 3: return 0.5f * static_cast<float>(r(-600, 600));
    case 4: return r(0, 1) ? 0.0f : -0.0f;
    default: return r.real(-8, 8);
  }
}

using Bytes = std::vector<std::uint8_t>;
using Check = void (*)(const FloatFunctions&, unsigned seed, Bytes& out);

void check_attention(const FloatFunctions& f, unsigned seed, Bytes& out) {
  Random r(seed);
  AttentionHead head{};
  head.pixels = r.one_of(1, 2, 15, 16, 17, r(1, 70));
  head.key_channels = r(1, 40);
  head.value_channels = kAttentionLanes * r(1, 5);
  head.factor = r.real(0.05f, 2);
  head.q_step = head.key_channels + r(0, 3);
  head.v_step = head.out_step = head.value_channels + r(0, 3);
  head.k_step = head.pixels + r(0, 3);
  const auto value = [&] { return r.real(-3, 3); };
  const auto pixels = static_cast<std::size_t>(head.pixels);
  Values<float> q(pixels * head.q_step, seed, value), v(pixels * head.v_step, seed, value);
  Values<float> k(static_cast<std::size_t>(head.key_channels) * head.k_step + 15, seed, value);
  Values<float> result(pixels * head.out_step, seed);
  const Packed scratch(attention_scratch(pixels, static_cast<std::size_t>(head.key_channels)) * sizeof(float));
  head.q = q.data();
  head.k = k.data();
  head.v = v.data();
  head.out = result.data();
  head.scratch = const_cast<float*>(scratch.as<float>());
  const int cut = r(0, head.pixels);
  f.attention(head, 0, cut);
  f.attention(head, cut, head.pixels);
  result.append_to(out);
}

void check_byte_attention(const FloatFunctions& f, unsigned seed, Bytes& out) {
  Random r(seed);
  ByteAttentionHead head{};
  head.pixels = r.one_of(1, 2, 16, 17, r(1, 70), r(1, 70), r(500, 1100));
  head.key_channels = 2 * r(1, head.pixels > 100 ? 4 : 20);
  head.value_channels = kAttentionLanes * r(1, head.pixels > 100 ? 2 : 5);
  head.factor = r.real(1e-5f, 2e-3f);
  head.scale = r.real(0.001f, 0.1f);
  head.out_step = head.value_channels + r(0, 3);
  const auto code = [&] { return static_cast<std::int16_t>(r(0, 9) ? r(-121, 134) : 134); };
  const PackedHead layout(head.pixels, head.key_channels, head.value_channels);
  const auto pixels = static_cast<std::size_t>(head.pixels);
  Values<std::int16_t> q(pixels * head.key_channels, seed, code);
  Values<std::int16_t> k(static_cast<std::size_t>(layout.k_step) * head.key_channels, seed, code);
  Values<std::int16_t> v((pixels + 1) / 2 * 2 * head.value_channels, seed, code);
  if (pixels % 2)
    for (int c = 0; c < head.value_channels; ++c) v.data()[(pixels - 1) * head.value_channels + 2 * c + 1] = 0;
  Values<float> result(pixels * head.out_step, seed);
  const Packed scratch(kAttentionRows * layout.k_step * sizeof(float)), weights(kAttentionRows * layout.k_step * 2);
  head.q = q.data();
  head.k = k.data();
  head.k_step = layout.k_step;
  head.v = v.data();
  head.out = result.data();
  head.scratch = const_cast<float*>(scratch.as<float>());
  head.weights = const_cast<std::int16_t*>(weights.as<std::int16_t>());
  const int cut = r(0, head.pixels);
  f.byte_attention(head, 0, cut);
  f.byte_attention(head, cut, head.pixels);
  result.append_to(out);
}

void check_expectation(const FloatFunctions& f, unsigned seed, Bytes& out) {
  Random r(seed);
  const int values = r(1, 60), bins = r(1, 20);
  const std::ptrdiff_t step = values + r(0, 3);
  Values<float> in(static_cast<std::size_t>(step) * bins, seed, [&] { return r.real(-90, 90); });
  Values<float> numbers(static_cast<std::size_t>(bins), seed, [&] { return r.real(-9, 9); });
  Values<float> result(static_cast<std::size_t>(values), seed);
  const int cut = r(0, values);
  const Bins all{in.data(), step, numbers.data(), bins, result.data()};
  f.expectation(all, 0, cut);
  f.expectation(all, cut, values);
  result.append_to(out);
}

void check_single_values(const FloatFunctions& f, unsigned seed, Bytes& out) {
  Random r(seed);
  const auto count = static_cast<std::size_t>(r(1, 100));
  Values<float> in(count, seed, [&] { return any_float(r); }), floats(count, seed);
  f.sigmoid(in.data(), floats.data(), r(1, static_cast<int>(count)));
  floats.append_to(out);
  Values<std::uint8_t> codes(count, seed);
  f.quantise(in.data(), codes.data(), r(1, static_cast<int>(count)), r(0, 2) ? r.real(0.01f, 0.5f) : 1.0f, r(0, 255));
  codes.append_to(out);
  const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(count) + r(0, 3);
  Values<float> planes(2 * plane + count, seed, [&] { return any_float(r); });
  Values<std::uint8_t> pixels(4 * count, seed);
  const int shown = r(1, static_cast<int>(count));
  f.quantise_picture(planes.data(), plane, pixels.data(), shown, r.real(0.01f, 0.5f), r(0, 255));
  pixels.append_to(out);
  Values<std::uint8_t> a(count, seed, [&] { return r(0, 255); }), b(count, seed, [&] { return r(0, 255); });
  const ConvSpec::Mix mix{r.real(0.2f, 1.5f), r.one_of(0, 1) ? 1.0f : r.real(0.2f, 1.5f), 0.5f * r(-120, 20)};
  f.add_bytes(a.data(), b.data(), codes.data(), r(1, static_cast<int>(count)), mix);
  codes.append_to(out);
}

void check_transpose(const FloatFunctions& f, unsigned seed, Bytes& out) {
  Random r(seed);
  constexpr std::ptrdiff_t n = kTransposed;
  const std::ptrdiff_t step = n + r(0, 5), plane = n + r(0, 5);
  Values<float> in((n - 1) * step + n, seed, [&] { return any_float(r); }), result((n - 1) * plane + n, seed);
  f.transpose(in.data(), step, result.data(), plane);
  result.append_to(out);
  Values<std::uint8_t> bytes((n - 1) * step + n, seed, [&] { return r(0, 255); });
  f.transpose_bytes(bytes.data(), step, result.data(), plane, r.real(0.01f, 1), r(0, 255));
  result.append_to(out);
}

constexpr struct {
  const char* name;
  Check check;
} kChecks[] = {{"attention", check_attention},
               {"attention of bytes", check_byte_attention},
               {"expectation", check_expectation},
               {"single values", check_single_values},
               {"transpose", check_transpose}};

}  // namespace

int main(int count, char** arguments) {
  const unsigned cases = count > 1 ? unsigned(std::atoi(arguments[1])) : 500;
  const unsigned first = count > 2 ? unsigned(std::atoi(arguments[2])) : 1;
  const NoSubnormals as_in_the_engine;
  int failures = 0;
  for (const std::string& name : available_isas()) {
    if (name == "scalar" || (count > 3 && name != arguments[3])) continue;
    const FloatFunctions& functions = float_functions(kernels_named(name));
    const FloatFunctions& scalar = float_functions(conv_scalar());
    for (const auto& [what, check] : kChecks)
      for (unsigned seed = first; seed < first + cases; ++seed) {
        Bytes expected, received;
        check(scalar, seed, expected);
        check(functions, seed, received);
        if (expected == received) continue;
        std::printf("%s: %s differs; seed %u\n", name.c_str(), what, seed);
        if (++failures > 9) return 1;
      }
    std::printf("%s: %u cases, %d failures%s\n", name.c_str(), cases, failures,
                &functions == &scalar ? " (it has the scalar functions)" : "");
  }
  return failures != 0;
}
