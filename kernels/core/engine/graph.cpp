#include "core/engine/graph.h"

#include <new>

namespace wutdet::engine {

std::size_t size_of(DataType type) {
  switch (type) {
    case DataType::F32:
    case DataType::I32: return 4;
    case DataType::I64: return 8;
    default: return 1;
  }
}

const char* name_of(DataType type) {
  switch (type) {
    case DataType::F32: return "float32";
    case DataType::U8: return "uint8";
    case DataType::I8: return "int8";
    case DataType::I32: return "int32";
    case DataType::I64: return "int64";
    case DataType::BOOL: return "bool";
  }
  return "?";
}

std::size_t element_count(const Dims& dims) {
  std::size_t count = 1;
  for (const std::int64_t size : dims) count *= static_cast<std::size_t>(size);
  return count;
}

std::string text_of(const Dims& dims) {
  if (dims.empty()) return "scalar";
  std::string text;
  for (const std::int64_t size : dims) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}

std::string printable(const std::string& text) {
  constexpr std::size_t longest = 100;
  std::string out;
  for (const char c : text) {
    if (out.size() >= longest) return out + "...";
    out += c >= 0x20 && c < 0x7F && c != '\'' ? c : '?';
  }
  return out;
}

std::size_t checked_bytes(DataType type, const Dims& dims, const Limits& limits) {
  if (dims.size() > limits.axes)
    throw ModelFault(std::to_string(dims.size()) + " axes; at most " + std::to_string(limits.axes) + " are supported");
  std::size_t bytes = size_of(type);
  bool empty = false;
  for (const std::int64_t size : dims) {
    if (size < 0) throw ModelFault("negative size " + std::to_string(size));
    if (size == 0) empty = true;
    // Also where another axis is empty: products of some of the sizes must not overflow either.
    else if (static_cast<std::uint64_t>(size) > limits.tensor_bytes / bytes)
      throw ModelFault("a " + std::string(name_of(type)) + " tensor of " + text_of(dims) + " is beyond the limit of " +
                       std::to_string(limits.tensor_bytes) + " bytes");
    else bytes *= static_cast<std::size_t>(size);
  }
  return empty ? 0 : bytes;
}

Tensor Tensor::make(DataType type, Dims dims) {
  Tensor tensor;
  tensor.type = type;
  tensor.dims = std::move(dims);
  constexpr std::align_val_t alignment{64};
  auto* memory = static_cast<std::byte*>(::operator new(tensor.size_bytes() + 1, alignment));
  tensor.bytes = std::shared_ptr<std::byte>(memory, [](std::byte* p) { ::operator delete(p, std::align_val_t{64}); });
  return tensor;
}

}  // namespace wutdet::engine
