// Operators on single values: arithmetic with broadcasting, Sigmoid, Relu, LeakyRelu, Cast.
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "core/engine/operators.h"

namespace wutdet::engine {
namespace {

// Sizes of two operands brought together; strides are 0 along axes that an operand repeats.
struct Broadcast {
  Dims dims;
  std::vector<std::int64_t> a, b;
};

Broadcast broadcast(const Dims& a, const Dims& b) {
  const std::size_t axes = std::max(a.size(), b.size());
  Broadcast out{Dims(axes, 1), std::vector<std::int64_t>(axes, 0), std::vector<std::int64_t>(axes, 0)};
  const auto strides_a = strides_of(a), strides_b = strides_of(b);
  for (std::size_t i = 0; i < axes; ++i) {
    const std::size_t skip_a = axes - a.size(), skip_b = axes - b.size();
    const std::int64_t size_a = i < skip_a ? 1 : a[i - skip_a], size_b = i < skip_b ? 1 : b[i - skip_b];
    if (size_a != size_b && size_a != 1 && size_b != 1)
      throw ModelFault("sizes " + text_of(a) + " and " + text_of(b) + " do not fit each other");
    out.dims[i] = std::max(size_a, size_b);
    if (size_a != 1) out.a[i] = strides_a[i - skip_a];
    if (size_b != 1) out.b[i] = strides_b[i - skip_b];
  }
  return out;
}

template <typename Value, typename Function>
void apply(const Broadcast& shape, const Value* a, const Value* b, Value* out, Function function) {
  const std::size_t axes = shape.dims.size();
  const std::int64_t count = axes ? shape.dims[axes - 1] : 1;
  const std::int64_t step_a = axes ? shape.a[axes - 1] : 0, step_b = axes ? shape.b[axes - 1] : 0;
  std::vector<std::int64_t> index(axes, 0);
  const std::size_t total = element_count(shape.dims);
  for (std::size_t done = 0; done < total; done += static_cast<std::size_t>(count)) {
    const Value *row_a = a, *row_b = b;
    for (std::size_t axis = 0; axis + 1 < axes; ++axis) {
      row_a += index[axis] * shape.a[axis];
      row_b += index[axis] * shape.b[axis];
    }
    Value* row = out + done;
    for (std::int64_t i = 0; i < count; ++i) row[i] = function(row_a[i * step_a], row_b[i * step_b]);
    for (std::size_t axis = axes > 1 ? axes - 1 : 0; axis-- > 0;) {
      if (++index[axis] < shape.dims[axis]) break;
      index[axis] = 0;
    }
  }
}

// Integers wrap around, as in every runtime; unsigned arithmetic makes that defined.
template <typename Value>
using Wrapping = typename std::conditional_t<std::is_integral_v<Value>, std::make_unsigned<Value>,
                                             std::common_type<Value>>::type;

struct Adding {
  template <typename V>
  static V of(V a, V b) {
    return static_cast<V>(Wrapping<V>(a) + Wrapping<V>(b));
  }
};
struct Subtracting {
  template <typename V>
  static V of(V a, V b) {
    return static_cast<V>(Wrapping<V>(a) - Wrapping<V>(b));
  }
};
struct Multiplying {
  template <typename V>
  static V of(V a, V b) {
    return static_cast<V>(Wrapping<V>(a) * Wrapping<V>(b));
  }
};
struct Dividing {
  template <typename V>
  static V of(V a, V b) {
    if constexpr (std::is_integral_v<V>) {
      if (b == 0) throw ModelFault("division by zero");
      if (b == -1) return Subtracting::of(V(0), a);  // the lowest integer has no opposite
    }
    return a / b;
  }
};
struct Remainder {  // has the sign of the divisor
  template <typename V>
  static V of(V a, V b) {
    if constexpr (std::is_integral_v<V>) {
      if (b == 0) throw ModelFault("division by zero");
      if (b == -1) return 0;
      const V rest = static_cast<V>(a % b);
      return rest != 0 && (rest < 0) != (b < 0) ? static_cast<V>(rest + b) : rest;
    } else {
      return std::fmod(a, b);
    }
  }
};
struct Truncated {  // has the sign of the dividend
  template <typename V>
  static V of(V a, V b) {
    if constexpr (std::is_integral_v<V>) {
      if (b == 0) throw ModelFault("division by zero");
      return b == -1 ? V(0) : static_cast<V>(a % b);
    } else {
      return std::fmod(a, b);
    }
  }
};

template <typename Function>
Prepared binary(const Operands& of) {
  of.allow_only({2}, 1);
  const Spec a = of.data(0), b = of.data(1, a.type);
  Broadcast shape = broadcast(a.dims, b.dims);
  const auto run = [&](auto zero) -> Kernel {
    using V = decltype(zero);
    return [shape](const Inputs& in, Outputs& out) {
      apply(shape, in[0]->data<V>(), in[1]->data<V>(), out[0].data<V>(), [](V x, V y) { return Function::of(x, y); });
    };
  };
  Kernel kernel;
  switch (a.type) {
    case DataType::F32: kernel = run(0.0f); break;
    case DataType::I32: kernel = run(std::int32_t{0}); break;
    case DataType::I64: kernel = run(std::int64_t{0}); break;
    default: throw ModelFault(std::string("values of type ") + name_of(a.type) + " are not supported");
  }
  return {{{a.type, shape.dims}}, std::move(kernel)};
}

Prepared mod(const Operands& of) {
  if (of.integer("fmod", 0) != 0) return binary<Truncated>(of);
  if (of.data(0).type == DataType::F32) throw ModelFault("of float32 it needs fmod=1");
  return binary<Remainder>(of);
}

Prepared sigmoid(const Operands& of) {
  of.allow_only({1}, 1);
  const Spec x = of.data(0, DataType::F32);
  return {{x}, [](const Inputs& in, Outputs& out) {
            const float* from = in[0]->data<float>();
            float* to = out[0].data<float>();
            for (std::size_t i = 0, count = out[0].size(); i < count; ++i) to[i] = 1.0f / (1.0f + std::exp(-from[i]));
          }};
}

// x, or x * slope below 0; Relu's slope is none.
Prepared leaky(const Operands& of, float slope) {
  of.allow_only({1}, 1);
  const Spec x = of.data(0, DataType::F32);
  return {{x}, [slope](const Inputs& in, Outputs& out) {
            const float* from = in[0]->data<float>();
            float* to = out[0].data<float>();
            for (std::size_t i = 0, count = out[0].size(); i < count; ++i)
              to[i] = from[i] < 0 ? (slope == 0 ? 0.0f : from[i] * slope) : from[i];
          }};
}

Prepared relu(const Operands& of) { return leaky(of, 0.0f); }

Prepared leaky_relu(const Operands& of) { return leaky(of, of.real("alpha", 0.01f)); }

// Out of range: the nearest value there is; NaN: 0. Integers keep their low bits.
template <typename To, typename From>
To convert(From value) {
  if constexpr (std::is_same_v<From, float> && std::is_integral_v<To>) {
    if (!(value == value)) return 0;
    // The largest integers are no floats; the next power of two is.
    constexpr float low = static_cast<float>(std::numeric_limits<To>::min());
    const float high = std::ldexp(1.0f, std::numeric_limits<To>::digits);
    if (value <= low) return std::numeric_limits<To>::min();
    if (value >= high) return std::numeric_limits<To>::max();
  }
  return static_cast<To>(value);
}

template <typename From, typename To>
void cast_values(const Inputs& in, Outputs& out) {
  const From* from = in[0]->data<From>();
  To* to = out[0].data<To>();
  for (std::size_t i = 0, count = out[0].size(); i < count; ++i) to[i] = convert<To>(from[i]);
}

template <typename From>
void cast_truths(const Inputs& in, Outputs& out) {
  const From* from = in[0]->data<From>();
  for (std::size_t i = 0, count = out[0].size(); i < count; ++i) out[0].data<std::uint8_t>()[i] = from[i] != 0;
}

template <typename From>
Kernel cast_from(DataType to) {
  switch (to) {
    case DataType::F32: return cast_values<From, float>;
    case DataType::U8: return cast_values<From, std::uint8_t>;
    case DataType::I8: return cast_values<From, std::int8_t>;
    case DataType::I32: return cast_values<From, std::int32_t>;
    case DataType::I64: return cast_values<From, std::int64_t>;
    default: return cast_truths<From>;
  }
}

Prepared cast(const Operands& of) {
  of.allow_only({1}, 1);
  const Spec x = of.data(0);
  DataType to;
  switch (of.integer("to", 0)) {  // numbers of onnx.TensorProto.DataType
    case 1: to = DataType::F32; break;
    case 2: to = DataType::U8; break;
    case 3: to = DataType::I8; break;
    case 6: to = DataType::I32; break;
    case 7: to = DataType::I64; break;
    case 9: to = DataType::BOOL; break;
    default: throw ModelFault("data type " + std::to_string(of.integer("to", 0)) + " is not supported");
  }
  Kernel kernel;
  switch (x.type) {
    case DataType::F32: kernel = cast_from<float>(to); break;
    case DataType::I8: kernel = cast_from<std::int8_t>(to); break;
    case DataType::I32: kernel = cast_from<std::int32_t>(to); break;
    case DataType::I64: kernel = cast_from<std::int64_t>(to); break;
    default: kernel = cast_from<std::uint8_t>(to); break;
  }
  return {{{to, x.dims}}, std::move(kernel)};
}

}  // namespace

Prepare find_elementwise(const std::string& op) {
  if (op == "Add") return binary<Adding>;
  if (op == "Sub") return binary<Subtracting>;
  if (op == "Mul") return binary<Multiplying>;
  if (op == "Div") return binary<Dividing>;
  if (op == "Mod") return mod;
  if (op == "Sigmoid") return sigmoid;
  if (op == "Relu") return relu;
  if (op == "LeakyRelu") return leaky_relu;
  if (op == "Cast") return cast;
  return nullptr;
}

}  // namespace wutdet::engine
