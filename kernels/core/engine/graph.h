// A detector's graph as the engine works on it: values, nodes in the order of their computation, constants.
//
// read_onnx (onnx_reader.h) makes one from a file, prepare (prepare.h) fills in every type and size and folds what is
// constant. Calls of functions of domain wutdet.lowbit stay nodes of that domain: a packed weight is the output of one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace wutdet::engine {

// A file that cannot be run: damaged, hostile, or with something that this engine does not know. The message names it.
class ModelFault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// What a file may ask for. The defaults leave room for the largest detectors that the engine is meant for.
struct Limits {
  std::size_t nodes = 20'000, values = 100'000;
  std::size_t axes = 8;
  std::size_t tensor_bytes = std::size_t{1} << 30;   // of any tensor
  std::size_t folded_bytes = std::size_t{1} << 29;   // of all constants that are computed at load
  std::size_t working_bytes = std::size_t{1} << 32;  // of all tensors that live at the same time in a run
  std::uint64_t folded_work = std::uint64_t{1} << 34;  // multiplications and copies at load
};

enum class DataType : std::uint8_t { F32, U8, I8, I32, I64, BOOL };

std::size_t size_of(DataType type);
const char* name_of(DataType type);

using Dims = std::vector<std::int64_t>;

// Product of sizes that were checked (none negative, product below 2^62).
std::size_t element_count(const Dims& dims);
std::string text_of(const Dims& dims);  // "1x3x64x64", "scalar"
// A name from a file as it may stand in a message: short, ASCII, no quotes.
std::string printable(const std::string& text);
// Bytes of a tensor. Throws ModelFault for negative sizes, too many axes, and more bytes than the limit.
std::size_t checked_bytes(DataType type, const Dims& dims, const Limits& limits);

// Dense values, last axis fastest. Copies share the memory; what is in a Graph is never written to again.
struct Tensor {
  DataType type = DataType::F32;
  Dims dims;
  std::shared_ptr<std::byte> bytes;  // 64-byte aligned where made by `make`

  static Tensor make(DataType type, Dims dims);  // not initialised

  std::size_t size() const { return element_count(dims); }
  std::size_t size_bytes() const { return size() * size_of(type); }
  template <typename Value>
  const Value* data() const {
    return reinterpret_cast<const Value*>(bytes.get());
  }
  template <typename Value>
  Value* data() {
    return reinterpret_cast<Value*>(bytes.get());
  }
};

struct Attribute {
  enum class Kind : std::uint8_t { Int, Float, String, Ints, Floats, Tensor };
  Kind kind = Kind::Int;
  std::int64_t i = 0;
  float f = 0;
  std::string s;
  std::vector<std::int64_t> ints;
  std::vector<float> floats;
  std::optional<engine::Tensor> tensor;
};

inline constexpr int kAbsent = -1;  // an optional input or output that is left out

struct Node {
  std::string name;    // for messages; never empty after reading
  std::string op;      // "Conv"
  std::string domain;  // "" for standard operators, "wutdet.lowbit" for packed weights
  std::vector<int> inputs, outputs;  // indices of Graph::values, or kAbsent
  std::map<std::string, Attribute> attributes;

  const Attribute* find(const std::string& key) const {
    const auto found = attributes.find(key);
    return found == attributes.end() ? nullptr : &found->second;
  }
  int input(std::size_t index) const { return index < inputs.size() ? inputs[index] : kAbsent; }
};

struct Value {
  std::string name;
  DataType type = DataType::F32;  // type and dims are valid for inputs and constants, and for all values after prepare
  Dims dims;
  std::optional<Tensor> constant;
  int producer = -1;           // node, or -1 for inputs and constants
  std::vector<int> consumers;  // nodes, ascending; a node that takes a value twice is listed once
};

struct Graph {
  std::vector<Value> values;
  std::vector<Node> nodes;  // every node comes after the producers of its inputs
  std::vector<int> inputs, outputs;
  std::map<std::string, std::string> metadata;
  std::int64_t opset = 0;  // of the standard operators
};

}  // namespace wutdet::engine
